"""Whether one run is better than another beyond chance, query by query.

Both tests take the differences (Q, M) of M metrics on the same Q queries, and draw the same queries for all metrics.
"""

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

NUM_SAMPLES = 10_000
_CHUNK_VALUES = 1 << 22  # drawn at once, to bound the memory


def randomization_test(differences: Float64Array, *, seed: int = 0, num_samples: int = NUM_SAMPLES) -> Float64Array:
    """Return the two-sided p-values (M,) of the paired randomization test for differences (Q, M).

    Under the null hypothesis the two runs are exchangeable on every query, so each difference might as well have had
    the other sign. p is the share of random signs whose sum is at least as far from 0 as the observed one, which counts
    as one of them. Source: Smucker, Allan and Carterette, CIKM 2007.
    """
    generator = np.random.default_rng(seed)
    total = differences.sum(axis=0)
    # Sums of the same numbers in another order differ in the last digits; such are equal.
    bound = np.abs(total) - 1e-9 * np.abs(differences).sum(axis=0)
    num_extreme = np.ones(differences.shape[1])
    for size in _chunks(num_samples, len(differences)):
        flipped = generator.integers(0, 2, (size, len(differences)), dtype=np.int8).astype(np.float64)
        num_extreme += (np.abs(total - 2 * flipped @ differences) >= bound).sum(axis=0)
    p_values: Float64Array = num_extreme / (num_samples + 1)
    return p_values


def bootstrap_interval(
    differences: Float64Array, *, confidence: float = 0.95, seed: int = 0, num_samples: int = NUM_SAMPLES
) -> Float64Array:
    """Return the ends (2, M) of the percentile-bootstrap interval of the mean difference, for differences (Q, M)."""
    generator = np.random.default_rng(seed)
    num_queries = len(differences)
    means = []
    for size in _chunks(num_samples, num_queries):
        drawn = generator.integers(0, num_queries, (size, num_queries))
        drawn += num_queries * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * num_queries).reshape(size, num_queries)
        means.append(counts.astype(np.float64) @ differences / num_queries)
    tail = (1 - confidence) / 2
    interval: Float64Array = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return interval


def _chunks(num_samples: int, num_queries: int) -> list[int]:
    size = max(1, _CHUNK_VALUES // max(num_queries, 1))
    return [min(size, num_samples - start) for start in range(0, num_samples, size)]
