"""Searching one snapshot of the ads for one query, path by path, and telling what each path saw in an ad."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalQuery
from intently.index.postings import FloatArray, IntArray, Mask, top_rows
from intently.intentions.decode import Decoded
from intently.retrieve.ads import Ads
from intently.retrieve.feedback import expanded, moved
from intently.retrieve.fuse import reciprocal_rank_fusion
from intently.retrieve.settings import RetrievalSettings
from intently.retrieve.understand import Understood
from intently.types import Path, Reason

NUM_EVIDENCE = 3  # pieces of evidence told per reason


@dataclass(frozen=True)
class Hits:
    """The best eligible rows (C,) of one path, best first, and their scores (C,)."""

    rows: IntArray
    scores: FloatArray


@dataclass(frozen=True)
class Found:
    """What one query found in `ads`, path by path, and what is needed to say why."""

    ads: Ads
    intentions: IntentionIndex
    intention_ids: IntArray
    intention_weights: FloatArray
    num_literal: int  # of the intentions: those that the query contains word by word
    words: list[LexicalQuery]  # of the query alone
    asked: list[LexicalQuery]  # with those that feedback added
    embedding: FloatArray | None  # as feedback moved it
    hits: dict[Path, Hits] = field(default_factory=dict)
    everywhere: dict[Path, FloatArray] = field(default_factory=dict)  # every ad's score (N,) on the sparse paths

    @property
    def best(self) -> dict[Path, IntArray]:
        """The best eligible rows of each path, best first."""
        return {path: hits.rows for path, hits in self.hits.items()}

    def scores_of(self, path: Path, ad_rows: IntArray) -> FloatArray:
        """Return the scores (C,) of any rows on a path that was searched, whether it found them or not."""
        if path is Path.DENSE:
            assert self.embedding is not None
            return self.ads.dense_scores(self.embedding, ad_rows)
        return self.everywhere[path][ad_rows]

    def reasons(self, ad_row: int) -> tuple[Reason, ...]:
        """Return what each path that found the ad saw in it."""
        reasons = []
        for path, hits in self.hits.items():
            at = np.flatnonzero(hits.rows == ad_row)
            if len(at):
                score = float(hits.scores[at[0]])
                reasons.append(Reason(path, int(at[0]) + 1, score, self._told(path, ad_row, score)[:NUM_EVIDENCE]))
        return tuple(reasons)

    def _told(self, path: Path, ad_row: int, score: float) -> tuple[tuple[str, float], ...]:
        if path is Path.DENSE:
            return (("cosine", score),)
        if path is Path.LEXICAL:
            own = {term for one in self.words for term in one.terms}
            shares = self.ads.explain_words(self.asked, ad_row)
            return tuple((term if term in own else f"+{term}", share) for term, share in shares)
        found = self.ads.explain_intentions(self.intention_ids, self.intention_weights, ad_row)
        return tuple((self.intentions.texts[self.intention_ids[position]], share) for position, share in found)


def search(
    query: str,
    understood: Understood,
    ads: Ads,
    intentions: IntentionIndex,
    paths: Sequence[Path],
    depth: int,
    eligible: Mask,
    settings: RetrievalSettings,
) -> Found:
    """Return the best `depth` eligible ads of each of `paths`.

    With several paths, what the first ads of all say is asked for as well (`[retrieval.feedback]`).
    """
    ids, weights = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    literal = ids
    if understood.intentions is not None:
        literal = intentions.literal(query)
        ids, weights = _weighted(understood.intentions, literal, settings)
    words = ads.lexical_query(query) if Path.LEXICAL in paths else []
    found = Found(ads, intentions, ids, weights, len(literal), words, words, understood.embedding)
    for path in paths:
        _look(found, path, depth, eligible, settings.num_threads)
    if len(paths) == 1 or not settings.feedback.num_ads:
        return found
    first = fused_by_ranks(found.best, settings)[0][: settings.feedback.num_ads]
    if not len(first):
        return found
    if Path.DENSE in paths:
        assert found.embedding is not None
        found = replace(found, embedding=moved(found.embedding, ads, first, settings.feedback))
        _look(found, Path.DENSE, depth, eligible, settings.num_threads)
    if Path.LEXICAL in paths:
        found = replace(found, asked=expanded(words, ads, first, settings.feedback))
        _look(found, Path.LEXICAL, depth, eligible, settings.num_threads)
    return found


def _look(found: Found, path: Path, depth: int, eligible: Mask, num_threads: int) -> None:
    """Let `found` hold the best `depth` eligible ads of a path, by what it knows of the query."""
    if path is Path.DENSE:
        assert found.embedding is not None
        found.hits[path] = Hits(*found.ads.dense_search(found.embedding, depth, eligible, num_threads))
        return
    if path is Path.INTENTION:
        scores = found.ads.intention_scores(found.intention_ids, found.intention_weights)
    else:
        scores = found.ads.lexical_scores(found.asked)
    rows = top_rows(scores, depth, eligible, above=0.0)
    found.everywhere[path], found.hits[path] = scores, Hits(rows, scores[rows])


def fused_by_ranks(best: Mapping[Path, IntArray], settings: RetrievalSettings) -> tuple[IntArray, NDArray[np.float64]]:
    """Return all rows that paths found, best first by reciprocal rank fusion, with its scores."""
    weight_of = {
        Path.INTENTION: settings.intention_weight,
        Path.DENSE: settings.dense_weight,
        Path.LEXICAL: settings.lexical_weight,
    }
    return reciprocal_rank_fusion(list(best.values()), [weight_of[path] for path in best], settings.fusion_constant)


def weighted_intentions(
    query: str, found: Decoded, intentions: IntentionIndex, settings: RetrievalSettings
) -> tuple[IntArray, FloatArray]:
    """Return the intentions that stand for a query, decoded ones and literal ones, with their weights."""
    return _weighted(found, intentions.literal(query), settings)


def _weighted(found: Decoded, literal: IntArray, settings: RetrievalSettings) -> tuple[IntArray, FloatArray]:
    shares = np.exp(settings.intention_power * found.log_probs)
    weight_of = dict(zip(found.intention_ids.tolist(), (shares / shares.sum()).tolist(), strict=True))
    for intention_id in literal.tolist():
        weight_of[intention_id] = weight_of.get(intention_id, 0.0) + settings.literal_weight / len(literal)
    return np.array(list(weight_of), dtype=np.int64), np.array(list(weight_of.values()), dtype=np.float32)
