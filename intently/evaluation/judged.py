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
    ads, retrieved or not, at least 0. An ad is relevant when it was judged and has at least `min_relevance`. `scores`
    (R,) do not grow; without them every ad is told apart from the next.
    """

    ranked: npt.NDArray[np.float64]
    grades: npt.NDArray[np.float64]
    min_relevance: float
    scores: npt.NDArray[np.float64] | None = None

    @classmethod
    def build(
        cls,
        ad_ids: Sequence[str],
        grades: Mapping[str, float],
        *,
        min_relevance: float,
        scores: Sequence[float] | None = None,
    ) -> JudgedRanking:
        """Build it from one query's ranked `ad_ids`, best first, and its judged ads with their grades."""
        ranked = np.array([grades.get(ad_id, np.nan) for ad_id in ad_ids], dtype=np.float64)
        own_scores = None if scores is None else np.array(scores, dtype=np.float64)
        return cls(ranked, np.array(list(grades.values()), dtype=np.float64), min_relevance, own_scores)

    def condensed(self) -> JudgedRanking:
        """Return the ranking of the judged ads alone: unjudged ones are removed, and the others move up."""
        is_judged = ~np.isnan(self.ranked)
        scores = None if self.scores is None else self.scores[is_judged]
        return JudgedRanking(self.ranked[is_judged], self.grades, self.min_relevance, scores)

    def among(self, ranked: npt.NDArray[np.bool_], grades: npt.NDArray[np.bool_]) -> JudgedRanking:
        """Return the ranking as if only some ads had been judged: those chosen at `ranked` (R,) and `grades` (J,)."""
        kept = np.where(ranked, self.ranked, np.nan)
        return JudgedRanking(kept, self.grades[grades], self.min_relevance, self.scores)

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """The place of the ad at each rank (R,), from 0: ads of the same score are in the same one."""
        places = np.arange(len(self.ranked))
        if self.scores is None or not len(places):
            return places
        new = np.append(True, self.scores[1:] != self.scores[:-1])
        shared: npt.NDArray[np.int64] = np.maximum.accumulate(np.where(new, places, 0))
        return shared

    @property
    def hits(self) -> npt.NDArray[np.bool_]:
        """Whether the ad at each rank (R,) is relevant."""
        hits: npt.NDArray[np.bool_] = self.ranked >= self.min_relevance  # never so for NaN
        return hits

    @property
    def num_relevant(self) -> int:
        """The number of relevant ads, retrieved or not."""
        return int(np.count_nonzero(self.grades >= self.min_relevance))
