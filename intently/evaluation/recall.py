"""Recall@K and HR@K: how many of the relevant ads are found."""

from intently.evaluation.judged import JudgedRanking


def recall(judged: JudgedRanking, k: int = 10) -> float:
    """Return |relevant in the top k| / |relevant|, in [0, 1]; NaN for a query without relevant ads."""
    num_relevant = judged.num_relevant
    return int(judged.hits[:k].sum()) / num_relevant if num_relevant else float("nan")


def hit_rate(judged: JudgedRanking, k: int = 500) -> float:
    """Return HR@k as RARE defines it: the formula of `recall`, by custom with a large k."""
    return recall(judged, k)
