"""Postings: from a key (a term, an intention) to ads, with weights; one structure for all sparse channels."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float32Array, IntArray, Mask
from intently.errors import ArtifactError
from intently.files import atomic_write, read_arrays


@dataclass(frozen=True)
class Postings:
    """K keys over N ads as CSR: key k leads to `ad_rows[offsets[k]:offsets[k + 1]]`, each ad at most once."""

    offsets: IntArray  # (K + 1,)
    ad_rows: NDArray[np.int32]  # (P,)
    weights: Float32Array  # (P,)
    num_ads: int

    @classmethod
    def build(
        cls, keys: IntArray, ad_rows: IntArray, weights: NDArray[np.float64], num_keys: int, num_ads: int
    ) -> "Postings":
        """Build from distinct (key, ad_row) entries with weights, in any order."""
        order = np.lexsort((ad_rows, keys))
        offsets = np.concatenate(([0], np.cumsum(np.bincount(keys, minlength=num_keys))))
        return cls(offsets, ad_rows[order].astype(np.int32), weights[order].astype(np.float32), num_ads)

    @property
    def num_keys(self) -> int:
        """Number of keys K."""
        return len(self.offsets) - 1

    def of(self, key: int) -> tuple[NDArray[np.int32], Float32Array]:
        """Return the ads of one key and their weights."""
        part = slice(self.offsets[key], self.offsets[key + 1])
        return self.ad_rows[part], self.weights[part]

    def of_ad(self, ad_row: int) -> tuple[IntArray, Float32Array]:
        """Return the keys that lead to one ad, ascending, and their weights. Cost: one pass over all entries."""
        at = np.flatnonzero(self.ad_rows == ad_row)
        return np.searchsorted(self.offsets, at, side="right") - 1, self.weights[at]

    def counts(self) -> IntArray:
        """Return the number of ads (K,) of every key."""
        return np.diff(self.offsets)

    def scores(self, keys: IntArray, key_weights: NDArray[np.floating]) -> Float32Array:
        """Return Σ key weight · posting weight for every ad (N,); cost grows with the postings touched and N."""
        total = np.zeros(self.num_ads, dtype=np.float32)
        for key, weight in zip(keys.tolist(), key_weights.tolist(), strict=True):
            rows, weights = self.of(key)
            total[rows] += weights * np.float32(weight)  # an ad occurs once per key, so this adds every entry
        return total

    def contributions(self, keys: IntArray, key_weights: NDArray[np.floating], ad_row: int) -> list[tuple[int, float]]:
        """Return (position in `keys`, share of the ad's score) of every key that reaches the ad, largest first."""
        found = []
        for position, (key, weight) in enumerate(zip(keys.tolist(), key_weights.tolist(), strict=True)):
            rows, weights = self.of(key)
            at = int(np.searchsorted(rows, ad_row))
            if at < len(rows) and rows[at] == ad_row:
                found.append((position, float(weights[at]) * weight))
        return sorted(found, key=lambda entry: (-entry[1], entry[0]))

    def concatenated(self, other: "Postings", keys: IntArray | None = None, num_keys: int | None = None) -> "Postings":
        """Return these postings with the ads of `other` after them, numbered on.

        Key k of `other` is our `keys[k]`, of `num_keys` in all; left out, both have the same keys. Cost: one copy.
        """
        keys = np.arange(other.num_keys) if keys is None else keys
        num_keys = self.num_keys if num_keys is None else num_keys
        offsets = np.pad(self.offsets, (0, num_keys - self.num_keys), mode="edge")
        owners = np.repeat(keys, other.counts())
        order = np.argsort(owners, kind="stable")
        at = offsets[owners[order] + 1]  # the new rows are above all others, so they go to the end of their key
        return Postings(
            offsets + np.concatenate(([0], np.cumsum(np.bincount(owners, minlength=num_keys)))),
            np.insert(self.ad_rows, at, other.ad_rows[order] + np.int32(self.num_ads)),
            np.insert(self.weights, at, other.weights[order]),
            self.num_ads + other.num_ads,
        )

    def kept(self, mask: Mask) -> "Postings":
        """Return the postings of the ads where `mask (N,)` holds, numbered anew in their order."""
        stays = mask[self.ad_rows]
        offsets = np.concatenate(([0], np.cumsum(stays)))[self.offsets]
        rows = (np.cumsum(mask) - 1).astype(np.int32)[self.ad_rows[stays]]
        return Postings(offsets, rows, self.weights[stays], int(mask.sum()))

    def save(self, path: Path) -> None:
        """Write to one `.npz` file."""
        with atomic_write(path) as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "Postings":
        """Read what `save` wrote; raise `ArtifactError` naming the file if it is not that."""
        arrays = read_arrays(path, [field.name for field in fields(cls)], "postings")
        offsets, ad_rows, weights, num_ads = arrays.values()
        shapes_fit = offsets.ndim == 1 and offsets.size and num_ads.ndim == 0
        if not shapes_fit or not ad_rows.shape == weights.shape == (offsets[-1],):
            raise ArtifactError(f"{path} does not hold postings (its arrays do not fit); build the engine again")
        return cls(offsets, ad_rows, weights, int(num_ads))


def top_rows(scores: Float32Array, k: int, eligible: Mask | None = None, above: float = -np.inf) -> IntArray:
    """Return the rows of the `k` highest scores above `above` among the eligible, best first, ties by row."""
    if eligible is not None:
        scores = np.where(eligible, scores, -np.inf)
    k = min(k, len(scores))
    if k == 0:
        return np.empty(0, dtype=np.int64)
    # Ties at the cut are all kept until the sort, so that the lowest rows win there too.
    cut = np.partition(scores, len(scores) - k)[len(scores) - k]
    rows = np.flatnonzero((scores >= cut) & (scores > above))
    return rows[np.lexsort((rows, -scores[rows]))[:k]]
