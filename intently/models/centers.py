"""What the embeddings of all texts share, which a student takes away.

The embeddings of a pretrained encoder lie in a narrow cone: they share a mean, and differ most along a direction that
says what kind of text it is, such as its language. Neither says what a text is about. What is left without them tells
texts apart better (Mu & Viswanath, "All-but-the-Top", ICLR 2018). Queries and passages have means of their own, as an
encoder may read them with different prefixes, and the direction in common, so that a query in one language is as near
to an ad in another one as its meaning is. Training begins from there.
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
    """The mean embeddings `queries (D,)` and `passages (D,)`, and the `direction (D,)` in which most texts differ."""

    queries: Float32Array
    passages: Float32Array
    direction: Float32Array

    @classmethod
    def of(cls, queries: Float32Array, passages: Float32Array) -> "Centers":
        """Return what embeddings of queries (Q, D) and of passages (P, D) share. Cost: one SVD of (Q + P, D)."""
        means = queries.mean(axis=0), passages.mean(axis=0)
        spread = np.concatenate((queries - means[0], passages - means[1]))
        return cls(*means, np.linalg.svd(spread, full_matrices=False)[2][0])

    def mean(self, kind: TextKind) -> Float32Array:
        """Return the mean embedding (D,) of texts of a kind."""
        return self.queries if kind is TextKind.QUERY else self.passages

    def subtract(self, embeddings: Float32Array, kind: TextKind) -> Float32Array:
        """Return unit embeddings (B, D) of a kind without what all texts share."""
        left = embeddings - self.mean(kind)
        left -= np.outer(left @ self.direction, self.direction)
        unit: Float32Array = left / np.maximum(np.linalg.norm(left, axis=1, keepdims=True), _LEAST)
        return unit

    def save(self, path: Path) -> None:
        """Write the means and the direction (3, D) as a `.npy` file."""
        with atomic_write(path) as file:
            np.save(file, np.stack((self.queries, self.passages, self.direction)))

    @classmethod
    def load(cls, path: Path, dimension: int) -> "Centers":
        """Read what `save` wrote; raise `ArtifactError` unless it holds three finite rows of `dimension`."""
        try:
            rows = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ArtifactError(f"{path} does not hold mean embeddings ({error}); build the engine again") from error
        if rows.shape != (3, dimension) or rows.dtype != np.float32 or not np.isfinite(rows).all():
            raise ArtifactError(f"{path} does not hold three rows of {dimension} numbers; build the engine again")
        return cls(*rows)
