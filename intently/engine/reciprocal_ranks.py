"""Reciprocal rank fusion: one ranking from several, without comparing their scores."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from intently.arrays import IntArray


def reciprocal_rank_fusion(
    rankings: Sequence[IntArray], weights: Sequence[float], constant: float
) -> tuple[IntArray, NDArray[np.float64]]:
    """Return rows and scores, best first: Σ weight / (constant + rank) over the rankings a row is in, rank from 1.

    Rows within one ranking are distinct. Ties are ordered by row. Source: Cormack, Clarke & Büttcher (SIGIR 2009).
    """
    rows = np.concatenate([np.empty(0, dtype=np.int64), *rankings])
    shares = [
        weight / (constant + 1 + np.arange(len(ranking))) for ranking, weight in zip(rankings, weights, strict=True)
    ]
    distinct, inverse = np.unique(rows, return_inverse=True)
    scores = np.zeros(len(distinct))
    np.add.at(scores, inverse, np.concatenate([np.empty(0), *shares]))
    scores = scores.round(12)  # equal sums of unequal fractions are ties, whatever their last bits say
    order = np.lexsort((distinct, -scores))
    return distinct[order], scores[order]
