"""The dense path's index: exact inner products over unit vectors."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intently.errors import ArtifactError
from intently.index.postings import FloatArray


@dataclass(frozen=True)
class VectorIndex:
    """`embeddings (N, D)` of unit length, so that an inner product is a cosine; memory-mapped once loaded."""

    embeddings: NDArray[np.float32]

    def scores(self, embedding: FloatArray) -> FloatArray:
        """Return the cosine (N,) of every ad with a query embedding (D,)."""
        return self.embeddings @ embedding

    def save(self, path: Path) -> None:
        """Write to one `.npy` file."""
        with path.open("wb") as file:
            np.save(file, self.embeddings)

    @classmethod
    def load(cls, path: Path) -> "VectorIndex":
        """Map what `save` wrote; raise `ArtifactError` naming the file if it is not that."""
        try:
            embeddings = np.lib.format.open_memmap(path, mode="r")
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{path} does not hold vectors ({error}); build the engine again") from error
        if embeddings.ndim != 2 or embeddings.dtype != np.float32:
            raise ArtifactError(
                f"{path} holds {embeddings.dtype} {embeddings.shape}, not float32 (N, D); build the engine again"
            )
        return cls(embeddings)
