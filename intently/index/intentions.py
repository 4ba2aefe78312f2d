"""The intention index: the vocabulary, its trie, and the postings from intentions to ads."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intently.errors import ArtifactError
from intently.index.postings import IntArray, Postings
from intently.intentions.trie import Trie
from intently.text.analyze import Analyzer


@dataclass(frozen=True)
class PostingSettings:
    """How ads get their postings."""

    num_beams: int = 16  # intentions decoded for each ad
    max_ad_tokens: int = 48
    decoded_weight: float = 1.0  # of a decoded intention's probability ...
    given_weight: float = 1.0  # ... against being given: clicked, bid on, or in the title


def build_postings(
    given: IntArray,
    decoded: IntArray,
    log_probs: NDArray[np.float64],
    num_intentions: int,
    num_ads: int,
    settings: PostingSettings,
) -> Postings:
    """Build postings from given and decoded (intention_id, ad_row) pairs.

    An ad spreads one unit over its given intentions, by inverse document frequency, and another over the decoded ones,
    by probability; the posting's weight is the sum of both shares, times the intention's inverse document frequency.
    """
    reach = np.bincount(given[:, 0], minlength=num_intentions)
    idf = np.log1p(num_ads / (1.0 + reach))
    share = idf[given[:, 0]] / np.bincount(given[:, 1], weights=idf[given[:, 0]], minlength=num_ads)[given[:, 1]]
    every = np.concatenate((given, decoded))
    weights = np.concatenate((settings.given_weight * share, settings.decoded_weight * np.exp(log_probs)))
    keys, inverse = np.unique(every[:, 0] * num_ads + every[:, 1], return_inverse=True)
    ids, rows = np.divmod(keys, num_ads)
    summed = np.bincount(inverse, weights=weights).astype(np.float64)
    return Postings.build(ids, rows, summed * idf[ids], num_intentions, num_ads)


@dataclass(frozen=True)
class IntentionIndex:
    """I intentions: `texts[i]` names intention i, `trie` admits its tokens, `postings` lead from it to ads."""

    texts: tuple[str, ...]
    trie: Trie
    postings: Postings
    analyzer: Analyzer

    @cached_property
    def _by_terms(self) -> dict[tuple[str, ...], int]:
        return {tuple(self.analyzer.terms(text)): intention_id for intention_id, text in enumerate(self.texts)}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._by_terms))

    def literal(self, query: str) -> IntArray:
        """Return the ids of the intentions whose words the query contains side by side; longer ones first."""
        terms = self.analyzer.terms(query)
        found: dict[int, None] = {}
        for length in range(min(self._longest, len(terms)), 0, -1):
            for start in range(len(terms) - length + 1):
                intention_id = self._by_terms.get(tuple(terms[start : start + length]))
                if intention_id is not None:
                    found[intention_id] = None
        return np.array(list(found), dtype=np.int64)

    def save(self, directory: Path) -> None:
        """Write intentions.json, trie.npz and postings.npz into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        content = {"stemmer": self.analyzer.stemmer, "texts": self.texts}
        (directory / "intentions.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        self.trie.save(directory / "trie.npz")
        self.postings.save(directory / "postings.npz")

    @classmethod
    def load(cls, directory: Path) -> "IntentionIndex":
        """Read what `save` wrote; raise `ArtifactError` naming the file that is not that."""
        path = directory / "intentions.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            texts, analyzer = tuple(content["texts"]), Analyzer(content["stemmer"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ArtifactError(f"{path} does not hold intentions ({error})") from error
        trie, postings = Trie.load(directory / "trie.npz"), Postings.load(directory / "postings.npz")
        if not len(texts) == trie.num_intentions == postings.num_keys:
            raise ArtifactError(
                f"{path} has {len(texts)} intentions, the trie {trie.num_intentions}, the postings {postings.num_keys}"
            )
        return cls(texts, trie, postings, analyzer)
