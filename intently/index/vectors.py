"""The dense path's index: exact inner products over unit vectors."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intently.errors import ArtifactError
from intently.index.postings import FloatArray, Mask

_MIN_ROOM = 1024  # rows that an index which grows has room for at first


@dataclass
class _Room:
    """A buffer (R, D) of which the first `num_used` rows are taken, by the newest of the indexes that share it."""

    buffer: NDArray[np.float32]
    num_used: int


@dataclass(frozen=True)
class VectorIndex:
    """`embeddings (N, D)` of unit length, so that an inner product is a cosine; memory-mapped once loaded."""

    embeddings: NDArray[np.float32]
    _room: _Room | None = field(default=None, repr=False, compare=False)

    def scores(self, embedding: FloatArray) -> FloatArray:
        """Return the cosine (N,) of every ad with a query embedding (D,)."""
        return self.embeddings @ embedding

    def joined(self, other: "VectorIndex") -> "VectorIndex":
        """Return an index of these vectors and, after them, those of `other`.

        The newest of a line of indexes grows into spare room, so that on average only `other` is copied; this one and
        those before it stay as they are. One caller at a time.
        """
        used, needed = len(self.embeddings), len(self.embeddings) + len(other.embeddings)
        room = self._room
        if room is None or room.num_used != used or needed > len(room.buffer):
            buffer = np.empty((max(2 * needed, _MIN_ROOM), self.embeddings.shape[1]), dtype=np.float32)
            buffer[:used] = self.embeddings
            room = _Room(buffer, used)
        room.buffer[used:needed] = other.embeddings
        room.num_used = needed
        return VectorIndex(room.buffer[:needed], room)

    def kept(self, mask: Mask) -> "VectorIndex":
        """Return an index of the vectors where `mask (N,)` holds, in their order."""
        return VectorIndex(np.asarray(self.embeddings)[mask])

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
