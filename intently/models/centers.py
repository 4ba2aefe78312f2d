"""The mean embeddings of queries and of passages, which a student that nothing was trained for subtracts.

The embeddings of a pretrained encoder share much that says nothing: a direction in which all texts of a language, or of
a catalog, lie together. What is left without it tells texts apart better (Mu & Viswanath, "All-but-the-Top", ICLR 2018,
take the mean away and some more directions). Queries and passages have means of their own, as an encoder may read them
with different prefixes. Training removes the shared part itself.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from intently.arrays import Float32Array
from intently.errors import ArtifactError
from intently.files import atomic_write
from intently.models.tokenizer import TextKind

_LEAST = np.float32(1e-12)


@dataclass(frozen=True, eq=False)
class Centers:
    """The mean embeddings `queries (D,)` and `passages (D,)`."""

    queries: Float32Array
    passages: Float32Array

    def subtract(self, embeddings: Float32Array, kind: TextKind) -> Float32Array:
        """Return unit embeddings (B, D) of a kind without what all of that kind share."""
        left = embeddings - (self.queries if kind is TextKind.QUERY else self.passages)
        unit: Float32Array = left / np.maximum(np.linalg.norm(left, axis=1, keepdims=True), _LEAST)
        return unit

    def save(self, path: Path) -> None:
        """Write the two means (2, D) as a `.npy` file."""
        with atomic_write(path) as file:
            np.save(file, np.stack((self.queries, self.passages)))

    @classmethod
    def load(cls, path: Path, dimension: int) -> "Centers":
        """Read what `save` wrote; raise `ArtifactError` unless it holds two finite means of `dimension` numbers."""
        try:
            means = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ArtifactError(f"{path} does not hold mean embeddings ({error}); build the engine again") from error
        if means.shape != (2, dimension) or means.dtype != np.float32 or not np.isfinite(means).all():
            raise ArtifactError(f"{path} does not hold two means of {dimension} numbers; build the engine again")
        return cls(*means)
