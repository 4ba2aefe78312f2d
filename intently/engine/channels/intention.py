"""The intention channel: from a query's intentions, decoded and literal, over postings to ads."""

from dataclasses import dataclass

import numpy as np

from intently.arrays import Float32Array, IntArray, Mask
from intently.engine.channels.base import Evidence, Hits, Question
from intently.engine.channels.lexical import best_above_zero
from intently.engine.settings import RetrievalSettings
from intently.index.intentions import IntentionIndex
from intently.intentions.decode import Decoded
from intently.snapshot.segment import Segment
from intently.snapshot.snapshot import Snapshot
from intently.types import Channel


@dataclass(frozen=True)
class IntentionHits:
    """The ads that a query's intentions `ids (Q,)` lead to, with the `weights (Q,)` of the intentions."""

    snapshot: Snapshot
    intentions: IntentionIndex
    ids: IntArray
    weights: Float32Array
    scores: Float32Array  # (N,)
    hits: Hits

    def scores_of(self, ad_rows: IntArray) -> Float32Array:
        """Return the scores (C,) of any rows."""
        return self.scores[ad_rows]

    def evidence(self, ad_row: int, score: float) -> Evidence:
        """Return the intentions that reach the ad, each with its share of the score."""
        segment, row = self.snapshot.locate(ad_row)
        found = segment.postings.contributions(self.ids, self.weights, row)
        return tuple((self.intentions.texts[self.ids[position]], share) for position, share in found)


class IntentionChannel:
    """Finds ads by intentions: phrases of a known vocabulary that name what the user wants."""

    name = Channel.INTENTION

    def searches(self, segment: Segment) -> bool:
        """Return True: every engine has intentions."""
        return True

    def search(self, question: Question, eligible: Mask, depth: int) -> IntentionHits:
        """Return the best `depth` of the eligible ads that an intention of the query leads to."""
        found, snapshot = question.understood.intentions, question.snapshot
        assert found is not None
        ids, weights = weighted(found, question.understood.literal, question.settings)
        parts = [segment.postings.scores(ids, weights) for segment in snapshot.segments]
        scores = parts[0] if len(parts) == 1 else np.concatenate(parts)
        hits = best_above_zero(scores, eligible, depth)
        return IntentionHits(snapshot, question.intentions, ids, weights, scores, hits)

    def weight(self, settings: RetrievalSettings) -> float:
        """Return how much the channel counts in reciprocal rank fusion."""
        return settings.intention_weight


def weighted(found: Decoded, literal: IntArray, settings: RetrievalSettings) -> tuple[IntArray, Float32Array]:
    """Return the intentions that stand for a query, decoded and `literal` ones, with their weights."""
    shares = np.exp(settings.intention_power * found.log_probs)
    weight_of = dict(zip(found.intention_ids.tolist(), (shares / shares.sum()).tolist(), strict=True))
    for intention_id in literal.tolist():
        weight_of[intention_id] = weight_of.get(intention_id, 0.0) + settings.literal_weight / len(literal)
    return np.array(list(weight_of), dtype=np.int64), np.array(list(weight_of.values()), dtype=np.float32)
