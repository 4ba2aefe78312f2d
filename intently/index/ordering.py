"""Putting rows in order of score, the same on every machine."""

import numpy as np

from intently.arrays import Float32Array, IntArray

_TIE = 2e-6  # of the highest score: what rounding changes, from one processor or batch to the next


def ranked(rows: IntArray, scores: Float32Array, k: int | None = None) -> tuple[IntArray, Float32Array]:
    """Return the best `k` rows (all by default) with their scores, best first.

    Scores that differ by no more than rounding does are equal, and equals are ordered by row. Of a chain of such
    scores every row gets the highest, so that scores never rise along a ranking.
    """
    if not len(rows):
        return rows, scores
    order = np.argsort(-scores, kind="stable")
    rows, scores = rows[order], scores[order]
    tie = _TIE * max(1.0, abs(float(scores[0])))
    begins = np.concatenate(([True], scores[:-1] - scores[1:] > tie))
    group = np.cumsum(begins) - 1
    order = np.lexsort((rows, group))[:k]
    return rows[order], scores[begins][group][order]
