"""Titles that are none, and titles that an earlier export damaged: nobody can say what they were."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.ids import NO_VALUE
from intently.catalog.problems import RowCheck, quote

_NO_TITLE = rf"(?i)^(-+|–+|—+|\.+|\?+|#ref!|#value!|#name\?|#div/0!|#null!|#num!)$|^[\p{{Cf}}\p{{Z}}]+$|{NO_VALUE}"
_DAMAGED = {  # what is wrong with titles → how it shows
    "show that UTF-8 was read as another encoding before": "Ã[\u0080-\u00bf\u0152-\u2122]|Â[\u00a0-\u00bf]|â€|"
    "ï¿½|锟斤拷",
    "have characters that an earlier export lost": "\ufffd",
    "are formulas of a spreadsheet": r"^=[A-Z]+\(",
}


class FeedTitles:
    """What is known of a file's titles from the batches that were read so far."""

    def __init__(self) -> None:
        self._damaged: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def check(self, values: Any, check: RowCheck) -> None:
        """Reject titles (N,) that stand for none (`N/A`, `#REF!`), and count damaged ones."""
        titles = pc.utf8_trim_whitespace(pc.fill_null(values, ""))
        wrong = pc.match_substring_regex(titles, _NO_TITLE).to_numpy(zero_copy_only=False)
        problem = "stands for no title"
        check.reject(wrong, "title", lambda row: f"{quote(titles[row].as_py())} {problem}", "give every row one")
        for kind, pattern in _DAMAGED.items():
            found = pc.match_substring_regex(titles, pattern)
            if number := pc.sum(found).as_py():
                self._damaged[kind] += number
                self._examples.setdefault(kind, titles.filter(found)[0].as_py())

    def warnings(self) -> Iterator[str]:
        """Yield how many titles are damaged in which way, with the first."""
        for kind, number in self._damaged.items():
            yield f"{number:,} titles {kind}: {quote(self._examples[kind])}"


def title_or_text(columns: dict[str, Any]) -> pa.Array:
    """Return titles (N,), for those that are empty the first 100 characters of the description, cut at a blank."""
    empty = pa.nulls(len(columns["ad_id"]), pa.string())
    titles = pc.utf8_trim_whitespace(pc.fill_null(columns.get("title", empty), ""))
    texts = pc.utf8_trim_whitespace(pc.fill_null(columns.get("description", empty), ""))
    start = pc.utf8_slice_codeunits(texts, 0, 101)
    cut = pc.replace_substring_regex(start, r"(?s)^(.{40,100})\s.*$", r"\1")
    short = pc.less_equal(pc.utf8_length(texts), 100)
    return pc.if_else(pc.equal(titles, ""), pc.if_else(short, texts, pc.utf8_slice_codeunits(cut, 0, 100)), titles)
