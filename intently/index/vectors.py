"""The dense channel's index: exact inner products over unit vectors, behind a coarse stage if there are many of them.

query embedding → coarse engine → candidates, at most 2% of the ads → compared in full precision → best k

Shape letters: N ads, D dimensions, C candidates.
"""

from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float32Array, IntArray, Mask
from intently.errors import ArtifactError
from intently.files import atomic_write
from intently.index.coarse import CoarseEngine, CoarseSettings, Plan, import_faiss
from intently.index.coarse_stage import CoarseStage
from intently.index.parallel import in_parallel
from intently.index.postings import top_rows
from intently.types import Progress

_MIN_ROOM = 1024  # rows that an index which grows has room for at first
_ROWS_OF_A_THREAD = 1_500  # comparing fewer takes no longer than waking a second thread


@dataclass
class _Room:
    """A buffer (R, D) of which the first `num_used` rows are taken, by the newest of the indexes that share it."""

    buffer: NDArray[np.float32]
    num_used: int


@dataclass(frozen=True)
class VectorIndex:
    """`embeddings (N, D)` of unit length, so that an inner product is a cosine; memory-mapped once loaded.

    Without `settings` there is no coarse stage, however many ads there are; with them there is one if they say so.
    """

    embeddings: NDArray[np.float32]
    settings: CoarseSettings | None = None
    _room: _Room | None = field(default=None, repr=False, compare=False)
    _stage: CoarseStage | None = field(default=None, repr=False, compare=False)

    @classmethod
    def build(
        cls,
        embeddings: NDArray[np.float32],
        settings: CoarseSettings | None = None,
        progress: Progress | None = None,
    ) -> "VectorIndex":
        """Return an index with the coarse stage that `settings` (left out: the default ones) choose, built."""
        settings, embeddings = settings or CoarseSettings(), np.ascontiguousarray(embeddings)
        return cls(embeddings, settings, _stage=CoarseStage.build(embeddings, settings, progress))

    @cached_property
    def stage(self) -> CoarseStage | None:
        """The coarse stage, built when first asked for; None without settings."""
        if self._stage or self.settings is None:
            return self._stage
        return CoarseStage.build(self.embeddings, self.settings)

    def plan(self, k: int, num_eligible: int) -> Plan:
        """Return how a query for the best `k` of `num_eligible` ads is answered: which engine, how many candidates."""
        return self.stage.plan(k, num_eligible) if self.stage else Plan(CoarseEngine.EXACT, num_eligible)

    def search(
        self, embedding: Float32Array, k: int, eligible: Mask | None = None, num_threads: int = 1
    ) -> tuple[IntArray, Float32Array]:
        """Return the eligible rows nearest to a query embedding (D,), at most `k`, best first, and their cosines.

        `eligible (N,)` None admits all ads. Equals are ordered by row. Both stages of a large catalog use up to
        `num_threads` threads, which changes nothing else. Measured in docs/two-stage.md.
        """
        num_ads = len(self.embeddings)
        if eligible is not None and eligible.shape != (num_ads,):
            raise ValueError(f"the mask is of shape {eligible.shape}, not ({num_ads},)")
        num_eligible = num_ads if eligible is None else int(np.count_nonzero(eligible))
        if num_eligible == num_ads:
            eligible = None
        if self.stage is None or not self.stage.engines:
            scores = self.scores(embedding)
            rows = top_rows(scores, k, eligible, above=-np.inf)
            return rows, scores[rows]
        plan = self.stage.plan(k, num_eligible)
        candidates = self.stage.candidates(embedding, k, eligible, plan, num_threads)
        scores = self.scores_of(embedding, candidates, num_threads)
        best = top_rows(scores, k)  # candidates are in order of row, so equals come out in it
        return candidates[best], scores[best]

    def scores(self, embedding: Float32Array) -> Float32Array:
        """Return the cosine (N,) of every ad with a query embedding (D,): the slow way."""
        return np.asarray(self.embeddings @ embedding)

    def scores_of(self, embedding: Float32Array, ad_rows: IntArray, num_threads: int = 1) -> Float32Array:
        """Return the cosines (C,) of some rows with a query embedding (D,); rows in order are read the fastest.

        Many rows are compared by up to `num_threads` threads.
        """
        if self.stage is None or not self.stage.engines:
            return np.asarray(self.embeddings[ad_rows] @ embedding)
        # faiss reads the rows where they lie, four times as fast as gathering them first. It knows no bounds.
        num_ads, dimension = self.embeddings.shape
        if embedding.shape != (dimension,):
            raise ValueError(f"the embedding is of shape {embedding.shape}, not ({dimension},)")
        rows = np.ascontiguousarray(ad_rows, dtype=np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < num_ads:
            raise IndexError(f"rows from {rows.min()} to {rows.max()} of {num_ads} ads")
        query, scores = np.ascontiguousarray(embedding, dtype=np.float32), np.empty(len(rows), dtype=np.float32)

        def compare(start: int) -> None:
            faiss, part = import_faiss(), slice(start, start + share)
            pointers = [faiss.swig_ptr(array) for array in (scores[part], query, self.embeddings, rows[part])]
            faiss.fvec_inner_products_by_idx(*pointers, dimension, 1, len(rows[part]))

        share = max(_ROWS_OF_A_THREAD, -(-len(rows) // num_threads))
        in_parallel([partial(compare, start) for start in range(0, len(rows), share)], num_threads)
        return scores

    def concatenated(self, other: "VectorIndex") -> "VectorIndex":
        """Return an index of these vectors and, after them, those of `other`.

        The newest of a line of indexes grows into spare room, so that on average only `other` is copied; this one and
        those before it stay as they are. One caller at a time. A coarse stage is built anew when first asked for.
        """
        used, needed = len(self.embeddings), len(self.embeddings) + len(other.embeddings)
        room = self._room
        if room is None or room.num_used != used or needed > len(room.buffer):
            buffer = np.empty((max(2 * needed, _MIN_ROOM), self.embeddings.shape[1]), dtype=np.float32)
            buffer[:used] = self.embeddings
            room = _Room(buffer, used)
        room.buffer[used:needed] = other.embeddings
        room.num_used = needed
        return VectorIndex(room.buffer[:needed], self.settings, room)

    def kept(self, mask: Mask) -> "VectorIndex":
        """Return an index of the vectors where `mask (N,)` holds, in their order; its coarse stage is built anew."""
        return VectorIndex(np.asarray(self.embeddings)[mask], self.settings)

    def save(self, path: Path) -> None:
        """Write one `.npy` file and, if there are settings, the coarse stage next to it, as `.coarse.npz`."""
        with atomic_write(path) as file:
            np.save(file, self.embeddings)
        coarse = path.with_suffix(".coarse.npz")
        coarse.unlink(missing_ok=True)
        if self.stage:
            self.stage.save(coarse)

    @classmethod
    def load(cls, path: Path, *, coarse: bool | None = None) -> "VectorIndex":
        """Map what `save` wrote; raise `ArtifactError` naming the file if it is not that.

        `coarse` says whether the file of a coarse stage belongs to it; None: if it is there.
        """
        try:
            embeddings = np.lib.format.open_memmap(path, mode="r")
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{path} does not hold vectors ({error}); build the engine again") from error
        if embeddings.ndim != 2 or embeddings.dtype != np.float32 or not embeddings.flags.c_contiguous:
            raise ArtifactError(
                f"{path} holds {embeddings.dtype} {embeddings.shape}, not float32 (N, D); build the engine again"
            )
        beside = path.with_suffix(".coarse.npz")
        if not (beside.exists() if coarse is None else coarse):  # an index without settings
            return cls(embeddings)
        stage = CoarseStage.load(beside, embeddings.shape)
        return cls(embeddings, stage.settings, _stage=stage)
