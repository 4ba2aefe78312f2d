"""Head, torso and tail: ads by how often they were clicked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog import Qrels
from intently.errors import SettingsError


class ClickGroup(IntEnum):
    """A kind of ad by its clicks."""

    HEAD = 0
    TORSO = 1
    TAIL = 2


@dataclass(frozen=True, slots=True, eq=False)
class ClickGroups:
    """The click group of each of A distinct ads: `groups` (A,) holds `ClickGroup` values.

    An ad with fewer than `tail_clicks` clicks is tail, one with at least `head_clicks` is head, the others are torso.
    An ad that is not among them was never clicked and is tail.
    """

    ad_ids: pa.StringArray
    groups: npt.NDArray[np.int8]
    head_clicks: float
    tail_clicks: float

    @classmethod
    def build(
        cls, clicks: Qrels, ad_ids: pa.StringArray, *, head_clicks: float = 50, tail_clicks: float = 5
    ) -> ClickGroups:
        """Group the ads of `ad_ids` and of `clicks`.

        Clicks of an ad are summed over queries; where `clicks` are judgements of relevance, every relevant pair (see
        `Qrels.positives`) is one click. Raises SettingsError unless 0 < tail_clicks ≤ head_clicks.
        """
        if not 0 < tail_clicks <= head_clicks:
            raise SettingsError(f"tail_clicks {tail_clicks} and head_clicks {head_clicks}: 0 < tail ≤ head is needed")
        distinct = pc.unique(pa.chunked_array([ad_ids, clicks.ad_ids]))
        counts = clicks.values if clicks.kind == "clicks" else clicks.positives().astype(np.float64)
        rows = pc.index_in(clicks.ad_ids, distinct).to_numpy(zero_copy_only=False)
        num_clicks = np.bincount(rows, weights=counts, minlength=len(distinct))
        groups = np.full(len(distinct), ClickGroup.TORSO, dtype=np.int8)
        groups[num_clicks < tail_clicks] = ClickGroup.TAIL
        groups[num_clicks >= head_clicks] = ClickGroup.HEAD
        return cls(distinct, groups, head_clicks, tail_clicks)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """The number of ads in each group (3,), in the order of `ClickGroup`."""
        return np.bincount(self.groups, minlength=len(ClickGroup))

    def lookup(self, ad_ids: pa.StringArray) -> npt.NDArray[np.int8]:
        """Return the group of each of `ad_ids` (M,)."""
        rows = pc.fill_null(pc.index_in(ad_ids, self.ad_ids), -1).to_numpy(zero_copy_only=False)
        groups: npt.NDArray[np.int8] = np.append(self.groups, np.int8(ClickGroup.TAIL))[rows]
        return groups

    def weights(self, ad_ids: pa.StringArray) -> npt.NDArray[np.float64]:
        """Return one over the size of the group of each of `ad_ids` (M,)."""
        weights: npt.NDArray[np.float64] = 1 / np.maximum(self.sizes, 1)[self.lookup(ad_ids)]
        return weights
