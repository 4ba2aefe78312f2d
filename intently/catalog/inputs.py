"""Reads the files that most work begins with: ads, and clicks of queries on them."""

from dataclasses import dataclass
from pathlib import Path

from intently.catalog.ads import ReadResult, read_ads
from intently.catalog.catalog import Catalog
from intently.catalog.judgement_files import read_judgements
from intently.catalog.qrels import Judgements
from intently.catalog.queries import Queries
from intently.catalog.query_files import read_queries
from intently.types import Progress


@dataclass(frozen=True, eq=False)
class Inputs:
    """A catalog, the judgements and queries there are files of, and notes on rows that were skipped."""

    catalog: Catalog
    judgements: Judgements | None
    queries: Queries | None
    notes: tuple[str, ...]


def read_inputs(
    ads: Path, clicks: Path | None, queries: Path | None, *, skip_bad: bool = False, progress: Progress
) -> Inputs:
    """Read files of ads and clicks; `queries` gives the texts of clicks that name queries by id only.

    Raises InputError for what `read_ads`, `read_queries` and `read_judgements` refuse.
    """
    progress("Reading", 0, 0, "")
    read = read_ads(ads, skip_bad=skip_bad, progress=lambda rows: progress("Reading", rows, 0, "ads"))
    asked = read_queries(queries, skip_bad=skip_bad) if queries else None
    judgements = read_judgements(clicks, queries=asked, skip_bad=skip_bad) if clicks else None
    notes = (*reading_notes(read), *skipped_notes(read.num_skipped, read.problems, judgements))
    return Inputs(read.catalog, judgements, asked, notes)


def reading_notes(read: ReadResult) -> tuple[str, ...]:
    """Return notes on text that was not read as written: ignored columns, HTML made plain text."""
    notes = [f"columns of ads ignored: {', '.join(read.ignored_columns)}"] if read.ignored_columns else []
    if read.payload_columns:
        notes.append(f"columns of ads kept as payload, which is not searched: {', '.join(read.payload_columns)}")
    for feed in read.feeds:
        notes += [f"{feed.place}: {told}" for told in (*feed.notes, *feed.warnings)]
        notes += [
            f"{feed.place}: '{name}' decides nothing, but its name says that it may have to" for name in feed.loud
        ]
        notes += [
            f"{feed.place}: {number:,} ads {status}: {name} is {value!r}"
            for name, value, status, number in feed.held[:5]
        ]
    if read.num_with_markup:
        notes.append(f"{read.num_with_markup:,} ads held HTML, which was read as text")
    return tuple(notes)


def skipped_notes(num_skipped: int, problems: tuple[str, ...], judgements: Judgements | None) -> tuple[str, ...]:
    """Return a note on skipped ads, of which the `problems` tell, one on skipped clicks, and one on unclicked pairs."""
    notes = [f"{num_skipped} rows of ads skipped, the first: {problems[0]}"] if num_skipped else []
    if judgements and judgements.num_skipped:
        notes.append(f"{judgements.num_skipped} rows of clicks skipped, the first: {judgements.problems[0]}")
    notes += judgements.notes if judgements else ()
    if judgements and judgements.num_unclicked:
        notes.append(f"{judgements.num_unclicked} pairs without a click left out: not clicked does not mean irrelevant")
    return tuple(notes)
