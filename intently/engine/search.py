"""Searching one snapshot of the ads for one query, channel by channel, and telling what each channel saw in an ad."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from intently.arrays import Float32Array, IntArray, Mask
from intently.engine.settings import RetrievalSettings
from intently.engine.understand import Understood
from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalQuery
from intently.index.postings import top_rows
from intently.intentions.decode import Decoded
from intently.snapshot.snapshot import Ads, DenseQuery
from intently.types import Channel, Reason

NUM_EVIDENCE = 3  # pieces of evidence told per reason


@dataclass(frozen=True)
class Hits:
    """The best eligible rows (C,) of one channel, best first, and their scores (C,)."""

    rows: IntArray
    scores: Float32Array


@dataclass(frozen=True)
class Found:
    """What one query found in `ads`, channel by channel, and what is needed to say why."""

    ads: Ads
    intentions: IntentionIndex
    intention_ids: IntArray
    intention_weights: Float32Array
    num_literal: int  # of the intentions: those that the query contains word by word
    lexical: list[LexicalQuery]
    dense: DenseQuery | None
    compared: Hits  # what the dense channel compared, its best and others
    num_threads: int
    hits: dict[Channel, Hits] = field(default_factory=dict)
    everywhere: dict[Channel, Float32Array] = field(
        default_factory=dict
    )  # every ad's score (N,) on the sparse channels

    @property
    def best(self) -> dict[Channel, IntArray]:
        """The best eligible rows of each channel, best first."""
        return {channel: hits.rows for channel, hits in self.hits.items()}

    def scores_of(self, channel: Channel, ad_rows: IntArray) -> Float32Array:
        """Return the scores (C,) of any rows on a channel that was searched, whether it found them or not."""
        if channel is Channel.DENSE:
            return self._dense_scores(ad_rows)
        return self.everywhere[channel][ad_rows]

    def _dense_scores(self, ad_rows: IntArray) -> Float32Array:
        """Return the scores (C,) of any rows on the dense channel; those that were compared are looked up."""
        assert self.dense is not None
        if not len(self.compared.rows):
            return self.ads.dense_scores(self.dense, ad_rows, self.num_threads)
        order = np.argsort(self.compared.rows)
        place = np.searchsorted(self.compared.rows, ad_rows, sorter=order)
        place = order[np.minimum(place, len(order) - 1)]
        scores = self.compared.scores[place]
        unknown = self.compared.rows[place] != ad_rows
        scores[unknown] = self.ads.dense_scores(self.dense, ad_rows[unknown], self.num_threads)
        return scores

    def reasons(self, ad_row: int) -> tuple[Reason, ...]:
        """Return what each channel that found the ad saw in it."""
        reasons = []
        for channel, hits in self.hits.items():
            at = np.flatnonzero(hits.rows == ad_row)
            if len(at):
                score = float(hits.scores[at[0]])
                reasons.append(
                    Reason(channel, int(at[0]) + 1, score, self._told(channel, ad_row, score)[:NUM_EVIDENCE])
                )
        return tuple(reasons)

    def _told(self, channel: Channel, ad_row: int, score: float) -> tuple[tuple[str, float], ...]:
        if channel is Channel.DENSE:
            assert self.dense is not None
            if self.dense.tokens is None:
                return (("cosine", score),)
            cosine = float(self.ads.cosines(self.dense.embedding, np.array([ad_row]))[0])
            return (("cosine", cosine), ("late interaction", score - cosine))
        if channel is Channel.LEXICAL:
            return self.ads.explain_words(self.lexical, ad_row)
        found = self.ads.explain_intentions(self.intention_ids, self.intention_weights, ad_row)
        return tuple((self.intentions.texts[self.intention_ids[position]], share) for position, share in found)


def search(
    query: str,
    understood: Understood,
    ads: Ads,
    intentions: IntentionIndex,
    channels: Sequence[Channel],
    depth: int,
    eligible: Mask,
    settings: RetrievalSettings,
) -> Found:
    """Return the best `depth` eligible ads of each of `channels`."""
    ids, weights = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    literal = ids
    if understood.intentions is not None:
        literal = intentions.literal(query)
        ids, weights = _weighted(understood.intentions, literal, settings)
    asked = ads.lexical_query(query) if Channel.LEXICAL in channels else []
    dense, compared = None, Hits(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
    if Channel.DENSE in channels:
        assert understood.embedding is not None
        tokens = understood.tokens if settings.late_weight else None
        dense = DenseQuery(understood.embedding, tokens, settings.late_weight)
        dense, compared = _nearest(dense, ads, depth, eligible, settings)
    found = Found(ads, intentions, ids, weights, len(literal), asked, dense, compared, settings.num_threads)
    for channel in channels:
        if channel is Channel.DENSE:
            found.hits[channel] = Hits(compared.rows[:depth], compared.scores[:depth])
        else:
            by_intention = channel is Channel.INTENTION
            scores = ads.intention_scores(ids, weights) if by_intention else ads.lexical_scores(asked)
            rows = top_rows(scores, depth, eligible, above=0.0)
            found.everywhere[channel], found.hits[channel] = scores, Hits(rows, scores[rows])
    return found


def _nearest(
    query: DenseQuery, ads: Ads, depth: int, eligible: Mask, settings: RetrievalSettings
) -> tuple[DenseQuery, Hits]:
    """Return a query with its embedding moved towards its first ads, and the ads that it was compared with, best first.

    Pseudo-relevance feedback (Rocchio, 1971): ads lie nearer to each other than to the few words of a query. What late
    interaction and then a moved embedding think is asked of twice as many ads as are wanted, not of all.
    """
    looks_again = bool(settings.feedback_weight) or query.tokens is not None
    rows, cosines = ads.dense_search(query.embedding, (1 + looks_again) * depth, eligible, settings.num_threads)
    if not looks_again or not len(rows):
        return query, Hits(rows, cosines)
    late = ads.late_shares(query, rows, settings.num_threads)
    if settings.feedback_weight:
        first = ads.embeddings(_best(rows, cosines + late, settings.num_feedback_ads).rows)
        moved = query.embedding + np.float32(settings.feedback_weight) * first.mean(axis=0)
        query = replace(query, embedding=moved / np.linalg.norm(moved))
        cosines = ads.cosines(query.embedding, rows, settings.num_threads)
    return query, _best(rows, cosines + late, len(rows))


def _best(rows: IntArray, scores: Float32Array, number: int) -> Hits:
    """Return the rows with the highest scores, equals in order of row."""
    order = np.lexsort((rows, -scores))[:number]
    return Hits(rows[order], scores[order])


def weighted_intentions(
    query: str, found: Decoded, intentions: IntentionIndex, settings: RetrievalSettings
) -> tuple[IntArray, Float32Array]:
    """Return the intentions that stand for a query, decoded ones and literal ones, with their weights."""
    return _weighted(found, intentions.literal(query), settings)


def _weighted(found: Decoded, literal: IntArray, settings: RetrievalSettings) -> tuple[IntArray, Float32Array]:
    shares = np.exp(settings.intention_power * found.log_probs)
    weight_of = dict(zip(found.intention_ids.tolist(), (shares / shares.sum()).tolist(), strict=True))
    for intention_id in literal.tolist():
        weight_of[intention_id] = weight_of.get(intention_id, 0.0) + settings.literal_weight / len(literal)
    return np.array(list(weight_of), dtype=np.int64), np.array(list(weight_of.values()), dtype=np.float32)
