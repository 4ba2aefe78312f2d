"""The files that a build reads, and what they say: ads, who clicked what, and which queries are kept aside."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from intently.build.augmentation.augment import report_path
from intently.build.fusion import held_out_queries
from intently.build.interactions import Interactions, match_interactions
from intently.build.settings import BuildSettings
from intently.build.training.fusion import FusionSettings
from intently.build.work import Fingerprints, fingerprints_of
from intently.catalog import Catalog, Judgements, ReadResult, read_ads, read_judgements, read_queries
from intently.catalog.inputs import reading_notes, skipped_notes
from intently.catalog.pages import load_pages
from intently.catalog.texts import ad_texts
from intently.errors import InputError
from intently.live.landing_pages import join_pages
from intently.types import Progress


@dataclass(frozen=True, eq=False)
class Material:
    """What a build is made of: N ads, and queries with the ads that were clicked for them."""

    catalog: Catalog
    texts: list[str]  # (N,) what models read of the ads
    interactions: Interactions  # of all queries
    learnt: Interactions  # of those that models learn from ...
    held_out: Interactions  # ... and of those that tell how well: none if they would be too few
    notes: tuple[str, ...]  # what was left out


@dataclass(frozen=True)
class BuildInputs:
    """The files that a build reads: see `build_engine`."""

    ads: tuple[Path, ...]
    clicks: Path | None
    queries: Path | None
    pages: Path | None
    click_columns: Mapping[str, str] | None
    skip_bad: bool

    def fingerprints(self, settings: BuildSettings) -> Fingerprints:
        """Return the digests of all that decides what is built. Raises `InputError` for a file that is not there."""
        files = [*self.ads, self.clicks, self.queries, self.pages]
        return fingerprints_of(files, settings, self.skip_bad, self.click_columns)

    def read_ads(self, settings: BuildSettings, show: Progress) -> ReadResult:
        """Return the ads as the files have them, without their landing pages."""
        return read_ads(
            self.ads,
            skip_bad=self.skip_bad,
            reading=settings.feed.reading(settings.columns),
            progress=lambda rows: show("Reading", rows, 0, "ads"),
        )

    def material(self, read: ReadResult, settings: BuildSettings) -> Material:
        """Return these ads with their landing pages, and who clicked them. Raises `InputError` for wrong input."""
        catalog, num_strange = (read.catalog, 0) if self.pages is None else self._with_pages(read.catalog, self.pages)
        asked = read_queries(self.queries, skip_bad=self.skip_bad) if self.queries else None
        judgements = None
        if self.clicks:
            judgements = read_judgements(
                self.clicks,
                queries=asked,
                columns=self.click_columns,
                logs=settings.logs,
                skip_bad=self.skip_bad,
            )
        interactions = match_interactions(catalog, judgements, settings.min_relevance, settings.logs.negative_after)
        aside = held_out_queries(interactions, settings.fusion)
        if aside.any() and settings.bridge.enabled and settings.bridge.augmentation_file:
            _check_held_out(Path(settings.bridge.augmentation_file), settings.fusion)
        return Material(
            catalog,
            ad_texts(catalog),
            interactions,
            interactions.of_queries(~aside),
            interactions.of_queries(aside),
            _notes(read, judgements, interactions, num_strange),
        )

    def _with_pages(self, catalog: Catalog, path: Path) -> tuple[Catalog, int]:
        """Return the catalog with its ads' pages, and how many were left out as their ads are not there."""
        pages = load_pages(path)
        rows = catalog.ad_rows([page.ad_id for page in pages]).tolist()
        known = [page for page, row in zip(pages, rows, strict=True) if row >= 0] if self.skip_bad else pages
        return join_pages(catalog, known, path=path), len(pages) - len(known)


def _check_held_out(augmentation: Path, fusion: FusionSettings) -> None:
    """Raise `InputError` if an augmentation was made with queries that the fusion is to learn from.

    An augmentation without a report beside it comes from elsewhere, and its author has to check that.
    """
    path = report_path(augmentation)
    if not path.is_file():
        return
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        made_with = (float(told["held_out_share"]), int(told["seed"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"is no report of an augmentation ({error})", cure="make it again", path=path) from error
    if made_with != (fusion.held_out_share, fusion.seed):
        raise InputError(
            f"was made with held_out_share {made_with[0]:g} and seed {made_with[1]}, 'fusion' has "
            f"{fusion.held_out_share:g} and {fusion.seed}: the fusion would learn from queries that it knows",
            cure="give `intently augment` the same two",
            path=augmentation,
        )


def _notes(
    read: ReadResult,
    judgements: Judgements | None,
    interactions: Interactions,
    num_strange: int,
) -> tuple[str, ...]:
    notes = [*reading_notes(read), *skipped_notes(read.num_skipped, read.problems, judgements)]
    if interactions.num_unknown_ads:
        notes.append(f"{interactions.num_unknown_ads} clicks left out: their ads are not in the catalog")
    if num_strange:
        notes.append(f"{num_strange} pages left out: their ads are not in the catalog")
    return tuple(notes)
