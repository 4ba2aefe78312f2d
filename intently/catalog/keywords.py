"""Bid keywords as ad platforms write them: `[exact]`, `"phrase"`, `+broad`, `-negative`."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.lists import split_lists
from intently.catalog.problems import RowCheck, quote
from intently.errors import InputError
from intently.rules.keyword import is_negative, with_match_type, without_minus

_MARKED = r"""^\s*([\["+]|-[^\s\d-])|\s\+\S"""


def read_keywords(values: Any, found: Counter[str]) -> tuple[Any, Any]:
    """Return keywords (N,) as lists with their marks, and the negative ones among them (N,), None if there are none.

    `values` are texts or lists. `found` counts the keywords by match type.
    """
    lists = split_lists(values, "keywords") if pa.types.is_string(values.type) else values
    if not pc.any(pc.match_substring_regex(pc.drop_null(lists.flatten()), _MARKED)).as_py():
        return lists, None
    positive: list[list[str]] = []
    negative: list[list[str]] = []
    for keywords in lists.to_pylist():
        positive.append([])
        negative.append([])
        for keyword in keywords or ():
            text = (keyword or "").strip()
            if text.startswith("-") and text[1:2].strip() and not text[1].isdigit():
                negative[-1].append(text[1:])
                found["negative"] += 1
                continue
            kind = {"[": "exact", '"': "phrase"}.get(text[:1]) if len(text) > 2 else None
            found[kind or ("broad with marks" if "+" in text else "")] += 1
            positive[-1].append(text)
    types = pa.list_(pa.string())
    return pa.array(positive, types), pa.array(negative, types) if any(negative) else None


def with_types(keywords: Any, types: Any, check: RowCheck) -> Any:
    """Return keywords (N,), texts or lists, as lists with the marks of the match types (N,) that a column names.

    Negative ones get a minus. Rows whose match type is not understood are rejected.
    """
    lists = split_lists(keywords, "keywords") if pa.types.is_string(keywords.type) else keywords
    told = pc.utf8_trim_whitespace(pc.fill_null(types, "")).to_pylist()
    marked: list[list[str]] = []
    unknown = np.zeros(len(told), dtype=np.bool_)
    for row, (items, match_type) in enumerate(zip(lists.to_pylist(), told, strict=True)):
        texts = [text for item in items or () if (text := (item or "").strip())]
        if match_type and texts:
            try:
                texts = [with_match_type(text, match_type) for text in texts]
            except InputError:
                unknown[row] = True
            if is_negative(match_type):
                texts = [f"-{text}" for text in texts]
        marked.append(texts)
    check.reject(
        unknown, "match_type", lambda row: f"{quote(told[row])} is not a match type", "write exact, phrase or broad"
    )
    return pa.array(marked, pa.list_(pa.string()))


def joined_negatives(first: Any, second: Any) -> Any:
    """Return negative keywords (N,) as lists, of two columns (N,) of lists, each of which may be None."""
    columns = [column for column in (first, second) if column is not None]
    rows = [
        [without_minus(item) for items in row for item in items or () if (item or "").strip()]
        for row in zip(*(column.to_pylist() for column in columns), strict=True)
    ]
    return pa.array([list(dict.fromkeys(row)) for row in rows], pa.list_(pa.string()))
