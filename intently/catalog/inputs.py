"""What most work begins with, out of files: ads, and what was clicked for which queries."""

from dataclasses import dataclass
from pathlib import Path

from intently.catalog.ads import read_ads
from intently.catalog.catalog import Catalog
from intently.catalog.judgement_files import read_judgements
from intently.catalog.qrels import Judgements
from intently.catalog.queries import Queries
from intently.catalog.query_files import read_queries
from intently.types import Progress


@dataclass(frozen=True, eq=False)
class Inputs:
    """A catalogue, the judgements and queries there are files of, and notes on rows that were skipped."""

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
    return Inputs(read.catalog, judgements, asked, skipped_notes(read.num_skipped, read.problems, judgements))


def skipped_notes(num_skipped: int, problems: tuple[str, ...], judgements: Judgements | None) -> tuple[str, ...]:
    """Return a note on skipped ads, of which the `problems` tell, and one on skipped clicks; none where none were."""
    notes = [f"{num_skipped} rows of ads skipped, the first: {problems[0]}"] if num_skipped else []
    if judgements and judgements.num_skipped:
        notes.append(f"{judgements.num_skipped} rows of clicks skipped, the first: {judgements.problems[0]}")
    return tuple(notes)
