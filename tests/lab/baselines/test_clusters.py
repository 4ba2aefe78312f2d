"""Codes are distinct, similar ads share their beginnings, and clusterings are what they are called."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import InputError
from intently.intentions.trie import Trie
from intently.lab.baselines.clusters import hierarchical_codes, k_means, numbered, residual_codes
from intently.lab.baselines.codes import positional
from intently.lab.baselines.tiger import tuples


def blobs(num_blobs: int, size: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(num_blobs, 6)) * 20
    return (np.repeat(centers, size, axis=0) + rng.normal(size=(num_blobs * size, 6)) * 0.1).astype(np.float32)


def test_k_means_finds_the_blobs():
    centers, clusters = k_means(blobs(5, 20), 5, np.random.default_rng(0))
    groups = clusters.reshape(5, 20)
    assert (groups == groups[:, :1]).all()
    assert len(set(groups[:, 0].tolist())) == 5
    np.testing.assert_allclose(centers[groups[:, 0]], blobs(5, 20).reshape(5, 20, 6).mean(axis=1), atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 9), st.booleans())
def test_every_vector_is_in_its_nearest_cluster(num, num_clusters, seed, coarse):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(num, 4)).astype(np.float32)
    vectors = np.round(vectors) if coarse else vectors  # many equal ones
    centers, clusters = k_means(vectors, num_clusters, rng)
    assert len(centers) == min(num_clusters, num)
    distances = ((vectors[:, None] - centers) ** 2).sum(axis=2)
    np.testing.assert_allclose(distances[np.arange(num), clusters], distances.min(axis=1), atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 120), st.integers(2, 7), st.integers(0, 9), st.sampled_from([0, 1, 8]))
def test_hierarchical_codes_are_distinct(num, branching, seed, decimals):
    rng = np.random.default_rng(seed)
    vectors = np.round(rng.normal(size=(num, 3)), decimals).astype(np.float32)
    codes = hierarchical_codes(vectors, branching, seed)
    assert len({tuple(code) for code in codes}) == num
    assert all(0 <= digit < branching for code in codes for digit in code)
    assert codes == hierarchical_codes(vectors, branching, seed)
    # Also as tokens, with so few of them that positions have to share.
    tokens = positional(codes, branching, np.arange(100, 100 + 2 * branching))
    trie = Trie.from_items(np.arange(num), tokens)
    assert trie.num_intentions == num
    walked = trie.walk(tokens)
    ends = walked[np.arange(num), (tokens >= 0).sum(axis=1) - 1]
    assert trie.intention_ids[ends].tolist() == list(range(num))
    assert (trie.num_children[ends] == 0).all()  # no code begins another


def test_equal_vectors_get_distinct_codes_too():
    codes = hierarchical_codes(np.ones((50, 3), dtype=np.float32), 3, seed=0)
    assert len({tuple(code) for code in codes}) == 50
    assert max(map(len, codes)) <= 6


def test_similar_ads_share_their_first_digit():
    codes = hierarchical_codes(blobs(4, 12), 4, seed=0)
    firsts = np.array([code[0] for code in codes]).reshape(4, 12)
    assert (firsts == firsts[:, :1]).all()
    assert len(set(firsts[:, 0].tolist())) == 4


def test_residual_codes_come_closer_level_by_level():
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    codes = residual_codes(vectors, 3, 16, seed=0)
    assert codes.shape == (300, 3)
    assert codes.min() >= 0
    assert codes.max() < 16
    spreads = []
    for level in range(4):
        _, cells = np.unique(codes[:, :level], axis=0, return_inverse=True)
        cells = cells.ravel()
        sums = np.zeros((cells.max() + 1, 8))
        np.add.at(sums, cells, vectors)
        spreads.append(((vectors - (sums / np.bincount(cells)[:, None])[cells]) ** 2).sum())
    assert spreads[0] > 1.3 * spreads[1] > 1.3**2 * spreads[2] > spreads[3]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=2), min_size=1, max_size=60), st.integers(2, 5))
def test_tuples_are_distinct_and_lead_back(rows, left):
    codes = np.array(rows)
    tokens = np.arange(50, 50 + 6 + left)
    sequences = tuples(codes, 3, tokens)
    assert len({tuple(row) for row in sequences.tolist()}) == len(codes)
    np.testing.assert_array_equal(sequences[:, :2] - 50 - np.array([0, 3]), codes)
    last = sequences[:, 2:]
    assert ((last >= 56) | (last == -1)).all()
    numbers = [
        sum((t - 56) * left**at for at, t in enumerate([t for t in row if t >= 0][::-1])) for row in last.tolist()
    ]
    assert numbers == numbered(codes).tolist()
    seen: dict[tuple[int, ...], int] = {}
    for row, number in zip(rows, numbers, strict=True):  # the slow twin: count what came before
        assert number == seen.get(tuple(row), 0)
        seen[tuple(row)] = number + 1


def test_too_few_tokens_are_said():
    with pytest.raises(InputError, match="has 3 unused tokens, and codes need 4"):
        positional([[0], [1]], 4, np.arange(3))
    with pytest.raises(InputError, match="2 levels of 3 codes need more than 7"):
        tuples(np.zeros((1, 2), dtype=np.int64), 3, np.arange(7))
