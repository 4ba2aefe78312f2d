"""Reciprocal rank fusion: one ranking from several, without comparing their scores."""

from collections.abc import Callable, Sequence

import numpy as np

from intently.arrays import Float64Array, IntArray

Judge = Callable[[IntArray], Float64Array]
"""Tells of rows (C,) how good each is, whichever ranking it comes from."""


def reciprocal_rank_fusion(
    rankings: Sequence[IntArray],
    weights: Sequence[float],
    constant: float,
    judge: Judge | None = None,
    judge_weight: float = 0.0,
) -> tuple[IntArray, Float64Array]:
    """Return rows and scores, best first: Σ weight / (constant + rank) over the rankings a row is in, rank from 1.

    Rows within one ranking are distinct. A `judge` ranks all rows, those that it takes for equally good at the same
    place. Ties are ordered by row. Source: Cormack, Clarke & Büttcher (SIGIR 2009).
    """
    rows = np.concatenate([np.empty(0, dtype=np.int64), *rankings])
    shares = [
        weight / (constant + 1 + np.arange(len(ranking))) for ranking, weight in zip(rankings, weights, strict=True)
    ]
    distinct, inverse = np.unique(rows, return_inverse=True)
    scores = np.zeros(len(distinct))
    np.add.at(scores, inverse, np.concatenate([np.empty(0), *shares]))
    if judge is not None and judge_weight:
        scores += judge_weight / (constant + _places(judge(distinct)))
    scores = scores.round(12)  # equal sums of unequal fractions are ties, whatever their last bits say
    order = np.lexsort((distinct, -scores))
    return distinct[order], scores[order]


def _places(goodness: Float64Array) -> IntArray:
    """Return the place of each value (C,), 1 for the highest; equal ones, to four digits, share the better place.

    More digits would order ads that are alike by how a processor rounds.
    """
    _, group, sizes = np.unique(-goodness.round(4), return_inverse=True, return_counts=True)
    places: IntArray = (np.cumsum(sizes) - sizes + 1)[group]
    return places
