"""The keyword channel: the traditional way, from a query over bid keywords with match types to ads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intently.arrays import Float32Array, IntArray, Mask
from intently.engine.channels.base import Evidence, Hits, Question
from intently.engine.channels.lexical import best_above_zero
from intently.engine.settings import RetrievalSettings
from intently.rules.keyword import Match
from intently.rules.match import Found, share_of_query
from intently.snapshot.segment import Segment
from intently.snapshot.snapshot import Snapshot
from intently.types import Channel

_OF_MATCH = {Match.EXACT: 3.0, Match.PHRASE: 2.0, Match.BROAD: 1.0}
_NEAR, _SHARE = 0.5, 0.4  # what a close variant loses, and what a keyword gains that is the whole query


@dataclass(frozen=True)
class KeywordHits:
    """The ads that have a keyword which matches. `found` are the keywords of each segment, with their scores."""

    snapshot: Snapshot
    found: Sequence[dict[int, tuple[Found, float]]]
    scores: Float32Array  # (N,): of an ad's best keyword
    hits: Hits

    def scores_of(self, ad_rows: IntArray) -> Float32Array:
        """Return the scores (C,) of any rows."""
        return self.scores[ad_rows]

    def evidence(self, ad_row: int, score: float) -> Evidence:
        """Return the keywords of the ad that match, in words, each with its score, the best first."""
        at, row = self.snapshot.place(ad_row)
        index = self.snapshot.segments[at].keywords(self.snapshot.rules)
        own = [each for number, each in self.found[at].items() if row in index.rows(number)]
        best = sorted(own, key=lambda each: (-each[1], str(each[0])))
        return tuple((f"{found.keyword} ({found.match_type} match)", score) for found, score in best)


class KeywordChannel:
    """Finds ads by their bid keywords. Exact matches come before phrases, and these before broad ones."""

    name = Channel.KEYWORD

    def searches(self, segment: Segment) -> bool:
        """Return True: every engine has its ads' keywords."""
        return True

    def search(self, question: Question, eligible: Mask, depth: int) -> KeywordHits:
        """Return the best `depth` of the eligible ads that have a keyword which the query matches."""
        snapshot, query = question.snapshot, question.text.normalized
        rules, parts, all_found = snapshot.rules, [], []
        for segment in snapshot.segments:
            index, scores = segment.keywords(rules), np.zeros(segment.num_rows, dtype=np.float32)
            found = {
                number: (how, score_of(how, share_of_query(how.keyword, query, rules.positive, rules.stemmer)))
                for number, how in index.found(query, snapshot.known_words)
            }
            for number, (_, score) in found.items():
                rows = index.rows(number)
                scores[rows] = np.maximum(scores[rows], np.float32(score))
            parts.append(scores)
            all_found.append(found)
        scores = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return KeywordHits(snapshot, all_found, scores, best_above_zero(scores, eligible, depth))

    def weight(self, settings: RetrievalSettings) -> float:
        """Return how much the channel counts in reciprocal rank fusion."""
        return settings.keyword_weight


def score_of(found: Found, share: float) -> float:
    """Return the score of a match: first its type, then whether it is literal, then its `share` of the query."""
    return _OF_MATCH[found.keyword.match] - _NEAR * found.is_near + _SHARE * share
