"""The features of a query's candidates for the learned fusion: every channel's scores, and how the titles match.

No feature knows any clicks. An ad's clicks, also those of other queries, say more about which ads were shown and judged
than about what a new query wants.

Shape letters: C candidates of one query, T distinct terms of the query, L terms of a title, F features, N ads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float32Array, IntArray, Mask
from intently.index.bm25 import Statistics
from intently.index.lexical import LexicalQuery
from intently.index.title_terms import Codes, term_codes
from intently.text.query_text import QueryText
from intently.text.units import UNITS
from intently.types import Channel

_RANK_CONSTANT = 10.0  # of the reciprocal ranks

_OF_CHANNEL = ("score", "below best", "deviation", "reciprocal rank")
_OF_CANDIDATE = ("fused score", "number of channels")
_OF_QUERY = ("query terms", "query numbers", "query terms corrected", "literal intentions")
_OF_TITLE = (
    "title terms",
    "query in title",
    "title in query",
    "numbers in title",
    "last word in title",
    "pairs in title",
    "first match",
)
_RISING = {*_OF_CHANNEL, "fused score", "query in title", "numbers in title", "last word in title", "pairs in title"}


@dataclass(frozen=True)
class QueryFacts:
    """The facts of a query: its distinct `terms (T,)` in order, added ones included, with their `idf (T,)`."""

    terms: tuple[str, ...]
    idf: NDArray[np.float64]
    num_corrected: int  # terms as typed that no ad has: they were corrected, or left out
    num_literal: int  # intentions that the query contains word by word

    @classmethod
    def of(
        cls,
        query: QueryText,
        asked: Sequence[LexicalQuery],
        num_literal: int,
        statistics: Statistics,
    ) -> "QueryFacts":
        """Return the facts of a query that became `asked`, one for each of the indexes it was asked of."""
        terms = tuple(dict.fromkeys(term for one in asked for term in one.terms))
        num_corrected = len(set(query.terms).difference(terms))
        return cls(terms, statistics.idf(list(terms)), num_corrected, num_literal)


@dataclass(frozen=True, eq=False)
class Candidates:
    """C distinct ads that the channels found for one query, best first by reciprocal rank fusion (`fused (C,)`).

    `scores` has what each channel says of every candidate (C,), whether it is among that channel's best or not; `ranks`
    its place among these from 1, and 0 if it is not there.
    """

    rows: IntArray
    fused: NDArray[np.float64]
    scores: Mapping[Channel, Float32Array]
    ranks: Mapping[Channel, IntArray]

    @classmethod
    def of(
        cls,
        rows: IntArray,
        fused: NDArray[np.float64],
        best: Mapping[Channel, IntArray],
        scores_of: Callable[[Channel, IntArray], Float32Array],
    ) -> "Candidates":
        """Return the candidates `rows`, which may leave out some of each channel's `best` rows.

        `scores_of` returns a channel's scores (C,) of any rows.
        """
        order = np.argsort(rows)
        in_order = rows[order]
        ranks = {}
        for channel, found in best.items():
            place = np.minimum(np.searchsorted(in_order, found), max(len(rows) - 1, 0))
            is_there = in_order[place] == found if len(rows) else np.zeros(len(found), dtype=np.bool_)
            ranks[channel] = np.zeros(len(rows), dtype=np.int64)
            ranks[channel][order[place[is_there]]] = np.flatnonzero(is_there) + 1
        return cls(rows, fused, {channel: scores_of(channel, rows) for channel in best}, ranks)


def feature_names(channels: Sequence[Channel]) -> tuple[str, ...]:
    """Return what the columns of `features` are called, for candidates of these channels."""
    of_channels = tuple(f"{channel} {name}" for channel in channels for name in _OF_CHANNEL)
    return (*of_channels, *_OF_CANDIDATE, *_OF_QUERY, *_OF_TITLE)


def rising(channels: Sequence[Channel]) -> tuple[bool, ...]:
    """Return for which columns of `features` more can only speak for an ad: a model that knows needs less to learn."""
    names = (*(_OF_CHANNEL * len(channels)), *_OF_CANDIDATE, *_OF_QUERY, *_OF_TITLE)
    return tuple(name in _RISING for name in names)


def features(candidates: Candidates, query: QueryFacts, titles: Codes) -> NDArray[np.float32]:
    """Return the features (C, F) of candidates whose titles have the terms `titles (C, L)`.

    Of each channel: its score, how far that is below the best candidate's, the same in standard deviations around their
    mean, and 1 / (10 + rank), 0 for an ad that is not among the channel's best. Cost: C · L · T comparisons.
    """
    columns: list[NDArray[np.generic] | float] = []
    for channel, scores in candidates.scores.items():
        rank = candidates.ranks[channel]
        centred = scores - scores.mean() if len(scores) else scores
        spread = max(float(scores.std()), 1e-9) if len(scores) else 1.0
        reciprocal = np.where(rank > 0, 1.0 / (_RANK_CONSTANT + rank), 0.0)
        columns += [scores, scores - scores.max(initial=-np.inf), centred / spread, reciprocal]
    columns += [candidates.fused, sum((rank > 0).astype(np.float32) for rank in candidates.ranks.values())]
    is_number = np.array([any(map(str.isdigit, term)) for term in query.terms], dtype=np.bool_)
    columns += [float(len(query.terms)), float(is_number.sum()), float(query.num_corrected), float(query.num_literal)]
    columns += _of_titles(query, is_number, titles)
    table = np.empty((len(candidates.rows), len(columns)), dtype=np.float32)
    for place, column in enumerate(columns):
        table[:, place] = column
    return table


def _of_titles(query: QueryFacts, is_number: Mask, titles: Codes) -> list[NDArray[np.generic] | float]:
    """Return how titles (C, L) match a query, as columns (C,) in the order of `_OF_TITLE`.

    They are: the share of the query's idf found in the title; the share of the title found in the query; the share of
    the query's numbers found; whether its last word that is neither a number nor a unit is found, as it often names the
    thing; the share of its pairs of neighbors that are neighbors in the title; and where in the title (0 to 1) the
    first of its terms is. A share of nothing counts as 1, and no match as a match at the end.
    """
    lengths = (titles != 0).sum(axis=1)
    if not query.terms:
        return [lengths, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    matches = term_codes(query.terms)[:, None, None] == titles  # (T, C, L)
    found, here = matches.any(axis=2), matches.any(axis=0)  # (T, C), (C, L)
    pairs = (matches[:-1, :, :-1] & matches[1:, :, 1:]).any(axis=2)
    words = [place for place, term in enumerate(query.terms) if term not in UNITS and not any(map(str.isdigit, term))]
    share = 1.0 / np.maximum(lengths, 1)
    return [
        lengths,
        (query.idf / max(query.idf.sum(), 1e-9)) @ found,
        here.sum(axis=1) * share,
        found[is_number].mean(axis=0) if is_number.any() else 1.0,
        found[words[-1]] if words else 1.0,
        pairs.mean(axis=0) if len(query.terms) > 1 else 1.0,
        np.where(here.any(axis=1), here.argmax(axis=1) * share, 1.0),
    ]
