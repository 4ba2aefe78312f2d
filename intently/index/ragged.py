"""Rows of different lengths in two arrays: one structure for what every ad has some of.

Shape letters: N rows (ads), T values of all of them, C rows asked about.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from intently.arrays import IntArray, Mask


@dataclass(frozen=True, eq=False)
class Ragged:
    """N rows of values: those of row n are `values[offsets[n]:offsets[n + 1]]`, as in a CSR matrix."""

    offsets: IntArray  # (N + 1,), from 0 to T
    values: NDArray[Any]  # (T, …)

    @property
    def num_ads(self) -> int:
        """Number of rows N, one an ad."""
        return len(self.offsets) - 1

    def places(self, rows: IntArray, longest: int | None = None) -> tuple[IntArray, IntArray]:
        """Return where in `values` those of some rows lie, row after row, and how many each row has (C,).

        With `longest`, only the first so many of each row.
        """
        first = self.offsets[rows]
        lengths = self.offsets[rows + 1] - first
        if longest is not None:
            lengths = np.minimum(lengths, longest)
        starts = np.cumsum(lengths) - lengths
        return np.repeat(first - starts, lengths) + np.arange(int(lengths.sum())), lengths

    def concatenated(self, other: Self) -> Self:
        """Return these rows and, after them, those of `other`. Cost: one copy."""
        offsets = np.concatenate((self.offsets, self.offsets[-1] + other.offsets[1:]))
        return type(self)(offsets, np.concatenate((self.values, other.values)))

    def kept(self, mask: Mask) -> Self:
        """Return the rows where `mask (N,)` holds, in their order."""
        lengths = np.diff(self.offsets)
        offsets = np.concatenate((self.offsets[:1], np.cumsum(lengths[mask])))
        return type(self)(offsets, np.asarray(self.values)[np.repeat(mask, lengths)])
