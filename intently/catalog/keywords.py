"""Bid keywords as ad platforms write them: `[exact]`, `"phrase"`, `+broad`, `-negative`."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.columns import split_lists
from intently.rules.keyword import without_minus

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


def joined_negatives(first: Any, second: Any) -> Any:
    """Return negative keywords (N,) as lists, of two columns (N,) of lists, each of which may be None."""
    columns = [column for column in (first, second) if column is not None]
    rows = [
        [without_minus(item) for items in row for item in items or () if (item or "").strip()]
        for row in zip(*(column.to_pylist() for column in columns), strict=True)
    ]
    return pa.array([list(dict.fromkeys(row)) for row in rows], pa.list_(pa.string()))
