"""One query over one snapshot: search every channel, fuse their hits, and give the reasons of each ad."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from intently.arrays import Float32Array, Float64Array, IntArray, Mask
from intently.engine.channels.base import ChannelHits, ChannelSearch, Question
from intently.engine.channels.lexical import LexicalHits
from intently.engine.fusion_features import Candidates, QueryFacts
from intently.engine.learned_fusion import LearnedFusion
from intently.engine.reciprocal_ranks import Judge, reciprocal_rank_fusion
from intently.index.bm25 import Statistics
from intently.index.title_terms import Codes
from intently.types import Channel, Reason

NUM_EVIDENCE = 3  # pieces of evidence that a reason shows


@dataclass(frozen=True)
class Searched:
    """The hits of one query, channel by channel."""

    question: Question
    depth: int
    channels: Sequence[ChannelSearch]
    found: dict[Channel, ChannelHits] = field(default_factory=dict)

    @classmethod
    def of(cls, question: Question, channels: Sequence[ChannelSearch], eligible: Mask, depth: int) -> "Searched":
        """Return the best `depth` eligible ads of each of `channels`."""
        found = {channel.name: channel.search(question, eligible, depth) for channel in channels}
        return cls(question, depth, channels, found)

    @property
    def best(self) -> dict[Channel, IntArray]:
        """The best eligible rows of each channel, best first."""
        return {name: found.hits.rows for name, found in self.found.items()}

    @property
    def may_go_deeper(self) -> bool:
        """Whether a channel found as many ads as it was asked for, so that there may be more."""
        return any(len(rows) >= self.depth for rows in self.best.values())

    def by_reciprocal_ranks(self, relevance: Judge | None = None) -> tuple[IntArray, Float64Array]:
        """Return all rows found and their scores by reciprocal rank fusion, best first.

        `relevance` tells of rows how relevant they are: that order is one more ranking of all that the channels found.
        """
        settings = self.question.settings
        weights = [channel.weight(settings) for channel in self.channels]
        rankings = [self.found[channel.name].hits.rows for channel in self.channels]
        return reciprocal_rank_fusion(rankings, weights, settings.fusion_constant, relevance, settings.relevance_weight)

    def candidates(self, rows: IntArray, scores: Float64Array) -> Candidates:
        """Return some of the rows that reciprocal rank fusion scored, with their scores and ranks in each channel."""
        return Candidates.of(rows, scores, self.best, self._scores_of)

    def facts(self, statistics: Statistics) -> QueryFacts:
        """Return the facts of the query that the learned fusion needs."""
        lexical, question = self.found[Channel.LEXICAL], self.question
        assert isinstance(lexical, LexicalHits)
        return QueryFacts.of(question.text, lexical.asked, len(question.understood.literal), statistics)

    def title_terms(self, ad_rows: IntArray) -> Codes:
        """Return the first terms of some ads' titles, as `TitleTerms.of` does."""
        return self.question.snapshot.gather(ad_rows, lambda part, rows: part.titles.of(rows))

    def reranked(self, fusion: LearnedFusion, statistics: Statistics) -> tuple[IntArray, Float64Array]:
        """Return all rows found and their scores, best first: by reciprocal ranks, then as learned."""
        rows, scores = self.by_reciprocal_ranks()
        best = {name: self.best[name] for name in fusion.channels}
        return fusion.rank(rows, scores, best, self._scores_of, self.facts(statistics), self.title_terms)

    def _scores_of(self, name: Channel, ad_rows: IntArray) -> Float32Array:
        return self.found[name].scores_of(ad_rows)

    def reasons(self, ad_row: int) -> tuple[Reason, ...]:
        """Return the reasons of each channel that found the ad."""
        reasons = []
        for name, found in self.found.items():
            at = np.flatnonzero(found.hits.rows == ad_row)
            if len(at):
                score = float(found.hits.scores[at[0]])
                reasons.append(Reason(name, int(at[0]) + 1, score, found.evidence(ad_row, score)[:NUM_EVIDENCE]))
        return tuple(reasons)


def continued(
    first: tuple[IntArray, Float64Array], deeper: tuple[IntArray, Float64Array]
) -> tuple[IntArray, Float64Array]:
    """Return a ranking with the rows that only a deeper search found after it, in that search's order.

    Each search goes twice as deep as the one before, whatever k is, so the first ads never depend on k. The rows that
    follow get scores below the others.
    """
    rows, scores = first
    is_new = ~np.isin(deeper[0], rows)
    more, their_scores = deeper[0][is_new], deeper[1][is_new]
    if not len(more):
        return first
    if len(scores):
        their_scores = np.minimum(their_scores - max(0.0, float(their_scores[0] - scores[-1])), scores[-1])
    return np.concatenate((rows, more)), np.concatenate((scores, their_scores))
