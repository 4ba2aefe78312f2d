"""CWP@K: precision in which an ad of a rarely clicked kind counts for more."""

import numpy as np
import numpy.typing as npt

from intently.evaluation.judged import JudgedRanking


def click_weighted_precision(judged: JudgedRanking, weights: npt.NDArray[np.float64], k: int = 10) -> float:
    """Return Σ w·rel / Σ w over the top k, in [0, 1]; NaN for a query without relevant ads, 0 for an empty ranking.

    `weights` (R,) are those of the ads at each rank: one over the number of ads in the ad's click group, see
    `ClickGroups.weights`.
    """
    if not judged.num_relevant:
        return float("nan")
    top = weights[:k]
    return float(top[judged.hits[:k]].sum() / top.sum()) if len(top) else 0.0
