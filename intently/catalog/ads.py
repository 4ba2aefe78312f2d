"""Reading ads from files.

Formats and compressions: see `intently.catalog.formats`. Only `ad_id` and `title` are required. Columns that no field
is called are kept as the ads' payload: see `intently.catalog.payload`. Each field goes by the names in
`intently.catalog.columns.AD_FIELDS`, whether an ad may be served by those of `intently.catalog.serving`, and exports of
the trade's systems are read as they come: see `intently.catalog.layouts`. So are these public layouts:

- ESCI `shopping_queries_dataset_products.parquet`: bullet points become `landing_text`. The same product is there once
  a locale, so keep one locale first.
- WANDS `product.csv`, which is tab-separated.
- BEIR `corpus.jsonl`: a document without a title takes the first 100 characters of its text, cut at a space.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from intently.arrays import Mask
from intently.catalog.catalog import Catalog, find_duplicates
from intently.catalog.feed import Feed, read_feed
from intently.catalog.fields import fold_name
from intently.catalog.problems import MAX_PROBLEMS, Errors, ProblemKind, Problems
from intently.catalog.reading import Reading
from intently.errors import InputError

# Columns by which reports part the figures of an ad into rows.
_SEGMENTS = (
    "day",
    "date",
    "week",
    "month",
    "quarter",
    "year",
    "hour",
    "hour_of_the_day",
    "device",
    "network",
    "click_type",
)


@dataclass(frozen=True, slots=True, eq=False)
class ReadResult:
    """A catalog read from files, and how many of their rows were left out and why."""

    catalog: Catalog
    num_rows: int  # in the files, good and bad
    num_skipped: int
    problems: tuple[str, ...]  # of the first 20 skipped rows
    ignored_columns: tuple[str, ...]  # named twice, of a type that JSON does not have, or of long documents
    num_with_markup: int = 0  # ads whose text held HTML entities or tags, which were made plain text
    payload_columns: tuple[str, ...] = ()  # kept as payload: the names in the files
    feeds: tuple[Feed, ...] = ()  # what each file was read as
    kinds: tuple[ProblemKind, ...] = ()  # of the skipped rows
    # Of each field that the files have, for which ads (N,) it says something; of whole feeds, for all of them.
    given: Mapping[str, Mask] = field(default_factory=dict)


def read_ads(
    path: str | Path | Sequence[str | Path],
    *,
    partial: bool = False,
    skip_bad: bool = False,
    reading: Reading | None = None,
    progress: Callable[[int], None] | None = None,
) -> ReadResult:
    """Read a catalog of ads from one or several files; `-` is standard input. `reading` says what the files do not.

    With `partial` only the `ad_id` is required, and an empty value says nothing (`ReadResult.given`): the rows tell
    what is to change of known ads. Such a catalog may lack titles.

    Raises InputError after reading all rows if some are wrong, naming file, line, field and cure of the first 20
    (`problems`) and their number. With `skip_bad` wrong rows are left out, counted and reported instead. Of several ads
    with one `ad_id` the first is kept. Always raises InputError for a file that cannot be read at all, lacks a required
    column or does not have any valid ad. `progress` is called with the number of rows read so far.
    """
    read, problems = read_all(path, partial=partial, skip_bad=skip_bad, reading=reading, progress=progress)
    problems.finish()
    return _checked(read)


def read_all(
    path: str | Path | Sequence[str | Path],
    *,
    partial: bool = False,
    skip_bad: bool = False,
    reading: Reading | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[ReadResult, Problems]:
    """Read files of ads as `read_ads` does, but leave it to the caller what becomes of problems and of no ads."""
    paths: list[Any] = list(path) if isinstance(path, list | tuple) else [path]
    if not paths:
        raise InputError("no files", cure="name at least one", field="path")
    reading = reading or Reading()
    mapped = [column for column in reading.columns if column not in reading.usual]
    if len(paths) > 1:  # a column that is mapped may be in one of them
        reading = replace(reading, columns={}, usual=reading.columns)
    problems = Problems(skip_bad=skip_bad)
    feeds: list[Feed] = []
    num_before = 0

    def show(num_rows: int) -> None:
        if progress is not None:
            progress(num_before + num_rows)

    for each in paths:
        feeds.append(read_feed(each, reading, problems, show, partial=partial))
        num_before += feeds[-1].num_rows
    if len(paths) > 1:
        _check_mapped(mapped, reading, feeds)
    ads, keep = _without_duplicates(feeds, problems)
    return ReadResult(
        Catalog(ads),
        num_before,
        problems.num_skipped,
        tuple(problems.first),
        tuple(name for feed in feeds for name in feed.columns_that("ignored")),
        sum(feed.num_with_markup for feed in feeds),
        tuple(dict.fromkeys(name for feed in feeds for name in feed.columns_that("payload"))),
        tuple(feeds),
        problems.kinds,
        {name: mask[keep] for name, mask in _given(feeds).items()},
    ), problems


def _check_mapped(columns: Sequence[str], reading: Reading, feeds: Sequence[Feed]) -> None:
    """Raise `InputError` for a column that is mapped and that no file has."""
    there = {fold_name(name) for feed in feeds for name, _ in feed.columns}
    for column in columns:
        if column not in there:
            problem = f"no file has a column {column!r} to read as {reading.columns[column]}"
            raise InputError(problem, cure="check its name with intently check", field="map")


def _given(feeds: Sequence[Feed]) -> dict[str, Mask]:
    """Return the masks of all feeds, of every field that any of them has."""
    names = dict.fromkeys(name for feed in feeds for name in feed.given)
    return {
        name: np.concatenate([feed.given.get(name, np.zeros(len(feed.lines), np.bool_)) for feed in feeds])
        for name in names
    }


def _checked(read: ReadResult) -> ReadResult:
    for feed in read.feeds:
        if not len(feed.lines):
            first = f"; first problem: {read.problems[0]}" if read.problems else ""
            raise InputError(f"no ads{first}", cure="give a row for each ad under the header", path=feed.place)
    return read


def _without_duplicates(feeds: Sequence[Feed], problems: Problems) -> tuple[pa.Table, Mask]:
    """Return the ads of all files, of those with one id the first, and which they are; `problems` hears of others."""
    table = pa.concat_tables([feed.ads for feed in feeds])
    again, first = find_duplicates(table["ad_id"])
    keep = np.ones(table.num_rows, dtype=np.bool_)
    if not len(again):
        return table, keep
    starts = np.cumsum([0, *(len(feed.lines) for feed in feeds)])
    told = [
        _duplicate(table, feeds, starts, int(row), int(earlier))
        for row, earlier in zip(again[:MAX_PROBLEMS], first[:MAX_PROBLEMS], strict=True)
    ]
    errors = Errors()
    errors.add(told, len(again))
    problems.settle(errors)
    keep[again] = False
    return table.filter(pa.array(keep)), keep


def _duplicate(table: pa.Table, feeds: Sequence[Feed], starts: Any, row: int, earlier: int) -> InputError:
    """Return the error of a second ad with the same id; if only the payloads differ, the two are variants."""

    def place(at: int) -> tuple[Feed, int]:
        number = int(np.searchsorted(starts, at, side="right")) - 1
        return feeds[number], int(feeds[number].lines[at - starts[number]])

    (feed, line), (first_feed, first_line) = place(row), place(earlier)
    ad_id = table["ad_id"][row].as_py()
    where = f"on line {first_line}" + ("" if feed is first_feed else f" of {first_feed.place}")
    cure = "give every ad an id of its own"
    mine, other = (dict(table["payload"][at].as_py()) for at in (row, earlier))
    differ = [name for name in mine if mine[name] != other.get(name)]
    same_title = table["title"][row].as_py() == table["title"][earlier].as_py()
    if same_title and table["keywords"][row].as_py() != table["keywords"][earlier].as_py():
        cure = "these look like one ad with several keywords: write them in one row, separated by |"
    elif same_title and (segments := [name for name in differ if name in _SEGMENTS]):
        cure = f"a report with a row for every {segments[0]}: export it without this segment"
    elif differ and same_title:
        cure = f"these look like variants ({', '.join(differ[:3])}): {cure}, and put {ad_id!r} into item_group_id"
    return InputError(f"ad {ad_id!r} is {where} already", cure=cure, path=feed.place, line=line, field="ad_id")
