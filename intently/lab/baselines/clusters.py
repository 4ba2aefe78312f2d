"""Clustering ads by their embeddings: k-means, and the two kinds of codes that are made with it.

Shape letters: N ads, D size of an embedding, K clusters.
"""

import numpy as np

from intently.arrays import Float32Array, IntArray


def k_means(
    vectors: Float32Array, num_clusters: int, rng: np.random.Generator, num_rounds: int = 15
) -> tuple[Float32Array, IntArray]:
    """Return centres (K, D) and each vector's cluster (N,), K ≤ N; seeded as k-means++ does, then Lloyd's rounds."""
    num_clusters = min(num_clusters, len(vectors))
    squares = (vectors**2).sum(axis=1)

    def distances(centers: Float32Array) -> Float32Array:
        to_each: Float32Array = squares[:, None] - 2 * vectors @ centers.T + (centers**2).sum(axis=1)
        return np.maximum(to_each, 0)

    centers = np.empty((num_clusters, vectors.shape[1]), dtype=np.float32)
    centers[0] = vectors[rng.integers(len(vectors))]
    nearest_yet = distances(centers[:1])[:, 0]
    for k in range(1, num_clusters):
        total = float(nearest_yet.sum(dtype=np.float64))
        chances = nearest_yet.astype(np.float64) / total if total > 0 else None  # None: all lie on a centre already
        centers[k] = vectors[rng.choice(len(vectors), p=chances)]
        nearest_yet = np.minimum(nearest_yet, distances(centers[k : k + 1])[:, 0])

    clusters = np.full(len(vectors), -1, dtype=np.int64)
    for _ in range(num_rounds):
        before, clusters = clusters, distances(centers).argmin(axis=1)
        if np.array_equal(before, clusters):
            break
        order = np.argsort(clusters, kind="stable")
        used, first = np.unique(clusters[order], return_index=True)
        counts = np.diff(np.append(first, len(vectors)))
        centers[used] = np.add.reduceat(vectors[order], first, axis=0) / counts[:, None]  # an empty one stays
    return centers, distances(centers).argmin(axis=1)


def hierarchical_codes(vectors: Float32Array, branching: int, seed: int) -> list[list[int]]:
    """Return distinct codes, digits below `branching`, as DSI's: similar ads share their first digits.

    A cluster of more than `branching` ads is clustered again; in a smaller one ads are numbered by row.
    """
    rng = np.random.default_rng(seed)
    codes: list[list[int]] = [[] for _ in vectors]
    remaining = [np.arange(len(vectors))]
    while remaining:
        rows = remaining.pop()
        if len(rows) <= branching:
            parts = [rows[i : i + 1] for i in range(len(rows))]
        else:
            _, clusters = k_means(vectors[rows], branching, rng)
            parts = [rows[clusters == k] for k in range(branching)]
            if max(map(len, parts)) == len(rows):  # equal vectors, which no clustering tells apart
                parts = np.array_split(rows, branching)
            remaining.extend(part for part in parts if len(part))
        for digit, part in enumerate(parts):
            for row in part.tolist():
                codes[row].append(digit)
    return codes


def residual_codes(vectors: Float32Array, num_levels: int, num_codes: int, seed: int) -> IntArray:
    """Return codes (N, num_levels), digits below `num_codes`: each level clusters what the levels before left over."""
    rng = np.random.default_rng(seed)
    residuals = vectors.copy()
    codes = np.empty((len(vectors), num_levels), dtype=np.int64)
    for level in range(num_levels):
        centers, codes[:, level] = k_means(residuals, num_codes, rng)
        residuals -= centers[codes[:, level]]
    return codes


def numbered(codes: IntArray) -> IntArray:
    """Return each row's number (N,) among the rows of equal codes (N, L), from 0 in order."""
    _, groups = np.unique(codes, axis=0, return_inverse=True)
    groups = groups.ravel()
    order = np.argsort(groups, kind="stable")
    counts = np.bincount(groups)
    numbers = np.empty(len(codes), dtype=np.int64)
    numbers[order] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return numbers
