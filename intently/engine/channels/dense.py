"""The dense channel: ads whose embeddings are near the query's, and whose tokens are like its tokens."""

from dataclasses import dataclass, replace

import numpy as np

from intently.arrays import Float32Array, IntArray, Mask
from intently.engine.channels.base import Evidence, Hits, Question
from intently.engine.settings import RetrievalSettings
from intently.index.ordering import ranked
from intently.index.vectors import VectorIndex
from intently.snapshot.segment import Segment
from intently.snapshot.snapshot import Snapshot
from intently.types import Channel


@dataclass(frozen=True, eq=False)
class DenseQuery:
    """A query as this channel scores ads: by the cosine with its unit `embedding (D,)`.

    Where tokens interact, the score of late interaction with `tokens (S, P)`, times `late_weight`, is added.
    """

    embedding: Float32Array
    tokens: Float32Array | None
    late_weight: float
    num_threads: int

    def cosines(self, snapshot: Snapshot, ad_rows: IntArray) -> Float32Array:
        """Return the cosines (C,) of some rows."""
        return snapshot.gather(
            ad_rows, lambda part, rows: _vectors(part).scores_of(self.embedding, rows, self.num_threads)
        )

    def late_shares(self, snapshot: Snapshot, ad_rows: IntArray) -> Float32Array:
        """Return the share of late interaction in the scores of some rows (C,): 0 if nothing interacts."""
        tokens = self.tokens
        if tokens is None:
            return np.zeros(len(ad_rows), dtype=np.float32)

        def scores(part: Segment, rows: IntArray) -> Float32Array:
            assert part.tokens is not None
            return part.tokens.scores_of(tokens, rows, self.num_threads)

        return np.float32(self.late_weight) * snapshot.gather(ad_rows, scores)


@dataclass(frozen=True)
class DenseHits:
    """The ads near a query. `compared` are the rows whose scores are known, in order of row."""

    snapshot: Snapshot
    query: DenseQuery
    compared: Hits
    hits: Hits

    def scores_of(self, ad_rows: IntArray) -> Float32Array:
        """Return the scores (C,) of any rows; those that were compared are looked up."""
        known = self.compared
        if not len(known.rows):
            return self._compare(ad_rows)
        place = np.minimum(np.searchsorted(known.rows, ad_rows), len(known.rows) - 1)
        scores = known.scores[place]
        unknown = known.rows[place] != ad_rows
        scores[unknown] = self._compare(ad_rows[unknown])
        return scores

    def evidence(self, ad_row: int, score: float) -> Evidence:
        """Return the cosine and, where tokens interact, the share of late interaction."""
        if self.query.tokens is None:
            return (("cosine", score),)
        cosine = float(self.query.cosines(self.snapshot, np.array([ad_row]))[0])
        return (("cosine", cosine), ("late interaction", score - cosine))

    def _compare(self, ad_rows: IntArray) -> Float32Array:
        return self.query.cosines(self.snapshot, ad_rows) + self.query.late_shares(self.snapshot, ad_rows)


class DenseChannel:
    """Finds ads by meaning."""

    name = Channel.DENSE

    def searches(self, segment: Segment) -> bool:
        """Return whether models have embedded the ads."""
        return segment.vectors is not None

    def search(self, question: Question, eligible: Mask, depth: int) -> DenseHits:
        """Return the best `depth` of the eligible ads.

        The embedding moves towards its first ads (pseudo-relevance feedback: Rocchio, 1971): ads lie nearer to each
        other than to the few words of a query. Late interaction, and then the moved embedding, score twice as many ads
        as are wanted, not all.
        """
        settings, snapshot, understood = question.settings, question.snapshot, question.understood
        assert understood.embedding is not None
        tokens = understood.tokens if settings.late_weight else None
        query = DenseQuery(understood.embedding, tokens, settings.late_weight, settings.num_threads)
        looks_again = bool(settings.feedback_weight) or tokens is not None
        rows, scores = _nearest(query, snapshot, (1 + looks_again) * depth, eligible)
        if looks_again and len(rows):
            late = query.late_shares(snapshot, rows)
            if settings.feedback_weight:
                first, _ = ranked(rows, scores + late, settings.num_feedback_ads)
                towards = snapshot.gather(first, lambda part, rows: _vectors(part).embeddings[rows]).mean(axis=0)
                moved = query.embedding + np.float32(settings.feedback_weight) * towards
                query = replace(query, embedding=moved / np.linalg.norm(moved))
                scores = query.cosines(snapshot, rows)
            scores = scores + late
        order = np.argsort(rows)
        compared = Hits(rows[order], scores[order])
        return DenseHits(snapshot, query, compared, Hits(*ranked(rows, scores, depth)))

    def weight(self, settings: RetrievalSettings) -> float:
        """Return how much the channel counts in reciprocal rank fusion."""
        return settings.dense_weight


def _vectors(segment: Segment) -> VectorIndex:
    assert segment.vectors is not None  # as `DenseChannel.searches` has said
    return segment.vectors


def _nearest(query: DenseQuery, snapshot: Snapshot, k: int, eligible: Mask) -> tuple[IntArray, Float32Array]:
    """Return the eligible rows nearest to a query's embedding, at most `k`, best first, and their cosines."""
    rows, scores = [], []
    for segment, start in zip(snapshot.segments, snapshot.starts[:-1], strict=True):
        admitted = eligible[start : start + segment.num_rows]
        found, cosines = _vectors(segment).search(query.embedding, k, admitted, query.num_threads)
        rows.append(found + start)
        scores.append(cosines)
    return ranked(np.concatenate(rows), np.concatenate(scores), k)
