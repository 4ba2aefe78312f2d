"""The share of the first k ads that are of some kind, such as judged."""

import numpy as np
import numpy.typing as npt

from intently.evaluation.judged import JudgedRanking


def top_share(judged: JudgedRanking, chosen: npt.NDArray[np.bool_], k: int = 10) -> float:
    """Return the share of chosen ads among the first k that were returned, in [0, 1]; 0 for an empty ranking.

    `chosen` (R,) says so of the ad at each rank. NaN for a query without relevant ads, so that the share is one of the
    same rankings that recall is measured on.
    """
    if not judged.num_relevant:
        return float("nan")
    top = chosen[:k]
    return float(top.mean()) if len(top) else 0.0


def judged_share(judged: JudgedRanking, k: int = 10) -> float:
    """Return judged@k: the share of judged ads, of whatever grade, among the first k that were returned."""
    return top_share(judged, ~np.isnan(judged.ranked), k)
