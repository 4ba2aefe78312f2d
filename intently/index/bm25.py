"""BM25's formula, and what it must know of a catalog.

Robertson & Zaragoza (2009), with idf = ln(1 + (N - n + ½) / (n + ½)) for a term that n of N ads contain.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float64Array


@dataclass(frozen=True)
class Statistics:
    """What the scores of all ads depend on: taken when an index is built, and frozen until it is built again."""

    num_ads: int
    mean_length: float  # terms an ad
    num_with: Mapping[str, int]  # ads that contain a term; a term that is not there is in none

    def idf(self, terms: list[str]) -> Float64Array:
        """Return each term's inverse document frequency."""
        num_with = np.array([self.num_with.get(term, 0) for term in terms], dtype=np.float64)
        return np.log1p((self.num_ads - num_with + 0.5) / (num_with + 0.5))

    def saturated(self, frequency: NDArray[np.int64], length: NDArray[np.int64], k1: float, b: float) -> Float64Array:
        """Return what a term that occurs `frequency` times in an ad of `length` terms counts, before its idf."""
        relative = length / max(self.mean_length, 1e-9)
        saturated: Float64Array = frequency * (k1 + 1) / (frequency + k1 * (1 - b + b * relative))
        return saturated
