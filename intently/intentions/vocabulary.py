"""The intention vocabulary: a limited set of candidates that reaches every ad and answers many queries.

RARE keeps "a limited but comprehensive set" of intentions without saying how. Here it is maximum coverage with
diminishing returns: a candidate gains from every ad and query it belongs to, the less the more intentions these already
have, so specific phrases are added once the broad ones are in. Every ad keeps a floor of one intention.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float64Array, IntArray
from intently.intentions.candidates import Candidates, Source
from intently.settings import check_range

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VocabularySettings:
    """How many intentions to keep, and what counts as coverage."""

    max_intentions: int = 40_000  # at most; each takes part in every decoding
    saturation: float = 0.8  # the next intention of an ad or query is worth this share of the one before
    query_weight: float = 3.0  # what answering one query is worth, in ads
    num_rounds: int = 20  # gains are renewed this often while the vocabulary fills

    def __post_init__(self) -> None:
        check_range(self, "max_intentions", "query_weight")
        check_range(self, "saturation", high=1)
        check_range(self, "num_rounds", low=1)


@dataclass(frozen=True)
class Vocabulary:
    """I intentions by id, and which ads and queries they belong to.

    `ad_pairs` (P, 2) are distinct (intention_id, ad_row), `query_pairs` (R, 2) distinct (intention_id, query_row);
    `taught_pairs` (T, 2), distinct too, are what a language model said of ads, with `taught_log_probs` (T,).
    """

    texts: tuple[str, ...]
    ad_pairs: IntArray
    query_pairs: IntArray
    taught_pairs: IntArray = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    taught_log_probs: Float64Array = field(default_factory=lambda: np.empty(0))
    sources: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))  # (I,) of `Source` flags, if known
    left_out: tuple[str, ...] = ()  # intentions that the tokenizer has no characters for

    def __len__(self) -> int:
        return len(self.texts)


def select_vocabulary(
    candidates: Candidates, num_ads: int, num_queries: int, settings: VocabularySettings
) -> Vocabulary:
    """Choose at most `max_intentions` candidates by coverage, and the floor of one intention an ad beyond it."""
    num_candidates = len(candidates.texts)
    of_ads = np.unique(np.concatenate((candidates.ad_pairs, candidates.taught_pairs)), axis=0)
    items = np.concatenate((of_ads[:, 1], candidates.query_pairs[:, 1] + num_ads))
    owners = np.concatenate((of_ads[:, 0], candidates.query_pairs[:, 0]))
    worth = np.concatenate((np.ones(num_ads), np.full(num_queries, settings.query_weight)))
    chosen = np.zeros(num_candidates, dtype=bool)
    covered = np.zeros(num_ads + num_queries)
    budget = min(settings.max_intentions, num_candidates)
    for round_number in range(settings.num_rounds):
        quota = budget * (round_number + 1) // settings.num_rounds - int(chosen.sum())
        gains = np.bincount(owners, weights=(worth * settings.saturation**covered)[items], minlength=num_candidates)
        gains[chosen] = -1.0
        best = np.argsort(-gains, kind="stable")[:quota]
        chosen[best] = True
        covered = np.bincount(items[chosen[owners]], minlength=len(worth)).astype(float)
    chosen[_floor(candidates, chosen, num_ads)] = True

    every = Vocabulary(
        candidates.texts,
        candidates.ad_pairs,
        candidates.query_pairs,
        candidates.taught_pairs,
        candidates.taught_log_probs,
        candidates.sources,
    )
    return replace(_only(every, chosen), left_out=())


def _floor(candidates: Candidates, chosen: NDArray[np.bool_], num_ads: int) -> IntArray:
    """Return, for every ad that has no chosen intention, its longest candidate (the first of them)."""
    pairs = candidates.ad_pairs
    lacking = np.ones(num_ads, dtype=bool)
    lacking[pairs[chosen[pairs[:, 0]], 1]] = False
    of_lacking = pairs[lacking[pairs[:, 1]]]
    order = np.lexsort((of_lacking[:, 0], -candidates.num_words[of_lacking[:, 0]], of_lacking[:, 1]))
    _, first = np.unique(of_lacking[order, 1], return_index=True)
    return np.unique(of_lacking[order[first], 0])


def coverage(vocabulary: Vocabulary, num_ads: int, num_queries: int = 0) -> dict[str, float]:
    """Return what the vocabulary reaches: its size, shares of ads and queries, how many meet, and shares by source."""
    reached = np.unique(np.concatenate((vocabulary.ad_pairs, vocabulary.taught_pairs)), axis=0)
    size = max(len(vocabulary), 1)
    facts = {
        "num_intentions": len(vocabulary),
        "share_of_ads": len(np.unique(reached[:, 1])) / max(num_ads, 1),
        "share_of_queries": len(np.unique(vocabulary.query_pairs[:, 1])) / max(num_queries, 1),
        "intentions_per_ad": len(reached) / max(num_ads, 1),
        "ads_per_intention": len(reached) / size,
    }
    for source in Source:
        of_source = (vocabulary.sources & source) > 0
        facts[f"share_from_{str(source.name).lower()}"] = float(of_source.sum()) / size
        facts[f"share_only_from_{str(source.name).lower()}"] = float((vocabulary.sources == source).sum()) / size
    return facts


def merge_equal(
    vocabulary: Vocabulary, sequences: Sequence[Sequence[int]], unknown_id: int | None = None
) -> Vocabulary:
    """Return the vocabulary with intentions of equal token sequence merged into the first of them.

    A tokenizer that drops accents makes one sequence of "café" and "cafe"; a trie can hold it only once. Different
    words are also equal when the tokenizer knows none of their characters: intentions with `unknown_id` are left out,
    and listed in `left_out`.
    """
    readable = np.array([unknown_id not in sequence for sequence in sequences], dtype=bool)
    if not readable.all():
        vocabulary = _only(vocabulary, readable)
        sequences = [sequence for sequence, keep in zip(sequences, readable, strict=True) if keep]
        logger.warning(
            "%d intentions are left out because the tokenizer lacks their characters, such as %r",
            len(vocabulary.left_out),
            vocabulary.left_out[0],
        )
    first: dict[tuple[int, ...], int] = {}
    kept_as = np.array([first.setdefault(tuple(sequence), i) for i, sequence in enumerate(sequences)], dtype=np.int64)
    kept = np.unique(kept_as)
    renumbered = np.searchsorted(kept, kept_as)

    def merged(pairs: IntArray) -> IntArray:
        return np.unique(np.stack((renumbered[pairs[:, 0]], pairs[:, 1]), axis=1), axis=0)

    texts = tuple(vocabulary.texts[i] for i in kept)
    sources = np.zeros(len(kept) if len(vocabulary.sources) else 0, dtype=np.int64)
    np.bitwise_or.at(sources, renumbered[: len(vocabulary.sources)], vocabulary.sources)
    taught, inverse = np.unique(
        np.stack((renumbered[vocabulary.taught_pairs[:, 0]], vocabulary.taught_pairs[:, 1]), axis=1),
        axis=0,
        return_inverse=True,
    )
    log_probs = np.full(len(taught), -np.inf)
    np.logaddexp.at(log_probs, inverse, vocabulary.taught_log_probs)
    ads, queries = merged(vocabulary.ad_pairs), merged(vocabulary.query_pairs)
    return Vocabulary(texts, ads, queries, taught, log_probs, sources, vocabulary.left_out)


def _only(vocabulary: Vocabulary, keep: NDArray[np.bool_]) -> Vocabulary:
    """Return the vocabulary of those intentions where `keep (I,)` holds; the others are left out."""
    renumbered = np.cumsum(keep) - 1

    def of_kept(pairs: IntArray) -> IntArray:
        pairs = pairs[keep[pairs[:, 0]]]
        return np.stack((renumbered[pairs[:, 0]], pairs[:, 1]), axis=1)

    return Vocabulary(
        tuple(text for text, wanted in zip(vocabulary.texts, keep, strict=True) if wanted),
        of_kept(vocabulary.ad_pairs),
        of_kept(vocabulary.query_pairs),
        of_kept(vocabulary.taught_pairs),
        vocabulary.taught_log_probs[keep[vocabulary.taught_pairs[:, 0]]],
        vocabulary.sources[keep] if len(vocabulary.sources) else vocabulary.sources,
        vocabulary.left_out + tuple(text for text, wanted in zip(vocabulary.texts, keep, strict=True) if not wanted),
    )
