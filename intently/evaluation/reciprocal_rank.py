"""Reciprocal rank, whose mean over queries is MRR."""

import numpy as np

from intently.evaluation.judged import JudgedRanking


def reciprocal_rank(judged: JudgedRanking) -> float:
    """Return 1 / the rank of the first relevant ad, 0 if none is retrieved; NaN for a query without relevant ads."""
    if not judged.num_relevant:
        return float("nan")
    hits = judged.hits
    return 1 / (1 + int(np.argmax(hits))) if hits.any() else 0.0
