"""One query's ranking next to what was judged: all that a metric looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class JudgedRanking:
    """The grades along one query's ranking, and all the grades of the query.

    `ranked` (R,) is the grade of the ad at each rank, NaN where nobody judged it; `grades` (J,) are those of all judged
    ads, retrieved or not, at least 0. An ad is relevant when it was judged and has at least `min_relevance`.
    """

    ranked: npt.NDArray[np.float64]
    grades: npt.NDArray[np.float64]
    min_relevance: float

    @classmethod
    def build(cls, ad_ids: Sequence[str], grades: Mapping[str, float], *, min_relevance: float) -> JudgedRanking:
        """Build it from one query's ranked `ad_ids`, best first, and its judged ads with their grades."""
        ranked = np.array([grades.get(ad_id, np.nan) for ad_id in ad_ids], dtype=np.float64)
        return cls(ranked, np.array(list(grades.values()), dtype=np.float64), min_relevance)

    @property
    def hits(self) -> npt.NDArray[np.bool_]:
        """Whether the ad at each rank (R,) is relevant."""
        hits: npt.NDArray[np.bool_] = self.ranked >= self.min_relevance  # never so for NaN
        return hits

    @property
    def num_relevant(self) -> int:
        """The number of relevant ads, retrieved or not."""
        return int(np.count_nonzero(self.grades >= self.min_relevance))
