"""A vector for every token of every ad: what late interaction compares the tokens of a query with.

A token's vector is of unit length and kept in int8, a byte a dimension. Scores are computed for some ads only: those
that other paths or a first stage chose.

Shape letters: N ads, T tokens of all of them, S tokens of a query, P dimensions of a token's vector, C ads scored.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float32Array, IntArray
from intently.errors import ArtifactError
from intently.files import atomic_write
from intently.index.parallel import in_parallel
from intently.index.ragged import Ragged

_CODES, _OFFSETS = "codes.npy", "offsets.npy"
_LEVELS = 127  # of int8, for 1; half a level is an error of 0.004, where a cosine of 64 dimensions errs by 0.002
_BLOCK = 256  # ads compared at once, so that their vectors stay in the cache


class TokenVectors(Ragged):
    """The vectors of N ads' tokens, at least one an ad, as codes (T, P); memory-mapped once loaded."""

    values: NDArray[np.int8]

    @classmethod
    def build(cls, tokens: Sequence[NDArray[np.int8]]) -> "TokenVectors":
        """Return the codes, as `codes_of` makes them, of each ad (T_n, P)."""
        offsets = np.cumsum([0, *map(len, tokens)], dtype=np.int64)
        return cls(offsets, np.concatenate(tokens))

    @staticmethod
    def codes_of(tokens: Float32Array) -> NDArray[np.int8]:
        """Return the codes of unit vectors (…, P)."""
        codes: NDArray[np.int8] = np.rint(tokens * np.float32(_LEVELS)).astype(np.int8)
        return codes

    def scores_of(self, tokens: Float32Array, ad_rows: IntArray, num_threads: int = 1) -> Float32Array:
        """Return the scores (C,) of some ads for a query's tokens (S, P), as `encoder.late_interaction` defines them.

        Up to `num_threads` threads share the ads. Cost: 2·S·P operations and P bytes a token of these ads.
        """
        scores = np.empty(len(ad_rows), dtype=np.float32)
        asked = tokens.astype(np.float32) / np.float32(_LEVELS * max(len(tokens), 1))

        def compare(start: int) -> None:
            rows = ad_rows[start : start + _BLOCK]
            places, lengths = self.places(rows)
            starts = np.cumsum(lengths) - lengths
            cosines = asked @ self.values.take(places, axis=0).astype(np.float32).T  # (S, tokens of the block)
            scores[start : start + _BLOCK] = np.maximum.reduceat(cosines, starts, axis=1).sum(axis=0)

        in_parallel([partial(compare, start) for start in range(0, len(ad_rows), _BLOCK)], num_threads)
        return scores

    def save(self, directory: Path) -> None:
        """Write `codes.npy` and `offsets.npy` into `directory`."""
        directory.mkdir(exist_ok=True)
        for name, array in ((_CODES, self.values), (_OFFSETS, self.offsets)):
            with atomic_write(directory / name) as file:
                np.save(file, array)

    @classmethod
    def load(cls, directory: Path) -> "TokenVectors":
        """Map what `save` wrote; raise `ArtifactError` naming the directory if it is not that."""
        try:
            codes = np.asarray(np.lib.format.open_memmap(directory / _CODES, mode="r"))
            offsets = np.array(np.lib.format.open_memmap(directory / _OFFSETS, mode="r"))
        except (OSError, ValueError) as error:
            raise ArtifactError(
                f"{directory} does not hold vectors of tokens ({error}); build the engine again"
            ) from error
        fits = codes.ndim == 2 and codes.dtype == np.int8 and offsets.ndim == 1 and offsets.dtype == np.int64
        if not fits or [*offsets[:1], *offsets[-1:]] != [0, len(codes)] or (np.diff(offsets) < 1).any():
            raise ArtifactError(
                f"{directory} does not hold vectors of tokens (arrays do not fit); build the engine again"
            )
        return cls(offsets, codes)
