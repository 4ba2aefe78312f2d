"""Bringing a query's unknown terms to known ones: misspellings corrected, compounds split."""

from collections.abc import Mapping

from rapidfuzz import process
from rapidfuzz.distance import OSA

from intently.text.normalize import has_han

_CACHE_SIZE = 100_000


class Speller:
    """Corrects terms against those of a catalogue. Known terms and numbers are never touched."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        """`counts` gives every known term the number of ads that contain it."""
        self._counts = counts
        self._by_length: dict[int, list[str]] = {}
        for term in counts:
            if term.isalpha() and not has_han(term):
                self._by_length.setdefault(len(term), []).append(term)
        self._cache: dict[str, tuple[str, ...]] = {}

    def correct(self, term: str) -> tuple[str, ...]:
        """Return the known terms that `term` most likely means: itself, its correction, its parts, or nothing.

        A term of 4 to 7 letters may differ by one edit (a swap of neighbours is one), a longer one by two; the fewest
        edits win, then the most frequent term. What has no correction is split in two known terms; unknown Chinese is
        split into its longest known parts.
        """
        if term in self._counts:
            return (term,)
        found = self._cache.get(term)
        if found is None:
            found = self._han_parts(term) if has_han(term) else self._nearest(term) or self._split(term)
            if len(self._cache) >= _CACHE_SIZE:
                self._cache.clear()
            self._cache[term] = found
        return found

    def _nearest(self, term: str) -> tuple[str, ...]:
        if len(term) < 4 or not term.isalpha():
            return ()
        edits = 1 if len(term) < 8 else 2
        near: list[tuple[int, int, str]] = []
        for length in range(len(term) - edits, len(term) + edits + 1):
            known = self._by_length.get(length, [])
            for other, distance, _ in process.extract_iter(term, known, scorer=OSA.distance, score_cutoff=edits):
                near.append((int(distance), -self._counts[other], other))
        return (min(near)[2],) if near else ()

    def _split(self, term: str) -> tuple[str, ...]:
        if not term.isalpha():
            return ()
        halves = [(term[:at], term[at:]) for at in range(3, len(term) - 2)]
        known = [pair for pair in halves if pair[0] in self._counts and pair[1] in self._counts]
        return max(known, key=lambda pair: min(self._counts[pair[0]], self._counts[pair[1]])) if known else ()

    def _han_parts(self, term: str) -> tuple[str, ...]:
        parts, at = [], 0
        while at < len(term):
            end = next((end for end in range(len(term), at, -1) if term[at:end] in self._counts), None)
            if end is not None:
                parts.append(term[at:end])
            at = end or at + 1
        return tuple(parts)
