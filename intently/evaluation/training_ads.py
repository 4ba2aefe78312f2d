"""Which ads a system may have learned from: those that were judged, or clicked, before the test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog import Qrels


@dataclass(frozen=True, slots=True, eq=False)
class TrainingAds:
    """The distinct ads of training judgements, for whatever query, and those with a positive pair among them."""

    judged: pa.StringArray
    positive: pa.StringArray

    @classmethod
    def build(cls, train: Qrels) -> TrainingAds:
        """Take them from `train`; a pair is positive from its own `default_min_relevance()` on."""
        return cls(train.ad_ids.unique(), train.ad_ids.filter(pa.array(train.positives())).unique())

    def are_judged(self, ad_ids: pa.StringArray) -> npt.NDArray[np.bool_]:
        """Return which of `ad_ids` (M,) have a training judgement."""
        return _are_in(ad_ids, self.judged)

    def are_positive(self, ad_ids: pa.StringArray) -> npt.NDArray[np.bool_]:
        """Return which of `ad_ids` (M,) have a positive training judgement."""
        return _are_in(ad_ids, self.positive)


def _are_in(ad_ids: pa.StringArray, known: pa.StringArray) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = pc.is_in(ad_ids, known).to_numpy(zero_copy_only=False)
    return mask
