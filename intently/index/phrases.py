"""Finding a vocabulary's phrases word by word in a text."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from intently.arrays import IntArray
from intently.text.analyze import STOP_WORDS, Analyzer
from intently.text.fold import fold
from intently.text.query_text import QueryReader, QueryText
from intently.text.spelling import Speller, WordTable

Terms = tuple[str, ...]
_SHORT = 2  # letters of a part that is often written apart: "wi fi", "e bike"


@dataclass(frozen=True)
class PhraseWords:
    """The texts of a vocabulary as phrases: their ids by their terms, and how often words and neighbours occur."""

    ids: Mapping[Terms, int]  # by the stems of the whole text, the first text's where several have the same
    words: Mapping[str, int]  # as they are written, without accents
    pairs: Mapping[tuple[str, str], int]  # of neighbouring stems

    @classmethod
    def read(cls, texts: Sequence[str], analyzer: Analyzer) -> "PhraseWords":
        """Return what texts are made of. Cost: an analysis of each."""
        ids: dict[Terms, int] = {}
        words: Counter[str] = Counter()
        pairs: Counter[tuple[str, str]] = Counter()
        for intention_id, text in enumerate(texts):
            phrase = analyzer.phrase(text)
            terms = tuple(stem for _, stem in phrase)
            ids.setdefault(terms, intention_id)
            words.update(fold(word) for word, _ in phrase)
            pairs.update(pairwise(terms))
        ids.pop((), None)
        return cls(ids, words, pairs)

    def told(self) -> dict[str, Any]:
        """Return everything as JSON has it; `of` reads it back."""
        return {
            "ids": [[intention_id, *terms] for terms, intention_id in self.ids.items()],
            "words": self.words,
            "pairs": [[count, *pair] for pair, count in self.pairs.items()],
        }

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "PhraseWords":
        """Return what `told` made; raise `ValueError`, `TypeError` or `KeyError` for anything else."""
        ids = {tuple(terms): int(intention_id) for intention_id, *terms in told["ids"]}
        pairs = {(first, second): int(count) for count, first, second in told["pairs"]}
        return cls(ids, dict(told["words"]), pairs)


class PhraseTable:
    """Looks intentions up by their words: the stems of all of them, in order."""

    def __init__(self, texts: Sequence[str], analyzer: Analyzer, made_of: PhraseWords | None = None) -> None:
        """`made_of` are the words of these texts as this analyzer has them, read if not given."""
        self.analyzer = analyzer
        self.made_of = made_of = made_of or PhraseWords.read(texts, analyzer)
        self._by_terms = dict(made_of.ids)
        self._stop_terms = frozenset(map(analyzer.stem, STOP_WORDS))
        self._known = frozenset(term for terms in self._by_terms for term in terms)
        for terms, intention_id in made_of.ids.items():  # "wi fi router" is also "wifi router"
            self._by_terms.setdefault(self._joined(terms), intention_id)
        self._longest = max(map(len, self._by_terms), default=0)
        self._speller = Speller(
            [WordTable(made_of.words, analyzer.stem)],
            together=lambda first, second: made_of.pairs.get((analyzer.stem(first), analyzer.stem(second)), 0),
            stem=analyzer.stem,
        )
        self._reader = QueryReader(analyzer, self._speller)

    def _terms(self, text: str) -> Terms:
        return tuple(stem for _, stem in self.analyzer.phrase(text))

    def _joined(self, terms: Terms) -> Terms:
        """Return terms with neighbours written as one where one is short and some intention writes them so."""
        joined: list[str] = []
        may_join = False  # a term that was joined is not joined again
        for term in terms:
            if may_join and min(len(joined[-1]), len(term)) <= _SHORT:
                one = self.analyzer.stem(joined[-1] + term)
                if one in self._known and not {joined[-1], term} <= self._stop_terms:
                    joined[-1], may_join = one, False
                    continue
            joined.append(term)
            may_join = True
        return tuple(joined)

    def exact(self, text: str) -> int | None:
        """Return the id of the intention that is the whole text, None if there is none.

        The Chinese particle 的 may be left out: 红色的水壶 is 红色水壶.
        """
        terms = self._terms(text)
        found = self._by_terms.get(terms)
        return self._by_terms.get(tuple(term for term in terms if term != "的")) if found is None else found

    def within(self, text: str, *, correct_spelling: bool = False) -> IntArray:
        """Return the ids of the intentions whose words the text contains side by side; longer ones first.

        Stop words between words of the text may be left out. With `correct_spelling`, words that no intention has are
        also read as those that some have.
        """
        return self.find(self._reader.read(text).readings if correct_spelling else [self._terms(text)])

    def given(self, title: str, keywords: Iterable[str]) -> IntArray:
        """Return the ids of the intentions that an ad names itself: those in its title, and those it bids on."""
        found = dict.fromkeys(self.within(title).tolist())
        bid_on = [self.exact(keyword) for keyword in keywords]
        found.update(dict.fromkeys(each for each in bid_on if each is not None))
        return np.array(list(found), dtype=np.int64)

    def of_query(self, query: QueryText) -> IntArray:
        """Return the ids of the intentions that a query contains as `within` does, corrected as it was read.

        Compounds that no intention has are looked for in their parts.
        """
        parted = [[part for term in terms for part in self._speller.parts(term) or (term,)] for terms in query.readings]
        stems = [tuple(map(self.analyzer.stem, terms)) for terms in parted]
        return self.find([*query.readings, *stems])

    def find(self, readings: Iterable[Terms]) -> IntArray:
        """Return the ids of the intentions that are side by side in any of the readings of a text; longer ones first.

        Each reading is also looked through with short neighbours joined ("wi fi"), and without its stop words. Cost:
        linear in its length.
        """
        plain = [each for terms in readings for each in (terms, self._joined(terms))]
        plain += [tuple(term for term in terms if term not in self._stop_terms) for terms in plain]
        distinct = list(dict.fromkeys(plain))
        found: dict[int, None] = {}
        for length in range(min(self._longest, max(map(len, distinct), default=0)), 0, -1):
            for terms in distinct:
                for start in range(len(terms) - length + 1):
                    intention_id = self._by_terms.get(terms[start : start + length])
                    if intention_id is not None:
                        found[intention_id] = None
        return np.array(list(found), dtype=np.int64)
