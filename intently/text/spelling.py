"""What a query's word may also mean: misspellings, compounds, and words written apart.

The speller only ever suggests words to add. The word as typed is searched too, and may be right: a brand that the
catalog does not have, a model number, a word of the language.
"""

from bisect import bisect_right
from collections.abc import Callable, Container, Mapping, Sequence

from rapidfuzz import process
from rapidfuzz.distance import OSA

from intently.text.normalize import has_han

_CACHE_SIZE = 100_000
_MAX_LETTERS = 40  # of a word that is looked at
_MIN_LETTERS_DOUBLED = 4  # of a word that may have a doubled letter too many or too few
_MIN_LETTERS = 5  # from here on two letters may be swapped, or one left out
_MIN_LETTERS_FREE = 6  # from here on any one edit may be a slip
_MIN_LETTERS_TWO = 9  # from here on two edits, or one and a wrong first letter
# A word of the ads may be a slip of advertisers if a neighbour, one edit away, is in so many times as many ads; more of
# them are asked for where the word is in more than a few.
_RARE_ADS, _TIMES_RARER, _TIMES_RARER_ANYWHERE = 3, 20, 50
# Of the ads with the rarer half of a compound, how many also have the other half, for it to be split before it is
# corrected: where both halves have 3 letters or more, and where one is shorter ("wifi").
_MIN_COMPOUND = 4  # letters of a word that may be two: "wifi", "xray"
_MIN_HALF, _MIN_TOGETHER, _MIN_TOGETHER_SHORT = 3, 0.1, 0.5
_MIN_SHARE = 2e-6  # of all words of the ads: what is rarer is not what an unknown word is a misspelling of
_MAX_HAN_WORD = 8


class WordTable:
    """The words of a catalog, or of a part of it, and how many ads have each. Build it once."""

    def __init__(self, counts: Mapping[str, int], stem: Callable[[str], str] = str) -> None:
        """`counts` has words as they are written, without accents; `stem` tells which are forms of one."""
        self.num_words = sum(counts.values())
        self._of_stem: dict[str, int] = {}
        by_length: dict[int, list[tuple[str, str]]] = {}
        for word, count in counts.items():
            term = stem(word)
            self._of_stem[term] = self._of_stem.get(term, 0) + count
            if len(word) <= _MAX_LETTERS and word.isalpha() and not has_han(word):
                by_length.setdefault(len(word), []).append((word, term))
        self._by_length: dict[int, tuple[list[str], list[int]]] = {}  # words, the frequent first; counts, negated
        for length, words in by_length.items():
            words.sort(key=lambda each: -self._of_stem[each[1]])
            self._by_length[length] = [word for word, _ in words], [-self._of_stem[term] for _, term in words]

    def count(self, stem: str) -> int:
        """Return how often the forms of a stem occur."""
        return self._of_stem.get(stem, 0)

    def near(self, word: str, edits: int, min_count: int = 1) -> list[tuple[int, str]]:
        """Return (distance, other word) within some edits; a swap of neighbours is one.

        Only words whose stem has `min_count` or more are compared, which are few if that is much.
        """
        found: list[tuple[int, str]] = []
        for length in range(len(word) - edits, len(word) + edits + 1):
            words, counts = self._by_length.get(length, ([], []))
            frequent = words[: bisect_right(counts, -min_count)]
            near = process.extract(word, frequent, scorer=OSA.distance, score_cutoff=edits, limit=None)
            found += [(int(distance), other) for other, distance, _ in near]
        return found


class Speller:
    """Suggests words of a catalog. Cheap to make from its tables; a suggestion costs microseconds, or some 1 ms."""

    def __init__(
        self,
        tables: Sequence[WordTable],
        known_words: Container[str] = frozenset(),
        together: Callable[[str, str], int] | None = None,
        stem: Callable[[str], str] = str,
    ) -> None:
        """`tables` are those of the catalog's parts, and `stem` what they were made with.

        `known_words` are right though no ad has them: those of the language (a tokenizer's whole words, a frequency
        list), of clicks, brands. `together` tells how many ads have both of two words.
        """
        self._tables, self._known, self._together, self._stem = tables, known_words, together, stem
        self._min_count = max(1, int(_MIN_SHARE * sum(table.num_words for table in tables)))
        self._cache: dict[str, tuple[str, ...]] = {}

    def count(self, word: str) -> int:
        """Return how often the catalog has a word, in any of its forms."""
        stem = self._stem(word)
        return sum(table.count(stem) for table in self._tables)

    def suggest(self, word: str) -> tuple[str, ...]:
        """Return the words to search besides `word`, which has no accents: its correction or its parts; usually none.

        A word of `known_words` is right, and so is one of the catalog unless a neighbour is in far more ads. Another
        one is split if its halves belong together, else corrected, else split all the same; unknown Chinese has its
        longest known parts. The fewest edits win, then the most frequent word; a wrong first letter counts as an edit
        of its own. What is no word of letters is never touched.
        """
        found = self._cache.get(word)
        if found is None:
            found = self._find(word)
            if len(self._cache) >= _CACHE_SIZE:
                self._cache.clear()
            if len(word) <= _MAX_LETTERS:
                self._cache[word] = found
        return found

    def parts(self, word: str) -> tuple[str, ...]:
        """Return the known words that an unknown one is made of, if they belong together."""
        if self.count(word):
            return ()
        if has_han(word):
            return self._han_parts(word)
        halves, belong = self._halves(word)
        return halves if belong else ()

    def _find(self, word: str) -> tuple[str, ...]:
        num_ads = self.count(word)
        if has_han(word):
            return () if num_ads else self._han_parts(word)
        if len(word) > _MAX_LETTERS or not word.isalpha() or word in self._known:
            return ()
        if num_ads:
            times = _TIMES_RARER if num_ads <= _RARE_ADS else _TIMES_RARER_ANYWHERE
            return self._nearest(word, edits=1, min_count=times * num_ads)
        halves, belong = self._halves(word)
        return halves if belong else self._nearest(word) or halves

    def _nearest(self, word: str, edits: int = 2, min_count: int = 1) -> tuple[str, ...]:
        """Return the most frequent of the nearest words that are in `min_count` ads or more, if there is one."""
        if len(word) < _MIN_LETTERS_DOUBLED:
            return ()
        edits = 1 if len(word) < _MIN_LETTERS_TWO else edits
        min_count = max(min_count, self._min_count)
        near: list[tuple[int, int, str]] = []
        in_one = -(-min_count // len(self._tables))  # or more: what a word that has so many has in one table at least
        for table in self._tables:
            for distance, other in table.near(word, edits, in_one):
                cost = distance + (other[0] != word[0])
                if other == word or cost > edits or (count := self.count(other)) < min_count:
                    continue
                if len(word) >= _MIN_LETTERS_FREE or _is_slip(word, other):
                    near.append((cost, -count, other))
        return (min(near)[2],) if near else ()

    def _halves(self, word: str) -> tuple[tuple[str, ...], bool]:
        """Return the best two known halves of a word, if any, and whether ads have them together."""
        best: tuple[bool, int, tuple[str, ...]] = (False, 0, ())
        if len(word) > _MAX_LETTERS or not word.isalpha():
            return (), False
        for at in range(1, len(word) - 1):
            first, second = word[:at], word[at:]
            rarer = min(self.count(first), self.count(second))
            is_long = min(len(first), len(second)) >= _MIN_HALF
            if not rarer or len(word) < _MIN_COMPOUND:
                continue
            both = self._together(first, second) if self._together else rarer
            belong = both >= max(1, (_MIN_TOGETHER if is_long else _MIN_TOGETHER_SHORT) * rarer)
            if belong or (is_long and both) or min(len(first), len(second)) > _MIN_HALF:
                best = max(best, (belong, both or rarer, (first, second)))
        return best[2], best[0]

    def _han_parts(self, word: str) -> tuple[str, ...]:
        parts, at = [], 0
        while at < len(word):
            ends = range(min(len(word), at + _MAX_HAN_WORD), at, -1)
            end = next((end for end in ends if self.count(word[at:end])), None)
            if end is not None:
                parts.append(word[at:end])
            at = end or at + 1
        return tuple(parts)


def _is_slip(word: str, other: str) -> bool:
    """Return whether a short word is another with a doubled letter written once, or back.

    From `_MIN_LETTERS` on also with two letters swapped, or one left out.
    """
    if len(word) == len(other):
        at = next(at for at in range(len(word)) if word[at] != other[at])
        return len(word) >= _MIN_LETTERS and word[at : at + 2] == other[at : at + 2][::-1]
    longer, shorter = (word, other) if len(word) > len(other) else (other, word)
    doubled = (at for at in range(1, len(longer)) if longer[at] == longer[at - 1])
    is_doubled = any(longer[:at] + longer[at + 1 :] == shorter for at in doubled)
    return is_doubled or (len(word) < len(other) and len(word) >= _MIN_LETTERS)
