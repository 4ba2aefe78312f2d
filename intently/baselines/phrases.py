"""What keyword generation and untrained language models share: the vocabulary's phrases, and ads that have them."""

import numpy as np

from intently.index.posting_weights import PostingSettings
from intently.index.postings import Postings
from intently.intentions.vocabulary import Vocabulary
from intently.text.analyze import Analyzer


def phrase_postings(vocabulary: Vocabulary, num_ads: int) -> Postings:
    """Return the postings of given intentions only, weighed by inverse document frequency.

    What RARE's own postings have beyond that (decoded intentions, closeness in meaning) takes its trained student.
    """
    ids, rows = vocabulary.ad_pairs[:, 0], vocabulary.ad_pairs[:, 1]
    idf = np.log1p(num_ads / (1.0 + np.bincount(ids, minlength=len(vocabulary))))
    return Postings.build(ids, rows, idf[ids] ** PostingSettings().idf_power, len(vocabulary), num_ads)


class PhraseBook:
    """Finds the intention that a freely written phrase is, if it is one: equal but for inflection and stop words."""

    def __init__(self, texts: tuple[str, ...], analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._by_terms: dict[tuple[str, ...], int] = {}
        for intention_id, text in enumerate(texts):
            self._by_terms.setdefault(self._terms(text), intention_id)
        self._by_terms.pop((), None)

    def _terms(self, text: str) -> tuple[str, ...]:
        return tuple(stem for _, stem in self._analyzer.phrase(text))

    def find(self, phrases: list[str]) -> list[int]:
        """Return the ids of the phrases that are intentions, each once, in order."""
        found = (self._by_terms.get(self._terms(phrase)) for phrase in phrases)
        return list(dict.fromkeys(intention_id for intention_id in found if intention_id is not None))
