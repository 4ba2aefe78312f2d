"""The flat coarse engine: a scan over 4-bit codes of all ads, masked by a filter, that stays in the processor's cache.

Each embedding is cut into pieces of two or four dimensions (up to eight where recall matters less), and each piece is
replaced by the nearest of 16 centroids (product quantisation: Jégou, Douze & Schmid, PAMI 2011). Inner products are
then sums of table look-ups, 32 ads at a time in registers (André, Kermarrec & Le Scouarnec, VLDB 2015; "fast scan" in
faiss). A filter is looked at only where an ad would enter the candidates, so its selectivity hardly changes cost, and
never what is found.

The codes of a large catalog lie in parts, which threads can scan at the same time. Each part gives its share of the
candidates.

Shape letters: N ads, P parts, D dimensions, M pieces of an embedding, S = D / M dimensions of a piece, C candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intently.arrays import Float32Array, IntArray, Mask
from intently.errors import ArtifactError
from intently.files import read_arrays
from intently.index.coarse import import_faiss
from intently.index.parallel import in_parallel
from intently.types import Progress

MIN_ADS = 1_000  # fewer cannot train a quantiser, nor need one
_FINE_UP_TO = 150_000  # ads: until here codes are twice as fine, as 2% of few ads are few candidates
_MOST_IN_PART = 300_000  # ads: scanning so many takes far longer than waking a second thread
_NUM_TRAINED = 10_000  # ads that the centroids are trained on; more measured no better
_NUM_ITERATIONS = 10
_BLOCK = 65_536  # ads encoded at once
_NUM_CENTROIDS = 16


@dataclass(frozen=True)
class _Hits:
    """Rows (C,) of the catalog and their coarse inner products (C,)."""

    rows: IntArray
    scores: Float32Array


class _Part:
    """The codes of every P-th ad, in a single inverted list: unlike the flat index of faiss, this one takes filters."""

    def __init__(self, centroids: Float32Array, rows: range) -> None:
        """`centroids (M, 16, S)`; `rows` of the catalog are the list's ids, so that masks need no translation."""
        faiss = import_faiss()
        self.rows = rows
        num_pieces, _, width = centroids.shape
        dimension = num_pieces * width
        quantiser = faiss.IndexFlatIP(dimension)
        quantiser.add(np.zeros((1, dimension), dtype=np.float32))
        index = faiss.IndexIVFPQFastScan(quantiser, dimension, 1, num_pieces, 4, faiss.METRIC_INNER_PRODUCT)
        index.by_residual = False
        faiss.copy_array_to_vector(np.ascontiguousarray(centroids, dtype=np.float32).ravel(), index.pq.centroids)
        index.is_trained = True
        self._quantiser, self._index = quantiser, index  # faiss does not keep the first alive for the second
        self._lists = faiss.downcast_InvertedLists(index.invlists)

    @property
    def num_bytes(self) -> int:
        """Bytes of the codes once all are there: whole blocks of ads."""
        return int(-(-len(self.rows) // self._lists.n_per_block) * self._lists.block_size)

    def add(self, embeddings: Float32Array, rows: range) -> None:
        """Encode `rows` of `embeddings (N, D)`, the next ones of this part."""
        ids = np.arange(rows.start, rows.stop, rows.step, dtype=np.int64)
        self._index.add_with_ids(np.ascontiguousarray(embeddings[rows.start : rows.stop : rows.step]), ids)

    def codes(self) -> NDArray[np.uint8]:
        """Return a copy of the packed codes (bytes,)."""
        codes: NDArray[np.uint8] = import_faiss().rev_swig_ptr(self._lists.get_codes(0), self.num_bytes).copy()
        return codes

    def fill(self, codes: NDArray[np.uint8]) -> None:
        """Take the packed codes (bytes,) of all rows."""
        faiss = import_faiss()
        ids = np.array(self.rows, dtype=np.int64)
        self._lists.resize(0, len(ids))
        faiss.memcpy(self._lists.get_codes(0), faiss.swig_ptr(np.ascontiguousarray(codes)), codes.nbytes)
        faiss.memcpy(self._lists.get_ids(0), faiss.swig_ptr(ids), ids.nbytes)
        self._index.ntotal = len(ids)

    def search(self, query: Float32Array, num: int, selector: Any) -> _Hits:
        """Return the best `num` rows for `query (1, D)` among those selected (None: all), or all if they are fewer."""
        faiss = import_faiss()  # which also holds a helper to one thread
        chosen = faiss.SearchParametersIVF(nprobe=1, sel=selector)
        scores, rows = self._index.search(query, min(num, len(self.rows)), params=chosen)
        there = rows[0] >= 0  # -1 stands where there was nothing left
        return _Hits(rows[0][there], scores[0][there])


class FlatIndex:
    """Codes of N ads: D / 4 bytes an ad for small catalogs, D / 8 for large ones.

    A function of the embeddings and the seed alone: a catalog that was merged has the codes of one built at once.
    """

    def __init__(self, centroids: Float32Array, num_ads: int) -> None:
        """`centroids (M, 16, S)`; of the codes, whoever makes this takes care."""
        self._centroids, self._num_ads = centroids, num_ads
        # Rows take turns: what a catalog is sorted by, and so what a filter cuts it by, is spread over all parts.
        num_parts = _num_parts(num_ads)
        self._parts = [_Part(centroids, range(first, num_ads, num_parts)) for first in range(num_parts)]

    @classmethod
    def build(
        cls,
        embeddings: Float32Array,
        seed: int = 0,
        progress: Progress | None = None,
        piece: int | None = None,
    ) -> "FlatIndex":
        """Train centroids on a sample of `embeddings (N, D)` and encode them all, `piece` dimensions a code or fewer.

        Cost: some seconds for 580,000 ads of 384 dimensions on one core, of which training is about one.
        """
        faiss = import_faiss()
        num_ads, dimension = embeddings.shape
        widest = piece or (2 if num_ads <= _FINE_UP_TO else 4)
        width = next(width for width in range(widest, 0, -1) if dimension % width == 0)
        product = faiss.ProductQuantizer(dimension, dimension // width, 4)
        product.cp.niter, product.cp.seed = _NUM_ITERATIONS, seed
        rng = np.random.default_rng(seed)
        sample = np.sort(rng.choice(num_ads, min(num_ads, _NUM_TRAINED), replace=False))
        product.train(np.ascontiguousarray(embeddings[sample]))
        centroids = faiss.vector_to_array(product.centroids).reshape(-1, _NUM_CENTROIDS, width)
        built, done = cls(centroids, num_ads), 0
        for part in built._parts:
            for start in range(0, len(part.rows), _BLOCK):
                rows = part.rows[start : start + _BLOCK]
                part.add(embeddings, rows)
                done += len(rows)
                if progress:
                    progress("Encoding the vectors", done, num_ads, "")
        return built

    @property
    def shape(self) -> tuple[int, int]:
        """Number of ads and of dimensions (N, D)."""
        return self._num_ads, self._centroids.shape[0] * self._centroids.shape[2]

    def candidates(self, embedding: Float32Array, num: int, eligible: Mask | None, num_threads: int = 1) -> IntArray:
        """Return the `num` rows with the highest coarse inner products, part by part, or all eligible if fewer.

        At most `num_threads` threads scan at once, this one included; their number does not change what is found.
        """
        faiss = import_faiss()
        selector = None
        if eligible is not None:
            if eligible.shape != (self._num_ads,):
                raise ValueError(f"the mask is of shape {eligible.shape}, not ({self._num_ads},)")
            bits = np.packbits(eligible, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
        query = np.ascontiguousarray(embedding, dtype=np.float32)[None]
        hits = _best(self._parts, query, min(num, self._num_ads), selector, num_threads)
        found: IntArray = np.concatenate([one.rows for one in hits])
        if len(found) > num:  # shares were rounded up
            scores = np.concatenate([one.scores for one in hits])
            found = found[np.argpartition(-scores, num - 1)[:num]]
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return centroids (M, 16, S), packed codes (bytes,), part after part, and each part's number of ads (P,)."""
        return {
            "centroids": self._centroids,
            "codes": np.concatenate([part.codes() for part in self._parts]),
            "num_ads": self._part_sizes(),
        }

    @classmethod
    def load(cls, path: Path) -> "FlatIndex":
        """Read what `arrays` told from an `.npz` file; raise `ArtifactError` naming the file if it is not that."""
        centroids, codes, num_ads = read_arrays(path, ("centroids", "codes", "num_ads"), "codes of ads").values()
        sizes = np.atleast_1d(num_ads)  # a bare number was written before there were parts
        fits = centroids.dtype == np.float32 and centroids.ndim == 3 and centroids.shape[1] == _NUM_CENTROIDS
        fits = fits and centroids.size > 0 and sizes.ndim == 1 and sizes.dtype.kind == "i" and sizes.sum() > 0
        if fits and len(sizes) == _num_parts(int(sizes.sum())):  # else it was cut into parts by another rule
            index = cls(centroids, int(sizes.sum()))
            ends = np.cumsum([part.num_bytes for part in index._parts])
            if np.array_equal(sizes, index._part_sizes()) and codes.dtype == np.uint8 and codes.shape == (ends[-1],):
                for part, own in zip(index._parts, np.split(codes, ends[:-1]), strict=True):
                    part.fill(own)
                return index
        raise ArtifactError(f"{path} does not hold codes of ads (its arrays do not fit); build the engine again")

    def _part_sizes(self) -> IntArray:
        return np.array([len(part.rows) for part in self._parts])


def _num_parts(num_ads: int) -> int:
    return -(-num_ads // _MOST_IN_PART)


def _best(parts: Sequence[_Part], query: Float32Array, num: int, selector: Any, num_threads: int) -> list[_Hits]:
    """Return the hits of each part: `num` or a few more in all, or every selected row if they are fewer.

    A filter may leave a part with fewer rows than its share; then those that have more are asked for the rest.
    """
    # Chance spreads the best over the parts, so even shares miss some of the last candidates, which seldom remain after
    # rescoring: of 580,000 ads' exact best 500, two parts' 6,000 candidates held 99.737%, those of one part 99.740%.
    share = -(-num // len(parts))
    hits = in_parallel([partial(part.search, query, share, selector) for part in parts], num_threads)
    more = [share == len(one.rows) < len(part.rows) for part, one in zip(parts, hits, strict=True)]
    if all(more) or not any(more):
        return hits
    short = [one for one, has_more in zip(hits, more, strict=True) if not has_more]
    others = [part for part, has_more in zip(parts, more, strict=True) if has_more]
    return short + _best(others, query, num - sum(len(one.rows) for one in short), selector, num_threads)
