"""Average precision, whose mean over queries is MAP (RARE, equation 8)."""

import numpy as np

from intently.evaluation.judged import JudgedRanking


def average_precision(judged: JudgedRanking) -> float:
    """Return Σ (precision at the rank of each relevant ad retrieved) / |relevant|; NaN for a query without any.

    The whole ranking counts, however long it is, so compare runs of the same depth.
    """
    num_relevant = judged.num_relevant
    if not num_relevant:
        return float("nan")
    ranks = np.flatnonzero(judged.hits) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).sum()) / num_relevant
