"""The intention index: the vocabulary, its trie, and the postings from intentions to ads."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intently.errors import ArtifactError, SettingsError
from intently.index.postings import IntArray, Postings
from intently.intentions.trie import Trie
from intently.settings import check_range
from intently.text.analyze import Analyzer


@dataclass(frozen=True)
class PostingSettings:
    """How ads get their postings."""

    num_beams: int = 16  # intentions decoded for each ad
    max_ad_tokens: int = 48
    decoded_weight: float = 0.3  # of a decoded intention's probability, against 1 for being given
    idf_power: float = 1.5  # how much more a rare intention counts than a common one

    def __post_init__(self) -> None:
        check_range(self, "num_beams", low=1)
        check_range(self, "max_ad_tokens", low=3)  # one between [CLS] and [SEP]
        check_range(self, "decoded_weight", "idf_power")


def build_postings(
    given: IntArray,
    decoded: IntArray,
    log_probs: NDArray[np.float64],
    num_intentions: int,
    num_ads: int,
    settings: PostingSettings,
) -> Postings:
    """Build postings from given and decoded (intention_id, ad_row) pairs.

    A given intention (clicked, bid on, or in the title) weighs 1 and a decoded one `decoded_weight` times its
    probability; their sum counts by the intention's inverse document frequency.
    """
    reach = np.bincount(given[:, 0], minlength=num_intentions)
    idf = np.log1p(num_ads / (1.0 + reach))
    every = np.concatenate((given, decoded))
    weights = np.concatenate((np.ones(len(given)), settings.decoded_weight * np.exp(log_probs)))
    keys, inverse = np.unique(every[:, 0] * num_ads + every[:, 1], return_inverse=True)
    ids, rows = np.divmod(keys, num_ads)
    summed = np.bincount(inverse, weights=weights).astype(np.float64)
    return Postings.build(ids, rows, summed * idf[ids] ** settings.idf_power, num_intentions, num_ads)


@dataclass(frozen=True)
class IntentionIndex:
    """I intentions: `texts[i]` names intention i, `trie` admits its tokens, `postings` lead from it to ads."""

    texts: tuple[str, ...]
    trie: Trie
    postings: Postings
    analyzer: Analyzer

    @cached_property
    def _by_terms(self) -> dict[tuple[str, ...], int]:
        return {self._terms(text): intention_id for intention_id, text in enumerate(self.texts)}

    def _terms(self, text: str) -> tuple[str, ...]:
        return tuple(stem for _, stem in self.analyzer.phrase(text))

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._by_terms))

    def literal(self, query: str) -> IntArray:
        """Return the ids of the intentions whose words the query contains side by side; longer ones first."""
        terms = self._terms(query)
        found: dict[int, None] = {}
        for length in range(min(self._longest, len(terms)), 0, -1):
            for start in range(len(terms) - length + 1):
                intention_id = self._by_terms.get(terms[start : start + length])
                if intention_id is not None:
                    found[intention_id] = None
        return np.array(list(found), dtype=np.int64)

    def save(self, directory: Path) -> None:
        """Write intentions.json, intentions.trie and postings.npz into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        content = {"stemmer": self.analyzer.stemmer, "texts": self.texts}
        (directory / "intentions.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        self.trie.save(directory / "intentions.trie")
        self.postings.save(directory / "postings.npz")

    @classmethod
    def load(cls, directory: Path) -> "IntentionIndex":
        """Read what `save` wrote; raise `ArtifactError` naming the file that is not that."""
        path = directory / "intentions.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            texts, analyzer = content["texts"], Analyzer(content["stemmer"])
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise ValueError("the texts are no list of texts")
        except (OSError, ValueError, TypeError, KeyError, SettingsError) as error:
            raise ArtifactError(f"{path} does not hold intentions ({error}); build the engine again") from error
        trie, postings = Trie.load(directory / "intentions.trie"), Postings.load(directory / "postings.npz")
        if not len(texts) == trie.num_intentions == postings.num_keys:
            raise ArtifactError(
                f"{path} has {len(texts)} intentions, the trie {trie.num_intentions}, the postings "
                f"{postings.num_keys}; build the engine again"
            )
        return cls(tuple(texts), trie, postings, analyzer)
