"""Reading ads from a file.

Formats and compressions: see `intently.catalog.formats`. Only `ad_id` and `title` are required. Columns that no field
is called are kept as the ads' payload: see `intently.catalog.payload`. Each field goes by the
names in `intently.catalog.columns.AD_FIELDS`, so that these public layouts are read as they come:

- ESCI `shopping_queries_dataset_products.parquet`: bullet points become `landing_text`. The same product is there once
  a locale, so keep one locale first.
- WANDS `product.csv`, which is tab-separated.
- BEIR `corpus.jsonl`: a document without a title takes the first 100 characters of its text, cut at a space.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.arrays import Mask
from intently.catalog.catalog import Catalog, duplicate_error, find_duplicates
from intently.catalog.columns import AD_FIELDS, SCHEMA, clean_ads, concat_ads
from intently.catalog.fields import fold_name
from intently.catalog.formats import Table
from intently.catalog.payload import payload_name, rest_of, with_rest
from intently.catalog.problems import MAX_PROBLEMS, Errors, Problems, RowCheck
from intently.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class ReadResult:
    """A catalog read from a file, and how many of the file's rows were left out and why."""

    catalog: Catalog
    num_rows: int  # in the file, good and bad
    num_skipped: int
    problems: tuple[str, ...]  # of the first 20 skipped rows
    ignored_columns: tuple[str, ...]  # named twice, of a type that JSON does not have, or of long documents
    num_with_markup: int = 0  # ads whose text held HTML entities or tags, which were made plain text
    payload_columns: tuple[str, ...] = ()  # kept as payload: the names in the file
    # Of each field that the file has, for which ads (N,) it says something; of a whole feed, for all of them.
    given: Mapping[str, Mask] = field(default_factory=dict)


def read_ads(
    path: str | Path,
    *,
    partial: bool = False,
    skip_bad: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ReadResult:
    """Read a catalog of ads from `path`, which is `-` for standard input.

    With `partial` only the `ad_id` is required, and an empty value says nothing (`ReadResult.given`): the rows tell
    what is to change of known ads. Such a catalog may lack titles.

    Raises InputError after reading all rows if some are wrong, naming file, line, field and cure of the first 20
    (`problems`) and their number. With `skip_bad` wrong rows are left out, counted and reported instead. Of several ads
    with one `ad_id` the first is kept. Always raises InputError for a file that cannot be read at all, lacks a required
    column or does not have any valid ad. `progress` is called with the number of rows read so far.
    """
    table = Table(path)
    wanted = [each if each.name == "ad_id" else each.optional() for each in AD_FIELDS] if partial else AD_FIELDS
    matched = table.match(wanted)
    _check_title(matched, table)
    problems = Problems(skip_bad=skip_bad)
    tables: list[pa.Table] = []
    lines = [np.zeros(0, dtype=np.int64)]
    rests: list[pa.Table] = []
    unfit: set[str] = set()
    given: list[tuple[int, dict[str, Mask]]] = []
    num_rows = num_with_markup = 0
    for rows in table.rows(wanted, rest=True):
        columns = rows.columns
        if matched.get("ad_id") == "_id":
            columns = columns | {"title": _title_or_text(columns)}
        check = RowCheck(table.place, rows.lines)
        rest, not_fit = rest_of(rows.rest, len(rows.lines))
        unfit |= not_fit
        tables.append(clean_ads(columns, check, wanted))
        rests.append(rest.filter(pa.array(check.keep)))
        told = {name: _says_something(column) if partial else check.keep for name, column in columns.items()}
        given.append((int(check.keep.sum()), {name: mask[check.keep] for name, mask in told.items()}))
        lines.append(rows.lines[check.keep])
        num_rows += len(rows.lines) + len(rows.errors)
        num_with_markup += int((check.had_markup & check.keep).sum())
        problems.settle(rows.errors + check.errors)
        if progress is not None:
            progress(num_rows)
    ads = concat_ads(tables)
    rests = [rest.select([name for name in rest.column_names if name not in unfit]) for rest in rests]
    payloads = with_rest(ads["payload"], rests, in_json=table.format in ("jsonl", "parquet"), path=table.place)
    ads = ads.set_column(ads.column_names.index("payload"), SCHEMA.field("payload"), payloads)
    keep = _first_of_each(ads, np.concatenate(lines), table.place, problems)
    ads = ads.filter(pa.array(keep))
    problems.finish()
    if not ads.num_rows:
        first = f"; first problem: {problems.first[0]}" if problems.first else ""
        raise InputError(f"no ads{first}", cure="give a row for each ad under the header", path=table.place)
    kept = dict.fromkeys(name for rest in rests for name in rest.column_names if name)
    others = [name for name in table.header if name.strip() and name not in matched.values()]
    payload = [name for name in others if payload_name(name) in kept and others.count(name) == 1]
    payload += [name for name in kept if name not in map(payload_name, others)]  # of later objects of JSON lines
    masks = {name: mask[keep] for name, mask in _joined(given).items()}
    if payload or "payload" in masks:
        masks["payload"] = _says_something(ads["payload"]) if partial else np.ones(ads.num_rows, dtype=np.bool_)
    return ReadResult(
        Catalog(ads),
        num_rows,
        problems.num_skipped,
        tuple(problems.first),
        tuple(name for name in others if name not in payload),
        num_with_markup,
        tuple(payload),
        masks,
    )


def _says_something(column: Any) -> Mask:
    """Return which values (N,) are neither null nor empty."""
    if pa.types.is_string(column.type):
        said = pc.not_equal(pc.utf8_trim_whitespace(column), "")
    elif pa.types.is_list(column.type):
        said = pc.greater(pc.list_value_length(column), 0)
    elif pa.types.is_map(column.type):
        said = pa.array([bool(pairs) for pairs in column.to_pylist()], pa.bool_())
    else:
        said = pc.is_valid(column)
    mask: Mask = pc.fill_null(said, False).to_numpy(zero_copy_only=False)
    return mask


def _joined(parts: list[tuple[int, dict[str, Mask]]]) -> dict[str, Mask]:
    """Return the masks of all batches (rows, masks), of every field that any batch has."""
    names = dict.fromkeys(name for _, masks in parts for name in masks)
    return {
        name: np.concatenate([masks.get(name, np.zeros(size, np.bool_)) for size, masks in parts]) for name in names
    }


def _check_title(matched: dict[str, str], table: Table) -> None:
    """Raise InputError where `name` would be read as the title, but another column may be it."""
    if fold_name(matched.get("title", "")) != "name":
        return
    others = [name for name in table.header if re.search("title|headline", fold_name(name))]
    if others:
        problem = f"both '{matched['title']}' and '{others[0]}' may be the title"
        raise InputError(problem, cure="rename the one that users read to title", path=table.place, field="title")


def _title_or_text(columns: dict[str, Any]) -> Any:
    empty = pa.nulls(len(columns["ad_id"]), pa.string())
    titles = pc.utf8_trim_whitespace(pc.fill_null(columns.get("title", empty), ""))
    texts = pc.utf8_trim_whitespace(pc.fill_null(columns.get("description", empty), ""))
    start = pc.utf8_slice_codeunits(texts, 0, 101)
    cut = pc.replace_substring_regex(start, r"(?s)^(.{40,100})\s.*$", r"\1")
    short = pc.less_equal(pc.utf8_length(texts), 100)
    return pc.if_else(pc.equal(titles, ""), pc.if_else(short, texts, pc.utf8_slice_codeunits(cut, 0, 100)), titles)


def _first_of_each(table: pa.Table, lines: Any, path: object, problems: Problems) -> Mask:
    """Return which ads (N,) are the first with their id; the others are told to `problems`."""
    keep = np.ones(table.num_rows, dtype=np.bool_)
    again, first = find_duplicates(table["ad_id"])
    if len(again):
        errors = Errors()
        told = list(zip(again[:MAX_PROBLEMS], first[:MAX_PROBLEMS], strict=True))
        errors.add(
            [
                duplicate_error(table["ad_id"][int(row)].as_py(), path, int(lines[row]), int(lines[earlier]))
                for row, earlier in told
            ],
            len(again),
        )
        problems.settle(errors)
        keep[again] = False
    return keep
