"""The vectors of ads' tokens: their scores against an obvious loop, and that joining, dropping and disk keep them."""

import numpy as np
import pytest

from intently.errors import ArtifactError
from intently.index import token_vectors
from intently.index.token_vectors import TokenVectors

P = 8


def unit(rng: np.random.Generator, num: int) -> np.ndarray:
    drawn = rng.normal(size=(num, P)).astype(np.float32)
    return drawn / np.maximum(np.linalg.norm(drawn, axis=1, keepdims=True), 1e-9)


def make(lengths: list[int], seed: int = 0) -> tuple[TokenVectors, list[np.ndarray]]:
    """Return the index, and the vectors (T_n, P) of each ad before they became codes."""
    rng = np.random.default_rng(seed)
    ads = [unit(rng, length) for length in lengths]
    return TokenVectors.build([TokenVectors.codes_of(ad) for ad in ads]), ads


def slow_score(query: np.ndarray, ad: np.ndarray) -> float:
    """Return the mean over the query's tokens of the best cosine with one of the ad's."""
    return float(np.mean([max(float(token @ other) for other in ad) for token in query]))


@pytest.fixture
def index() -> TokenVectors:
    return make([3, 1, 5, 2, 1, 4])[0]


@pytest.mark.parametrize("num_tokens", [1, 2, 9])
def test_scores_are_those_of_the_definition(num_tokens):
    lengths = [1 + number % 7 for number in range(40)]
    index, ads = make(lengths)
    assert index.num_ads == 40
    query = unit(np.random.default_rng(1), num_tokens)
    rng = np.random.default_rng(2)
    for rows in (np.arange(40), rng.permutation(40), np.array([3, 39, 0, 3]), np.array([7]), np.array([5], dtype="i4")):
        found = index.scores_of(query, rows)
        assert found.dtype == np.float32
        expected = [slow_score(query, ads[row]) for row in rows]
        np.testing.assert_allclose(found, expected, atol=0.01)  # half a level is an error of 0.004 a dimension
        exact = [slow_score(query, index.values[index.offsets[row] : index.offsets[row + 1]] / 127) for row in rows]
        np.testing.assert_allclose(found, exact, atol=1e-5)


def test_scores_of_no_ads(index):
    found = index.scores_of(unit(np.random.default_rng(0), 3), np.empty(0, dtype=np.int64))
    assert (found.dtype, found.shape) == (np.float32, (0,))


def test_an_ad_that_is_the_query_is_scored_1():
    index, ads = make([1, 4])
    np.testing.assert_allclose(index.scores_of(ads[0], np.array([0])), 1, atol=0.01)
    np.testing.assert_allclose(index.scores_of(ads[1], np.array([1])), 1, atol=0.01)
    np.testing.assert_allclose(index.scores_of(-ads[0], np.array([0])), -1, atol=0.01)


def test_codes_are_levels_of_int8():
    codes = TokenVectors.codes_of(np.array([[[1.0, -1.0, 0.0], [0.5, -0.004, 0.003]]], dtype=np.float32))
    assert codes.dtype == np.int8
    assert codes.tolist() == [[[127, -127, 0], [64, -1, 0]]]


@pytest.mark.parametrize("block", [1, 7, 128])
@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_blocks_and_threads_change_no_score(monkeypatch, block, num_threads):
    index, _ = make([1 + number % 5 for number in range(300)])  # more than one block of any size
    query = unit(np.random.default_rng(1), 6)
    one_by_one = np.concatenate([index.scores_of(query, np.array([row])) for row in range(300)])
    monkeypatch.setattr(token_vectors, "_BLOCK", block)
    for rows in (np.arange(300), np.arange(300)[::-7], np.arange(129), np.arange(128), np.arange(0)):
        np.testing.assert_allclose(index.scores_of(query, rows, num_threads), one_by_one[rows], atol=1e-6)
        np.testing.assert_array_equal(index.scores_of(query, rows, num_threads), index.scores_of(query, rows))


def tokens_of(index: TokenVectors) -> list[list[list[int]]]:
    return [index.values[start:end].tolist() for start, end in zip(index.offsets, index.offsets[1:], strict=False)]


def test_joined_and_kept_are_lists_joined_and_filtered(index):
    other, _ = make([2, 1, 6], seed=5)
    both = index.concatenated(other)
    assert tokens_of(both) == tokens_of(index) + tokens_of(other)
    assert both.values.dtype == np.int8
    rng = np.random.default_rng(0)
    for mask in (*(rng.random(9) < 0.5 for _ in range(4)), np.zeros(9, bool), np.ones(9, bool), np.arange(9) == 8):
        kept = both.kept(mask)
        assert kept.num_ads == mask.sum()
        assert tokens_of(kept) == [own for own, wanted in zip(tokens_of(both), mask, strict=True) if wanted]
        query = unit(rng, 3)
        rows = np.flatnonzero(mask)
        np.testing.assert_allclose(kept.scores_of(query, np.arange(len(rows))), both.scores_of(query, rows), atol=1e-6)
    nobody = index.kept(np.zeros(6, bool))
    assert (nobody.num_ads, nobody.values.shape) == (0, (0, P))
    assert tokens_of(nobody.concatenated(other)) == tokens_of(other)
    assert tokens_of(other.concatenated(nobody)) == tokens_of(other)


def test_saved_and_loaded(index, tmp_path):
    path = tmp_path / "tokens"
    index.save(path)
    assert {file.name for file in path.iterdir()} == {"codes.npy", "offsets.npy"}
    loaded = TokenVectors.load(path)
    assert not loaded.values.flags.owndata  # it is mapped
    assert tokens_of(loaded) == tokens_of(index)
    query = unit(np.random.default_rng(1), 4)
    np.testing.assert_array_equal(loaded.scores_of(query, np.arange(6)), index.scores_of(query, np.arange(6)))
    # What is mapped can be changed and written again.
    changed = loaded.kept(np.arange(6) != 2).concatenated(index)
    changed.save(tmp_path / "again")
    assert tokens_of(TokenVectors.load(tmp_path / "again")) == tokens_of(changed)


TORN = [
    pytest.param(lambda data: data[: len(data) // 3], id="torn in the header"),
    pytest.param(lambda data: data[:-4], id="torn"),
    pytest.param(lambda data: b"[1, 2]", id="foreign"),
    pytest.param(lambda data: b"", id="empty"),
    pytest.param(lambda data: b"PK\x03\x04" + data, id="like a zip file"),
    pytest.param(None, id="missing"),
]


@pytest.mark.parametrize("name", ["codes.npy", "offsets.npy"])
@pytest.mark.parametrize("damage", TORN)
def test_a_damaged_file_is_named(index, tmp_path, name, damage):
    path = tmp_path / "tokens"
    index.save(path)
    if damage is None:
        (path / name).unlink()
    else:
        (path / name).write_bytes(damage((path / name).read_bytes()))
    with pytest.raises(ArtifactError, match=r"tokens does not hold vectors of tokens"):
        TokenVectors.load(path)


CODES, OFFSETS = np.zeros((4, P), dtype=np.int8), np.array([0, 1, 4])


@pytest.mark.parametrize(
    ("codes", "offsets"),
    [
        pytest.param(CODES.astype(np.float32), OFFSETS, id="codes of floats"),
        pytest.param(CODES.astype(np.uint8), OFFSETS, id="codes without a sign"),
        pytest.param(CODES[0], OFFSETS, id="codes in a row"),
        pytest.param(CODES[None], OFFSETS, id="codes in a cube"),
        pytest.param(CODES, OFFSETS[None], id="offsets in a table"),
        pytest.param(CODES, OFFSETS[:-1], id="too few tokens told"),
        pytest.param(CODES, np.array([0, 1, 5]), id="too many tokens told"),
        pytest.param(CODES[:2], OFFSETS, id="tokens missing"),
        pytest.param(CODES, OFFSETS[:0], id="no offsets at all"),
        pytest.param(CODES, OFFSETS.astype(np.float64), id="offsets of floats"),
        pytest.param(CODES, np.array([1, 2, 4]), id="tokens before the first ad"),
        pytest.param(CODES, np.array([0, 3, 2, 4]), id="offsets that fall"),
        pytest.param(CODES, np.array([0, 1, 1, 4]), id="an ad without tokens"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, codes, offsets):
    np.save(tmp_path / "codes.npy", codes)
    np.save(tmp_path / "offsets.npy", offsets)
    with pytest.raises(ArtifactError, match=r"does not hold vectors of tokens \(arrays do not fit\)"):
        TokenVectors.load(tmp_path)
