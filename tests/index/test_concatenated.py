"""Joined embeddings: what they promise of lengths and products."""

import numpy as np
import pytest

from intently.index.concatenated import concatenate_embeddings


def unit(rows, size, seed):
    drawn = np.random.default_rng(seed).normal(size=(rows, size)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_the_product_is_the_mean_of_both():
    ads, queries = (unit(7, 4, 0), unit(7, 6, 1)), (unit(3, 4, 2), unit(3, 6, 3))
    both_ads, both_queries = concatenate_embeddings(*ads), concatenate_embeddings(*queries)
    assert both_ads.shape == (7, 10) and both_ads.dtype == np.float32
    assert np.linalg.norm(both_ads, axis=1) == pytest.approx(1, abs=1e-6)
    mean = (queries[0] @ ads[0].T + queries[1] @ ads[1].T) / 2
    assert both_queries @ both_ads.T == pytest.approx(mean, abs=1e-6)


def test_both_are_of_the_same_texts():
    with pytest.raises(ValueError, match="3 embeddings to be joined with 2"):
        concatenate_embeddings(unit(3, 4, 0), unit(2, 4, 1))
