"""Ids in TREC files, whose fields are separated by white space: `␣` stands for a blank inside an id.

No id holds that sign itself (see `intently.catalog.cleaning`), so that what is written is what is read.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc

_BLANK = "␣"


def escape_id(text: str) -> str:
    """Return an id as one word."""
    return text.replace(" ", _BLANK)


def unescape_ids(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns in which the ids of queries and ads (N,) are as they were before `escape_id`."""
    return {
        name: pc.replace_substring(values, _BLANK, " ") if name in ("query_id", "ad_id") else values
        for name, values in columns.items()
    }
