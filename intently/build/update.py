"""The daily cycle: today's feed of ads changes an engine on disk, without training.

    feed → difference to the current generation → effects → engine (models read new texts alone) → next generation

Student, vocabulary, statistics, fusion, query cache, and what unchanged ads were clicked for, stay as they were built.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from intently.catalog import Catalog, ReadResult, read_ads
from intently.catalog.inputs import reading_notes, skipped_notes
from intently.catalog.reading import FeedSettings, Reading
from intently.engine.engine import Engine
from intently.engine.layout import write_with_other_ads
from intently.errors import InputError
from intently.files import sha256_of
from intently.generation import KEEP, About, Draft, Generation, build_lock, digest_of_ids, open_generation, prune
from intently.live.difference import Difference
from intently.types import Progress

logger = logging.getLogger(__name__)

MAX_ENDED = 0.5  # share of the ads that a feed may end; one that ends more was probably cut off
NUM_EXAMPLES = 5  # ads of each kind of change that a report tells


@dataclass(frozen=True)
class ChangedAd:
    """An ad of a report: its title and, if it stays, the fields that change, each with its old and new value."""

    ad_id: str
    title: str
    fields: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class UpdateReport:
    """What a feed changed: how many ads came, went and got other values, the first of each, and what was left out.

    `generation` is current now; the one before if nothing changed, or if nothing was to be written.
    """

    directory: Path
    generation: str
    num_ads_before: int
    num_ads: int
    num_came: int
    num_went: int
    num_new_text: int  # ads whose text changed, which models read again
    num_new_attributes: int  # ads whose status, bid or targeting alone changed
    num_changes_of: Mapping[str, int]  # field → ads that got another value of it
    came: tuple[ChangedAd, ...]
    went: tuple[ChangedAd, ...]
    new_text: tuple[ChangedAd, ...]
    new_attributes: tuple[ChangedAd, ...]
    notes: tuple[str, ...]

    @property
    def changes(self) -> bool:
        """Whether anything changed."""
        return any(number for _, number, _ in self.kinds)

    @property
    def kinds(self) -> tuple[tuple[str, int, tuple[ChangedAd, ...]], ...]:
        """Each kind of change in words, how many ads it befell, and the first of them."""
        return (
            ("came", self.num_came, self.came),
            ("went", self.num_went, self.went),
            ("other text", self.num_new_text, self.new_text),
            ("other attributes alone", self.num_new_attributes, self.new_attributes),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON knows it."""
        return asdict(self) | {"directory": str(self.directory)}


def update_engine(
    directory: str | Path,
    ads: str | Path | Sequence[str | Path],
    *,
    feed: FeedSettings | None = None,
    columns: Mapping[str, str] | None = None,
    partial: bool = False,
    max_ended: float = MAX_ENDED,
    dry_run: bool = False,
    skip_bad: bool = False,
    keep: int = KEEP,
    progress: Progress | None = None,
) -> UpdateReport:
    """Let a feed change the ads of the engine in `directory`, and publish that as its next generation.

    A whole feed ends the ads that it does not list; a `partial` one changes those that it lists and removes those
    of status `ended`. `feed` and `columns` say of the files what they do not; where nothing else is said, columns
    and decimals are read as the build read them. With `dry_run` nothing is written. Processes that serve the engine
    go over to the generation when they `refresh`. The `keep` newest generations stay. Raises `InputError` for a
    wrong feed, and for one that would end more than the share `max_ended` of the ads; `ArtifactError` for an engine
    that cannot be loaded. Cost: the models read ads that are new or have another text; the rest is read and written
    once.
    """
    directory = Path(directory)
    files = [Path(path) for path in (ads if isinstance(ads, list | tuple) else [ads])]  # type: ignore[arg-type]
    show = progress or (lambda *_: None)
    if not 0 <= max_ended <= 1:
        raise InputError(f"max_ended is {max_ended}", cure="give a share from 0 to 1", field="max_ended")
    with open_generation(directory) as built:  # before a feed of millions is read, and before a lock creates anything
        reading = reading_of(built.manifest.settings, feed or FeedSettings(), columns or {})
    show("Reading", 0, 0, "")
    read = read_ads(
        files,
        partial=partial,
        skip_bad=skip_bad,
        reading=reading,
        progress=lambda rows: show("Reading", rows, 0, "ads"),
    )
    with build_lock(directory), open_generation(directory) as before:
        show("Loading the engine", 0, 0, "")
        engine = Engine.load(directory, generation=before.id)
        difference = Difference.of(engine.catalog, read.catalog, read.given, partial=partial)
        _check_ended(difference, max_ended, files[0])
        report = _report(directory, before.id, difference, read)
        if dry_run or difference.is_empty:
            return report
        show("Reading new ads", 0, report.num_came + report.num_new_text, "")
        engine.follow(difference)
        show("Writing", 0, 0, "")
        generation = _publish(directory, before, engine, files, report)
        prune(directory, keep)
    logger.info("%s: updated to generation %s", directory, generation)
    return replace(report, generation=generation)


def reading_of(built: Mapping[str, Any], feed: FeedSettings, columns: Mapping[str, str]) -> Reading:
    """Return how a feed is read: as is said of it, else as files were by a build with the settings `built`."""
    decimal = feed.decimal or built.get("feed", {}).get("decimal", "")
    return replace(replace(feed, decimal=decimal).reading(columns), usual=built.get("columns", {}))


def _check_ended(difference: Difference, max_ended: float, path: Path) -> None:
    num_ads, num_went = difference.before.num_ads, len(difference.went)
    if num_went > max_ended * num_ads:
        problem = f"{num_went:,} of {num_ads:,} ads would end"
        cure = "check that the feed is whole; give --delta if it lists changes alone, --force if they are to end"
        raise InputError(problem, cure=cure, path=path)
    if num_went == num_ads and not len(difference.came):
        raise InputError("no ad would be left", cure="an engine needs one ad at least", path=path)


def _publish(directory: Path, before: Generation, engine: Engine, ads: Sequence[Path], report: UpdateReport) -> str:
    told = before.manifest
    catalog, segment = engine.compacted()
    intentions = replace(engine.intentions, postings=segment.postings)
    # A build of the files that the generation before was made of must not take this one for its own.
    feeds = " ".join(map(sha256_of, ads))
    artifact = hashlib.sha256(f"{told.fingerprints.get('artifact')} {feeds} {before.id}".encode()).hexdigest()
    about = About(
        catalog.num_ads,
        digest_of_ids(catalog.strings("ad_id")),
        told.text_rules,
        {**told.fingerprints, "artifact": artifact},
        told.settings,
        {**told.facts, "num_ads": catalog.num_ads, "postings": len(segment.postings.ad_rows)},
        (f"updated from generation {before.id}: {_summary(report)}", *report.notes),
        told.seq,
    )
    with Draft(directory, about) as draft:
        write_with_other_ads(draft, before, catalog, segment, intentions)
        return draft.publish()


def _summary(report: UpdateReport) -> str:
    return (
        f"{report.num_came:,} ads came, {report.num_went:,} went, {report.num_new_text:,} have another text, "
        f"{report.num_new_attributes:,} other attributes"
    )


def _report(directory: Path, generation: str, difference: Difference, read: ReadResult) -> UpdateReport:
    before, feed, after = difference.before, difference.feed, difference.after
    has_new_text, has_new_attributes = difference.has_new_text, difference.has_new_attributes
    came, went = difference.came[:NUM_EXAMPLES].tolist(), difference.went[:NUM_EXAMPLES].tolist()

    def changed(rows: list[int]) -> tuple[ChangedAd, ...]:
        told = []
        for row in rows:
            names = [name for name, mask in difference.changed.items() if mask[row]]
            old, new = before.ad(int(difference.kept[row, 0])), after.ad(row)
            fields = {name: (getattr(old, name), getattr(new, name)) for name in names}
            told.append(ChangedAd(new.ad_id, new.title, fields))
        return tuple(told)

    return UpdateReport(
        directory,
        generation,
        before.num_ads,
        difference.num_after,
        len(difference.came),
        len(difference.went),
        int(has_new_text.sum()),
        int(has_new_attributes.sum()),
        {name: int(mask.sum()) for name, mask in difference.changed.items()},
        tuple(_told(feed, row) for row in came),
        tuple(_told(before, row) for row in went),
        changed(has_new_text.nonzero()[0][:NUM_EXAMPLES].tolist()),
        changed(has_new_attributes.nonzero()[0][:NUM_EXAMPLES].tolist()),
        (*reading_notes(read), *skipped_notes(read.num_skipped, read.problems, None)),
    )


def _told(catalog: Catalog, row: int) -> ChangedAd:
    return ChangedAd(catalog.ad_id(row), catalog.strings("title", row, row + 1)[0], {})
