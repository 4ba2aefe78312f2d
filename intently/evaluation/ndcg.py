"""NDCG@K: graded gains, discounted by rank."""

import numpy as np
import numpy.typing as npt

from intently.evaluation.judged import JudgedRanking


def ndcg(judged: JudgedRanking, k: int = 10) -> float:
    """Return DCG@k / ideal DCG@k, in [0, 1]; NaN for a query without relevant ads.

    DCG@k = Σ grade / log2(1 + rank) over ranks 1 … k, as in trec_eval: the gain is the grade itself, not 2^grade − 1,
    and an unjudged ad has none. The ideal ranking is that of all judged ads by grade. The threshold of relevance only
    decides which queries are left out. Where all grades are 0 there is nothing to gain and the result is 0.
    """
    if not judged.num_relevant:
        return float("nan")
    ideal = _dcg(np.sort(judged.grades)[::-1][:k])
    return _dcg(np.nan_to_num(judged.ranked[:k])) / ideal if ideal else 0.0


def condensed_ndcg(judged: JudgedRanking, k: int = 10) -> float:
    """Return NDCG@k of the judged ads alone, as if the unjudged ones had not been retrieved.

    So an ad that nobody judged is neither right nor wrong. Where few ads are judged, the first k of them may stand deep
    in the run: compare runs of the same depth. Source: condensed lists, Sakai, SIGIR 2007.
    """
    return ndcg(judged.condensed(), k)


def _dcg(gains: npt.NDArray[np.float64]) -> float:
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())
