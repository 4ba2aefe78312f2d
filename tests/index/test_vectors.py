import numpy as np
import pytest

from intently.errors import ArtifactError
from intently.index.coarse import CoarseSettings
from intently.index.vectors import VectorIndex


@pytest.fixture
def vectors() -> np.ndarray:
    drawn = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_scores_are_cosines(vectors, tmp_path):
    index = VectorIndex(vectors)
    query = vectors[3]
    expected = [sum(float(a) * float(b) for a, b in zip(row, query, strict=True)) for row in vectors]
    np.testing.assert_allclose(index.scores(query), expected, atol=1e-6)
    assert index.scores(query).argmax() == 3
    index.save(tmp_path / "vectors.npy")
    loaded = VectorIndex.load(tmp_path / "vectors.npy")
    assert isinstance(loaded.embeddings, np.memmap)
    np.testing.assert_array_equal(loaded.scores(query), index.scores(query))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (np.zeros((2, 3)), r"float64 \(2, 3\)"),
        (np.zeros(3, dtype=np.float32), r"float32 \(3,\)"),
        (np.zeros((2, 3, 1), dtype=np.float32), r"float32 \(2, 3, 1\)"),
        (np.zeros((2, 3), dtype=np.int32), r"int32 \(2, 3\)"),
    ],
)
def test_other_arrays_are_refused(tmp_path, wrong, told):
    np.save(tmp_path / "vectors.npy", wrong)
    with pytest.raises(ArtifactError, match=rf"vectors\.npy holds {told}, not float32 \(N, D\)"):
        VectorIndex.load(tmp_path / "vectors.npy")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[: len(data) // 2], id="torn in the header"),
        pytest.param(lambda data: data[:-4], id="torn"),
        pytest.param(lambda data: b"[1, 2]", id="foreign"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: b"PK\x03\x04" + data, id="like a zip file"),
    ],
)
def test_damaged_file_is_named(vectors, tmp_path, damage):
    path = tmp_path / "vectors.npy"
    VectorIndex(vectors).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArtifactError, match=r"vectors\.npy does not hold vectors"):
        VectorIndex.load(path)


def test_missing_file(tmp_path):
    with pytest.raises(ArtifactError, match=r"absent\.npy"):
        VectorIndex.load(tmp_path / "absent.npy")


@pytest.mark.parametrize("engine", [None, "exact", "flat"])
def test_scores_of_some_rows(engine):
    drawn = np.random.default_rng(1).normal(size=(1_500, 16)).astype(np.float32)
    index = VectorIndex.build(drawn, CoarseSettings(engine)) if engine else VectorIndex(drawn)
    query = drawn[9]
    for rows in (np.array([3, 1_499, 0, 3]), np.empty(0, dtype=np.int64), np.arange(1_500)[::-7], np.array([2], "i4")):
        np.testing.assert_allclose(index.scores_of(query, rows), index.scores(query)[rows], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_threads", [2, 3, 5])
def test_threads_change_no_score(monkeypatch, num_threads):
    monkeypatch.setattr("intently.index.vectors._ROWS_OF_A_THREAD", 7)
    drawn = np.random.default_rng(1).normal(size=(1_500, 16)).astype(np.float32)
    index = VectorIndex.build(drawn, CoarseSettings("flat"))
    for rows in (np.arange(0), np.arange(6), np.arange(1_500)[::-13]):
        np.testing.assert_array_equal(index.scores_of(drawn[9], rows, num_threads), index.scores_of(drawn[9], rows))


@pytest.mark.parametrize("rows", [[1_500], [-1], [0, 1 << 40]])
def test_rows_that_are_not_there(rows):
    drawn = np.random.default_rng(1).normal(size=(1_500, 16)).astype(np.float32)
    index = VectorIndex.build(drawn, CoarseSettings("flat"))
    with pytest.raises(IndexError, match="of 1500 ads"):
        index.scores_of(drawn[0], np.array(rows))
    with pytest.raises(ValueError, match=r"of shape \(15,\), not \(16,\)"):
        index.scores_of(drawn[0, 1:], np.array([0]))


def test_search_is_the_sorted_scores(vectors):
    index = VectorIndex(vectors)
    for k in (1, 3, 6, 99):
        rows, scores = index.search(vectors[2], k)
        expected = np.argsort(-index.scores(vectors[2]), kind="stable")[:k]
        assert rows.tolist() == expected.tolist()
        np.testing.assert_array_equal(scores, index.scores(vectors[2])[expected])
    only = np.array([False, True, False, False, True, False])
    assert set(index.search(vectors[2], 6, only)[0].tolist()) == {1, 4}
    assert len(index.search(vectors[2], 3, np.zeros(6, dtype=np.bool_))[0]) == 0
    with pytest.raises(ValueError, match=r"the mask is of shape \(5,\), not \(6,\)"):
        index.search(vectors[2], 3, only[1:])
