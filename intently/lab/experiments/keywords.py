"""The traditional way from a query to ads: an advertiser's keyword has to stand in the query, word for word."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from intently.arrays import Float64Array, IntArray
from intently.text.normalize import has_han, normalize


class KeywordMatcher:
    """Finds the ads of which a bid keyword is the query, or stands in it as a phrase.

    Both are normalized. Latin keywords match whole words; in Chinese, which writes no spaces, any place of the query.
    """

    def __init__(self, keywords: Sequence[Iterable[str]], bids: Float64Array):
        self._bids = bids
        self._ads: defaultdict[str, list[int]] = defaultdict(list)
        for row, each in enumerate(keywords):
            for keyword in dict.fromkeys(normalize(text) for text in each):
                if keyword:
                    self._ads[keyword].append(row)
        self._longest = max(map(len, self._ads), default=0)

    def search(self, query: str, depth: int) -> IntArray:
        """Return the rows of at most `depth` ads: the longest keyword first, then the highest bid, then by row.

        The longest keyword says most about what is wanted, and a keyword that is the whole query is the longest of all.
        """
        text = normalize(query)
        length: dict[int, int] = {}
        for start in range(len(text)):
            for end in range(start + 1, min(len(text), start + self._longest) + 1):
                keyword = text[start:end]
                if keyword in self._ads and _stands_alone(text, start, end):
                    for row in self._ads[keyword]:
                        length[row] = max(length.get(row, 0), len(keyword))
        rows = sorted(length, key=lambda row: (-length[row], -self._bids[row], row))
        return np.array(rows[:depth], np.int64)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Return whether a piece of the text is not a part of a longer Latin word or number."""
    return not (_continues(text, start) or _continues(text, end))


def _continues(text: str, at: int) -> bool:
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    return before.isalnum() and after.isalnum() and not (has_han(before) or has_han(after))
