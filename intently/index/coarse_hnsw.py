"""The graph coarse engine: a walk from neighbour to neighbour towards the query (HNSW).

Hierarchical navigable small worlds: Malkov & Yashunin, PAMI 2020. Its cost hardly grows with the number of ads, but it
takes minutes to build and knows nothing of filters: what it finds is masked afterwards.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float32Array, IntArray, Mask
from intently.errors import ArtifactError
from intently.files import read_arrays
from intently.index.coarse import import_faiss
from intently.types import Progress

_NUM_NEIGHBOURS = 16
_BUILD_WIDTH = 80
_BLOCK = 4_096  # ads added between two reports of progress


class HnswIndex:
    """A graph over N ads and their embeddings at half precision: about 2.3 D bytes an ad at D = 384."""

    def __init__(self, index: Any) -> None:
        """`index` is the graph as faiss has it."""
        self._index = index

    @classmethod
    def build(cls, embeddings: Float32Array, progress: Progress | None = None) -> "HnswIndex":
        """Add `embeddings (N, D)` one after the other, by one thread, so that the graph is always the same.

        Cost: some minutes for 580,000 ads (docs/two-stage.md).
        """
        faiss = import_faiss()
        num_ads, dimension = embeddings.shape
        kind, metric = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexHNSWSQ(dimension, kind, _NUM_NEIGHBOURS, metric)
        index.hnsw.efConstruction = _BUILD_WIDTH
        index.train(np.ascontiguousarray(embeddings[:1]))  # half precision has nothing to learn
        for start in range(0, num_ads, _BLOCK):
            index.add(np.ascontiguousarray(embeddings[start : start + _BLOCK]))
            if progress:
                progress("Linking the vectors", min(start + _BLOCK, num_ads), num_ads, "")
        return cls(index)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of ads and of dimensions (N, D)."""
        return int(self._index.ntotal), int(self._index.d)

    def candidates(self, embedding: Float32Array, num: int, eligible: Mask | None, num_threads: int = 1) -> IntArray:
        """Return the eligible among the `num` nearest rows that a walk of this width finds; it takes one thread."""
        faiss = import_faiss()
        query = np.ascontiguousarray(embedding, dtype=np.float32)[None]
        _, rows = self._index.search(query, num, params=faiss.SearchParametersHNSW(efSearch=num))
        found: IntArray = rows[0][rows[0] >= 0]
        return found if eligible is None else found[eligible[found]]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the graph as faiss writes it (bytes,)."""
        return {"graph": import_faiss().serialize_index(self._index)}

    @classmethod
    def load(cls, path: Path) -> "HnswIndex":
        """Read what `arrays` told from an `.npz` file; raise `ArtifactError` naming the file if it is not that."""
        faiss = import_faiss()
        graph = read_arrays(path, ("graph",), "a graph of ads")["graph"]
        try:
            index = faiss.deserialize_index(graph)
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            raise ArtifactError(f"{path} does not hold a graph of ads ({error}); build the engine again") from error
        if not isinstance(index, faiss.IndexHNSWSQ):
            raise ArtifactError(f"{path} holds {type(index).__name__}, not a graph of ads; build the engine again")
        return cls(index)
