"""Judged pairs of queries and ads."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Kind = Literal["relevance", "clicks"]


@dataclass(frozen=True, slots=True, eq=False)
class Unclicked:
    """U pairs that were shown but never clicked, of queries that have a click for another ad."""

    query_rows: npt.NDArray[np.int64]
    ad_ids: pa.StringArray
    impressions: npt.NDArray[np.float64]  # how often each was shown, as far as the log tells


@dataclass(frozen=True, slots=True, eq=False)
class Qrels:
    """P judged pairs of Q queries, as columns, every pair once; pairs are in order of first appearance.

    `query_rows` (P,) are positions in `query_ids` (Q,), every one of which has a pair; `values` (P,) are finite and at
    least 0.
    """

    query_ids: tuple[str, ...]
    query_rows: npt.NDArray[np.int64]
    ad_ids: pa.StringArray
    values: npt.NDArray[np.float64]
    kind: Kind = "relevance"
    num_skipped: int = 0  # wrong rows of the file that were left out
    problems: tuple[str, ...] = ()  # of the first 20 of them
    num_unclicked: int = 0  # pairs of the file that were shown but never clicked, and are left out
    unclicked: Unclicked | None = None  # of a log: those of them that say what else was shown
    weights: npt.NDArray[np.float64] | None = None  # (P,) of a log: the clicks by position, if asked for
    notes: tuple[str, ...] = ()  # on what of a log was taken together or left out

    def __len__(self) -> int:
        return len(self.values)

    def default_min_relevance(self) -> float:
        """Return the value from which a pair counts as relevant by default.

        For relevance that is the upper third of the observed scale, min + 0.66 (max − min): 2.32 on a scale of 1 … 3,
        so that a mean grade of 2.33 counts; 1.32 on 0, 1, 2; 0.66 on 0, 1; and all pairs on a constant scale above
        0. Grade 0 is never relevant. For clicks it is the smallest number above 0.
        """
        above_0 = float(np.nextafter(0, 1))
        if self.kind == "clicks" or not len(self.values):
            return above_0
        low, high = float(self.values.min()), float(self.values.max())
        return max(low + 0.66 * (high - low), above_0)

    def positives(self, min_value: float | None = None) -> npt.NDArray[np.bool_]:
        """Return which pairs (P,) have at least `min_value`, or `default_min_relevance()` when it is None."""
        threshold = self.default_min_relevance() if min_value is None else min_value
        mask: npt.NDArray[np.bool_] = self.values >= threshold
        return mask


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Judgements(Qrels):
    """Judged pairs whose query texts are known: `queries` (Q,), in the order of `query_ids`."""

    queries: tuple[str, ...]
