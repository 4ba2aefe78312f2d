"""Ids as tables hold them, whatever a spreadsheet or a data frame did to them: the same in feeds and in logs."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.problems import RowCheck, quote

NO_VALUE = r"(?i)^(null|\(null\)|\\n|#?n/a|nan|nat|none|undefined|-{2,})$"  # what tables write for nothing
_ROUNDED = r"^\d([.,]\d+)?[eE]\+\d+$"  # as Excel writes long numbers
_AS_TEXT = r"""^="(.*)"$"""  # as Excel is made to keep leading zeros
_APOSTROPHE = "^'[^']*$"  # as Excel is told that a number is text
_AS_FLOAT = r"^[1-9]\d*\.0$"  # as a data frame writes whole numbers of a column with missing ones


def read_ids(values: Any, field: str, check: RowCheck) -> tuple[Any, int]:
    """Return ids (N,) without what spreadsheets and data frames add to them, and how many are changed.

    An apostrophe before them and `.0` behind them are taken off where all ids have it. Rejects ids that a spreadsheet
    has rounded, and what stands for no value. `values` are texts or null.
    """
    texts = pc.utf8_trim_whitespace(pc.fill_null(values, ""))
    plain = pc.replace_substring_regex(texts, _AS_TEXT, r"\1")
    filled = plain.filter(pc.not_equal(plain, ""))
    if len(filled) and pc.all(pc.match_substring_regex(filled, _APOSTROPHE)).as_py():
        plain = pc.utf8_slice_codeunits(plain, 1)
    elif len(filled) and pc.all(pc.match_substring_regex(filled, _AS_FLOAT)).as_py():
        plain = pc.replace_substring_regex(plain, r"\.0$", "")
    for pattern, problem, cure in (
        (NO_VALUE, "stands for no id", "give every row one"),
        (_ROUNDED, "is an id that a spreadsheet has rounded", "export ids as text"),
    ):
        wrong = pc.match_substring_regex(plain, pattern).to_numpy(zero_copy_only=False)
        check.reject(wrong, field, _told(plain, problem), cure)
    return plain, pc.sum(pc.not_equal(plain, texts)).as_py() or 0


def _told(texts: pa.StringArray, problem: str) -> Callable[[int], str]:
    return lambda row: f"{quote(texts[row].as_py())} {problem}"
