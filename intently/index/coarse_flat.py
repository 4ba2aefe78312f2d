"""The flat coarse engine: a scan over 4-bit codes of all ads, masked by a filter, that stays in the processor's cache.

Each embedding is cut into pieces of two or four dimensions, and each piece is replaced by the nearest of 16 centroids
(product quantisation: Jégou, Douze & Schmid, PAMI 2011). Inner products are then sums of table look-ups, 32 ads at a
time in registers (André, Kermarrec & Le Scouarnec, VLDB 2015; "fast scan" in faiss). A filter is looked at only where
an ad would enter the candidates, so its selectivity hardly changes cost, and never what is found.

Shape letters: N ads, D dimensions, M pieces of an embedding, S = D / M dimensions of a piece.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intently.artifact import read_arrays
from intently.errors import ArtifactError
from intently.index.coarse import import_faiss
from intently.index.postings import FloatArray, IntArray, Mask
from intently.types import Progress

MIN_ADS = 1_000  # fewer cannot train a quantiser, nor need one
_FINE_UP_TO = 150_000  # ads: until here codes are twice as fine, as 2% of few ads are few candidates
_NUM_TRAINED = 10_000  # ads that the centroids are trained on; more measured no better
_NUM_ITERATIONS = 10
_BLOCK = 65_536  # ads encoded at once
_NUM_CENTROIDS = 16


class FlatIndex:
    """Codes of N ads: D / 4 bytes an ad for small catalogues, D / 8 for large ones.

    A function of the embeddings and the seed alone: a catalogue that was merged has the codes of one built at once.
    """

    def __init__(self, centroids: FloatArray, num_ads: int) -> None:
        """`centroids (M, 16, S)`; of the codes, whoever makes this takes care."""
        faiss = import_faiss()
        self._centroids, self._num_ads = centroids, num_ads
        num_pieces, _, width = centroids.shape
        dimension = num_pieces * width
        # A single inverted list with all ads: unlike the flat index of faiss, this one takes filters.
        quantiser = faiss.IndexFlatIP(dimension)
        quantiser.add(np.zeros((1, dimension), dtype=np.float32))
        index = faiss.IndexIVFPQFastScan(quantiser, dimension, 1, num_pieces, 4, faiss.METRIC_INNER_PRODUCT)
        index.by_residual = False
        faiss.copy_array_to_vector(np.ascontiguousarray(centroids, dtype=np.float32).ravel(), index.pq.centroids)
        index.is_trained = True
        self._quantiser, self._index = quantiser, index  # faiss does not keep the first alive for the second

    @classmethod
    def build(cls, embeddings: FloatArray, seed: int = 0, progress: Progress | None = None) -> "FlatIndex":
        """Train centroids on a sample of `embeddings (N, D)` and encode them all.

        Cost: some seconds for 580,000 ads of 384 dimensions on one core, of which training is about one.
        """
        faiss = import_faiss()
        num_ads, dimension = embeddings.shape
        widest = 2 if num_ads <= _FINE_UP_TO else 4
        width = next(width for width in (4, 2, 1) if width <= widest and dimension % width == 0)
        product = faiss.ProductQuantizer(dimension, dimension // width, 4)
        product.cp.niter, product.cp.seed = _NUM_ITERATIONS, seed
        rng = np.random.default_rng(seed)
        sample = np.sort(rng.choice(num_ads, min(num_ads, _NUM_TRAINED), replace=False))
        product.train(np.ascontiguousarray(embeddings[sample]))
        centroids = faiss.vector_to_array(product.centroids).reshape(-1, _NUM_CENTROIDS, width)
        built = cls(centroids, num_ads)
        for start in range(0, num_ads, _BLOCK):
            built._index.add(np.ascontiguousarray(embeddings[start : start + _BLOCK]))
            if progress:
                progress("Encoding the vectors", min(start + _BLOCK, num_ads), num_ads, "")
        return built

    @property
    def shape(self) -> tuple[int, int]:
        """Number of ads and of dimensions (N, D)."""
        return self._num_ads, self._centroids.shape[0] * self._centroids.shape[2]

    def candidates(self, embedding: FloatArray, num: int, eligible: Mask | None) -> IntArray:
        """Return the `num` rows with the highest coarse inner products, or all eligible if they are fewer."""
        faiss = import_faiss()
        asked: dict[str, Any] = {"nprobe": 1}
        if eligible is not None:
            if eligible.shape != (self._num_ads,):
                raise ValueError(f"the mask is of shape {eligible.shape}, not ({self._num_ads},)")
            bits = np.packbits(eligible, bitorder="little")
            asked["sel"] = faiss.IDSelectorBitmap(bits)
        query = np.ascontiguousarray(embedding, dtype=np.float32)[None]
        _, rows = self._index.search(query, min(num, self._num_ads), params=faiss.SearchParametersIVF(**asked))
        found: IntArray = rows[0][rows[0] >= 0]  # -1 stands where there was nothing left
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return centroids (M, 16, S), packed codes (bytes,) and the number of ads."""
        faiss = import_faiss()
        lists = self._lists()
        codes = faiss.rev_swig_ptr(lists.get_codes(0), self._num_code_bytes()).copy()
        return {"centroids": self._centroids, "codes": codes, "num_ads": np.array(self._num_ads)}

    @classmethod
    def load(cls, path: Path) -> "FlatIndex":
        """Read what `arrays` told from an `.npz` file; raise `ArtifactError` naming the file if it is not that."""
        faiss = import_faiss()
        centroids, codes, num_ads = read_arrays(path, ("centroids", "codes", "num_ads"), "codes of ads").values()
        fits = centroids.dtype == np.float32 and centroids.ndim == 3 and centroids.shape[1] == _NUM_CENTROIDS
        fits = fits and centroids.size > 0 and num_ads.ndim == 0 and num_ads.dtype.kind == "i" and num_ads > 0
        if fits:
            index = cls(centroids, int(num_ads))
            if codes.dtype == np.uint8 and codes.shape == (index._num_code_bytes(),):
                rows, lists = np.arange(int(num_ads), dtype=np.int64), index._lists()
                lists.resize(0, int(num_ads))
                faiss.memcpy(lists.get_codes(0), faiss.swig_ptr(np.ascontiguousarray(codes)), codes.nbytes)
                faiss.memcpy(lists.get_ids(0), faiss.swig_ptr(rows), rows.nbytes)
                index._index.ntotal = int(num_ads)
                return index
        raise ArtifactError(f"{path} does not hold codes of ads (its arrays do not fit); build the engine again")

    def _lists(self) -> Any:
        return import_faiss().downcast_InvertedLists(self._index.invlists)

    def _num_code_bytes(self) -> int:
        lists = self._lists()
        return int(-(-self._num_ads // lists.n_per_block) * lists.block_size)
