"""The lexical channel: BM25 over the query's terms."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intently.arrays import Float32Array, IntArray, Mask
from intently.engine.channels.base import Evidence, Hits, Question
from intently.engine.settings import RetrievalSettings
from intently.index.lexical import LexicalQuery
from intently.index.ordering import ranked
from intently.index.postings import top_rows
from intently.snapshot.segment import Segment
from intently.snapshot.snapshot import Snapshot
from intently.types import Channel


@dataclass(frozen=True)
class LexicalHits:
    """The ads that BM25 found. `asked` are the query's known terms as each segment's index numbers them."""

    snapshot: Snapshot
    asked: Sequence[LexicalQuery]
    scores: Float32Array  # (N,)
    hits: Hits

    def scores_of(self, ad_rows: IntArray) -> Float32Array:
        """Return the scores (C,) of any rows."""
        return self.scores[ad_rows]

    def evidence(self, ad_row: int, score: float) -> Evidence:
        """Return the matched terms, each with its share of the score."""
        at, row = self.snapshot.place(ad_row)
        return self.snapshot.segments[at].lexical.explain(self.asked[at], row)


class LexicalChannel:
    """Finds ads by the words that are written on them."""

    name = Channel.LEXICAL

    def searches(self, segment: Segment) -> bool:
        """Return True: every engine has a lexical index."""
        return True

    def search(self, question: Question, eligible: Mask, depth: int) -> LexicalHits:
        """Return the best `depth` of the eligible ads that have a term of the query."""
        snapshot = question.snapshot
        asked = [segment.lexical.known(question.text) for segment in snapshot.segments]
        parts = [segment.lexical.scores(one) for segment, one in zip(snapshot.segments, asked, strict=True)]
        scores = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return LexicalHits(snapshot, asked, scores, best_above_zero(scores, eligible, depth))

    def weight(self, settings: RetrievalSettings) -> float:
        """Return how much the channel counts in reciprocal rank fusion."""
        return settings.lexical_weight


def best_above_zero(scores: Float32Array, eligible: Mask, depth: int) -> Hits:
    """Return the best `depth` eligible rows with scores (N,) above 0."""
    rows = top_rows(scores, depth, eligible, above=0.0)
    return Hits(*ranked(rows, scores[rows]))
