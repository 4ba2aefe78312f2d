"""What a feed says of ads, field by field: of a partial feed an empty value says nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.arrays import Mask
from intently.catalog.serving import SERVING_NAMES, says_nothing

NEGATIVES = "negative_keywords"
BID_MICROS = "bid_micros"
MATCH_TYPE = "match_type"


def said_in(columns: Mapping[str, Any]) -> dict[str, Mask]:
    """Return for each field of ads which rows (N,) of a partial feed say something of it; several columns may."""
    said: dict[str, Mask] = {}
    for name, values in columns.items():
        if name == MATCH_TYPE:  # of keywords, which say it themselves
            continue
        is_status = name in SERVING_NAMES or name == "status"
        field = "status" if is_status else "bid" if name == BID_MICROS else name
        found = _is_filled(values)
        if is_status:
            found &= np.array([not says_nothing(value or "") for value in values.to_pylist()], dtype=np.bool_)
        said[field] = said[field] | found if field in said else found
    return said


def joined(
    parts: Sequence[tuple[int, dict[str, Mask]]], ads: pa.Table, *, has_payload: bool, partial: bool
) -> dict[str, Mask]:
    """Return for each field that any batch (rows, masks) has which of all `ads` (N,) are told something of it."""
    names = dict.fromkeys(name for _, masks in parts for name in masks)
    given = {
        name: np.concatenate([masks.get(name, np.zeros(size, np.bool_)) for size, masks in parts]) for name in names
    }
    if has_payload or "payload" in given:
        given["payload"] = _is_filled(ads["payload"]) if partial else np.ones(ads.num_rows, dtype=np.bool_)
    return given


def _is_filled(values: Any) -> Mask:
    """Return which values (N,) are neither null nor empty."""
    if pa.types.is_string(values.type):
        filled = pc.not_equal(pc.utf8_trim_whitespace(values), "")
    elif pa.types.is_list(values.type):
        filled = pc.greater(pc.list_value_length(values), 0)
    elif pa.types.is_map(values.type):
        filled = pa.array([bool(pairs) for pairs in values.to_pylist()], pa.bool_())
    else:
        filled = pc.is_valid(values)
    mask: Mask = pc.fill_null(filled, False).to_numpy(zero_copy_only=False)
    return mask
