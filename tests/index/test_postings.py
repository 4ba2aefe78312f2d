"""Postings against a dict of dicts, the best rows against a full sort."""

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import ArtifactError
from intently.index.postings import Postings, top_rows

NUM_KEYS, NUM_ADS = 5, 7
# Quarters add up exactly in float32, so that the twin can be compared with ==.
quarters = st.integers(1, 20).map(lambda n: n / 4)
entries_strategy = st.dictionaries(
    st.tuples(st.integers(0, NUM_KEYS - 1), st.integers(0, NUM_ADS - 1)), quarters, max_size=20
)
queries = st.lists(st.tuples(st.integers(0, NUM_KEYS - 1), quarters), max_size=6)


def build(entries: dict[tuple[int, int], float]) -> Postings:
    keys = np.array([key for key, _ in entries], dtype=np.int64)
    rows = np.array([row for _, row in entries], dtype=np.int64)
    return Postings.build(keys, rows, np.array(list(entries.values()), dtype=np.float64), NUM_KEYS, NUM_ADS)


def asked(query: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([key for key, _ in query], dtype=np.int64), np.array([w for _, w in query], dtype=np.float32)


@settings(deadline=None)
@given(entries_strategy, queries)
def test_equals_a_dict_of_dicts(entries, query):
    postings = build(entries)
    twin: dict[int, dict[int, float]] = {key: {} for key in range(NUM_KEYS)}
    for (key, row), weight in entries.items():
        twin[key][row] = weight
    assert postings.num_keys == NUM_KEYS
    assert postings.counts().tolist() == [len(twin[key]) for key in range(NUM_KEYS)]
    for key in range(NUM_KEYS):
        rows, weights = postings.of(key)
        assert list(zip(rows.tolist(), weights.tolist(), strict=True)) == sorted(twin[key].items())
    scores = postings.scores(*asked(query))
    assert (scores.dtype, scores.shape) == (np.float32, (NUM_ADS,))
    for row in range(NUM_ADS):
        shares = [(at, twin[key][row] * weight) for at, (key, weight) in enumerate(query) if row in twin[key]]
        assert scores[row] == sum(share for _, share in shares)
        assert postings.contributions(*asked(query), row) == sorted(shares, key=lambda entry: (-entry[1], entry[0]))


@settings(deadline=None)
@given(entries_strategy, queries)
def test_what_is_saved_scores_the_same(tmp_path_factory, entries, query):
    path = tmp_path_factory.mktemp("postings") / "postings.npz"
    postings = build(entries)
    postings.save(path)
    loaded = Postings.load(path)
    assert (loaded.num_ads, loaded.num_keys) == (NUM_ADS, NUM_KEYS)
    np.testing.assert_array_equal(loaded.scores(*asked(query)), postings.scores(*asked(query)))


def test_keys_and_weights_belong_together():
    with pytest.raises(ValueError, match="shorter"):
        build({(0, 0): 1.0}).scores(np.array([0, 1]), np.array([1.0]))


def test_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match=r"absent\.npz"):
        Postings.load(tmp_path / "absent.npz")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"foreign", id="foreign"),
        pytest.param(lambda data: data.replace(b"offsets", b"offsetz"), id="other arrays"),
        pytest.param(lambda data: data[: len(data) // 2], id="torn"),
        pytest.param(lambda data: data.replace(b"\x93NUMPY", b"\x93NUMPX"), id="altered"),
        pytest.param(lambda data: b"", id="empty"),
    ],
)
def test_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "postings.npz"
    build({(0, 1): 1.0}).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArtifactError, match=r"postings\.npz does not hold postings"):
        Postings.load(path)
    gc.collect()  # a file left open would be a warning, hence an error


@pytest.mark.parametrize("name", ["offsets", "ad_rows", "weights", "num_ads"])
def test_arrays_that_do_not_fit(tmp_path, name):
    path = tmp_path / "postings.npz"
    postings = build({(0, 1): 1.0, (2, 0): 2.0})
    np.savez(path, **{**vars(postings), name: np.zeros(7, dtype=np.int64)})
    with pytest.raises(ArtifactError, match=r"postings\.npz does not hold postings \(its arrays do not fit\)"):
        Postings.load(path)


few_scores = st.lists(st.sampled_from([-1.5, 0.0, 0.25, 0.5, 2.0]), max_size=12)


@settings(deadline=None)
@given(few_scores, st.integers(0, 15), st.data(), st.sampled_from([-np.inf, -1.5, 0.0, 0.25, 9.0]))
def test_top_rows_equal_a_full_sort(scores, k, data, above):
    masked = data.draw(st.booleans())
    mask = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    rows = [row for row in range(len(scores)) if scores[row] > above and (mask[row] or not masked)]
    expected = sorted(rows, key=lambda row: (-scores[row], row))[:k]
    given_scores = np.array(scores, dtype=np.float32)
    found = top_rows(given_scores, k, np.array(mask, dtype=bool) if masked else None, above)
    assert found.tolist() == expected
    assert found.dtype == np.int64
    assert given_scores.tolist() == scores  # not written to


def test_top_rows_at_the_edges():
    scores = np.array([1, 3, 3, 2], dtype=np.float32)
    assert top_rows(scores, 1).tolist() == [1]
    assert top_rows(scores, 99).tolist() == [1, 2, 3, 0]
    assert top_rows(scores, 0).tolist() == []
    assert top_rows(scores, 3, np.zeros(4, dtype=bool)).tolist() == []
    assert top_rows(scores, 3, np.array([True, False, True, False])).tolist() == [2, 0]
    assert top_rows(np.empty(0, dtype=np.float32), 3).tolist() == []
