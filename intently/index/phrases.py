"""Finding a vocabulary's phrases word by word in a text."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from intently.arrays import IntArray
from intently.text.analyze import Analyzer
from intently.text.spelling import Speller


class PhraseTable:
    """Looks intentions up by their words: stems without stop words, in order."""

    def __init__(self, texts: Sequence[str], analyzer: Analyzer) -> None:
        self.analyzer = analyzer
        self._by_terms: dict[tuple[str, ...], int] = {}
        for intention_id, text in enumerate(texts):
            self._by_terms.setdefault(self._terms(text), intention_id)
        self._by_terms.pop((), None)  # of stop words alone
        self._longest = max(map(len, self._by_terms), default=0)
        self._speller = Speller(Counter(term for terms in self._by_terms for term in terms))

    def _terms(self, text: str) -> tuple[str, ...]:
        return tuple(stem for _, stem in self.analyzer.phrase(text))

    def exact(self, text: str) -> int | None:
        """Return the id of the intention that is the whole text, None if there is none."""
        return self._by_terms.get(self._terms(text))

    def within(self, text: str, *, correct_spelling: bool = False) -> IntArray:
        """Return the ids of the intentions whose words the text contains side by side; longer ones first.

        With `correct_spelling`, words that no intention has are brought to those that some have.
        """
        terms = self._terms(text)
        if correct_spelling:
            terms = tuple(known for term in terms for known in self._speller.correct(term) or (term,))
        found: dict[int, None] = {}
        for length in range(min(self._longest, len(terms)), 0, -1):
            for start in range(len(terms) - length + 1):
                intention_id = self._by_terms.get(terms[start : start + length])
                if intention_id is not None:
                    found[intention_id] = None
        return np.array(list(found), dtype=np.int64)
