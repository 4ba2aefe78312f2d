"""Rows out of lines that only need splitting: TSV at single tabs, TREC files at any white space."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.fields import Rows, wrong_count
from intently.catalog.lines import Lines
from intently.catalog.problems import RowCheck
from intently.catalog.quoted import are_trimmed

_CURES = {
    "tsv": "separate the fields by single tabs, with no tab or line break inside one",
    "trec": "separate the fields by white space, with none inside one",
}


def read_delimited(
    batches: Iterable[Lines],
    columns: Mapping[str, int],
    num_fields: int,
    format: Literal["tsv", "trec"],
    path: object,
    *,
    has_header: bool,
    num_needed: int | None = None,
) -> Iterator[Rows]:
    """Read rows out of lines: `columns` gives the place of each field among the `num_fields` of a row.

    In TSV, empty fields after them do not matter. Rows with the first `num_needed` only are taken where all rows look
    as if empty fields at their ends had been left out.
    """
    for lines in _with_the_last(batches):
        if has_header and (filled := np.flatnonzero(_is_filled(lines.text))).size:
            after = int(filled[0]) + 1
            lines, has_header = Lines(lines.numbers[after:], lines.text[after:], lines.errors), False
        yield _split(lines, columns, num_fields, format, path, num_needed)


def _with_the_last(batches: Iterable[Lines]) -> Iterator[Lines]:
    """Yield batches; a last line that does not end comes with the batch before it, as what others look like matters."""
    held: Lines | None = None
    for lines in batches:
        if held is not None and len(lines.text) == 1 and not lines.errors:
            numbers = np.concatenate([held.numbers, lines.numbers])
            held = Lines(numbers, pa.concat_arrays([held.text, lines.text]), held.errors)
            continue
        if held is not None:
            yield held
        held = lines
    if held is not None:
        yield held


def _split(
    lines: Lines,
    columns: Mapping[str, int],
    num_fields: int,
    format: Literal["tsv", "trec"],
    path: object,
    num_needed: int | None,
) -> Rows:
    if format == "trec":
        fields = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(lines.text))
    else:
        fields = pc.split_pattern(lines.text, "\t")
    counts = pc.list_value_length(fields).to_numpy()
    trimmed = pc.utf8_rtrim(lines.text, characters="\t ")
    is_row = _is_filled(trimmed) if num_fields > 1 else np.ones(len(counts), dtype=np.bool_)
    wrong = is_row & (counts != num_fields)
    if format == "tsv" and wrong.any():
        num_filled = pc.list_value_length(pc.split_pattern(trimmed, "\t")).to_numpy()
        wrong &= (counts < num_fields) | (num_filled > num_fields)
        if num_needed is not None:
            rows = np.flatnonzero(is_row)
            ends_empty = pc.match_substring_regex(lines.text, r"\t *$").to_numpy(zero_copy_only=False)
            wrong[rows] &= ~(are_trimmed(counts[rows], ends_empty[rows], num_fields) & (counts[rows] >= num_needed))
    check = RowCheck(path, lines.numbers)
    check.reject(wrong, "", lambda row: wrong_count(int(counts[row]), num_fields), _CURES[format])
    keep = check.keep & is_row
    starts = (np.cumsum(counts) - counts)[keep]
    values, lengths = fields.flatten(), counts[keep]
    short = lengths < num_fields
    arrays = {}
    for name, at in columns.items():
        if short.any():
            there = at < lengths
            taken = values.take(pa.array(np.where(there, starts + at, 0), mask=~there))
            arrays[name] = pc.fill_null(taken, "")
        else:
            arrays[name] = values.take(pa.array(starts + at))
    return Rows(lines.numbers[keep], arrays, lines.errors + check.errors, num_short=int(short.sum()))


def _is_filled(text: pa.StringArray) -> npt.NDArray[np.bool_]:
    filled: npt.NDArray[np.bool_] = pc.not_equal(text, "").to_numpy(zero_copy_only=False)
    return filled
