import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import ArtifactError, MissingDependencyError, SettingsError
from intently.index.coarse import CoarseEngine, CoarseSettings
from intently.index.coarse_flat import FlatIndex
from intently.index.coarse_hnsw import HnswIndex
from intently.index.postings import top_rows
from intently.index.vectors import VectorIndex

NUM_ADS, DIMENSION, NUM_GROUPS, K = 6_000, 32, 30, 20
ENGINES = [CoarseEngine.EXACT, CoarseEngine.FLAT, CoarseEngine.HNSW]
SHARES = [1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001]
SETTINGS = {"rescored_share": 0.05}  # 300 of the ads
MOST_IN_PART = {1: NUM_ADS, 2: 3_000, 3: 2_500, 7: 900}


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def groups() -> np.ndarray:
    return np.random.default_rng(1).integers(0, NUM_GROUPS, NUM_ADS)


@pytest.fixture(scope="module")
def embeddings(groups) -> np.ndarray:
    rng = np.random.default_rng(0)
    return unit(rng.normal(size=(NUM_GROUPS, DIMENSION))[groups] + 0.7 * rng.normal(size=(NUM_ADS, DIMENSION)))


@pytest.fixture(scope="module")
def queries(embeddings) -> np.ndarray:
    rng = np.random.default_rng(2)
    return unit(embeddings[rng.integers(0, NUM_ADS, 25)] + 0.1 * rng.normal(size=(25, DIMENSION)))


@pytest.fixture(scope="module")
def indexes(embeddings) -> dict[CoarseEngine, VectorIndex]:
    return {engine: VectorIndex.build(embeddings, CoarseSettings(engine, **SETTINGS)) for engine in ENGINES}


def recall(index: VectorIndex, queries: np.ndarray, masks: list[np.ndarray]) -> float:
    """Return the share of the truly best that are found, after checking what must hold of every answer."""
    shares = []
    for query, mask in zip(queries, masks, strict=True):
        truth = top_rows(index.scores(query), K, mask)
        rows, scores = index.search(query, K, mask)
        assert len(rows) == len(truth) == len(set(rows.tolist()))
        assert mask[rows].all()
        np.testing.assert_allclose(scores, index.scores(query)[rows], atol=1e-6)
        assert (np.diff(scores) <= 0).all()
        if len(truth):
            shares.append(np.isin(truth, rows).mean())
    return float(np.mean(shares))


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_selectivity_finds_what_the_slow_way_finds(indexes, queries, engine, share):
    rng = np.random.default_rng(3)
    masks = [rng.random(NUM_ADS) < share for _ in queries]
    assert recall(indexes[engine], queries, masks) >= 0.98


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("num", [60, 600, 3_000])
def test_only_the_nearest_ads_are_eligible(indexes, queries, embeddings, engine, num):
    masks = []
    for query in queries:
        mask = np.zeros(NUM_ADS, dtype=np.bool_)
        mask[np.argsort(embeddings @ query)[-num:]] = True
        masks.append(mask)
    assert recall(indexes[engine], queries, masks) >= 0.98


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("num", [1, 3, 12, 20])
@pytest.mark.parametrize("nearest", [True, False])
def test_some_groups_of_ads_are_eligible(indexes, queries, embeddings, groups, engine, num, nearest):
    """As if a filter admitted categories: those that the query is about, or only others."""
    masks = [np.isin(groups, near_groups(query, embeddings, groups)[:num]) for query in queries]
    if not nearest:
        masks = [np.isin(groups, near_groups(query, embeddings, groups)[-num:]) for query in queries]
    assert recall(indexes[engine], queries, masks) >= 0.98


def near_groups(query: np.ndarray, embeddings: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the groups, that of the ads nearest to the query first."""
    means = [np.mean(embeddings[groups == group] @ query) for group in range(NUM_GROUPS)]
    return np.argsort(means)[::-1]


def test_the_plan_follows_from_how_many_are_eligible(indexes):
    few = int(0.05 * NUM_ADS)
    plans = {engine: [index.plan(K, num).engine for num in (0, few, few + 1, NUM_ADS // 2, NUM_ADS)]
             for engine, index in indexes.items()}  # fmt: skip
    exact, flat, hnsw = ENGINES
    assert plans == {
        exact: [exact] * 5,
        flat: [exact, exact, flat, flat, flat],
        hnsw: [exact, exact, flat, hnsw, hnsw],
    }
    assert indexes[flat].plan(K, NUM_ADS).num_candidates == few
    assert indexes[flat].plan(1_000, NUM_ADS).num_candidates == 2_000  # many are asked for, so many are compared
    assert indexes[exact].plan(K, 7).num_candidates == 7


def test_how_many_candidates(embeddings):
    chosen = CoarseSettings(CoarseEngine.FLAT, rescored_share=0.1, min_candidates=200, oversampling=2)
    index = VectorIndex.build(embeddings, chosen)
    each = 2 * 384 // DIMENSION  # the fewer dimensions a code is made of, the more it errs
    asked = (1, 20, 24, 100, 400)
    assert [index.plan(k, NUM_ADS).num_candidates for k in asked] == [200, 20 * each, 24 * each, 600, 800]


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1, 0.001, 0.0])
def test_candidates_are_as_many_as_asked_for_and_eligible(indexes, queries, share):
    stage = indexes[CoarseEngine.FLAT].stage
    flat = stage.engines[CoarseEngine.FLAT]
    mask = np.random.default_rng(4).random(NUM_ADS) < share
    for num in (1, 37, 500, 2 * NUM_ADS):
        rows = flat.candidates(queries[0], num, mask)
        assert len(rows) == len(set(rows.tolist())) == min(num, mask.sum())
        assert mask[rows].all()


def test_a_graph_that_finds_too_few_hands_over(indexes, queries, embeddings, groups):
    """Ads of the categories far from the query are eligible: a walk towards it meets the others."""
    index, query = indexes[CoarseEngine.HNSW], queries[0]
    mask = np.isin(groups, near_groups(query, embeddings, groups)[-20:])
    plan = index.plan(K, int(mask.sum()))
    assert plan.engine is CoarseEngine.HNSW
    assert len(index.stage.engines[CoarseEngine.HNSW].candidates(query, plan.num_candidates, mask)) < 2 * K
    assert recall(index, queries[:1], [mask]) >= 0.95


@pytest.mark.parametrize("engine", ENGINES)
def test_equals_are_ordered_by_row(embeddings, engine):
    index = VectorIndex.build(np.tile(embeddings[:500], (12, 1)), CoarseSettings(engine, **SETTINGS))
    rows, scores = index.search(embeddings[7], 6)
    assert rows.tolist() == [7 + 500 * copy for copy in range(6)]
    assert scores == pytest.approx([1.0] * 6)


def test_merged_indexes_are_as_built_at_once(embeddings, queries):
    settings = CoarseSettings(CoarseEngine.FLAT, **SETTINGS)
    mask = np.arange(NUM_ADS) % 3 > 0
    merged = VectorIndex.build(embeddings, settings).kept(mask).concatenated(VectorIndex(embeddings[:700]))
    anew = VectorIndex.build(np.concatenate((embeddings[mask], embeddings[:700])), settings)
    for one, other in zip(merged.stage.engines.values(), anew.stage.engines.values(), strict=True):
        for name, array in one.arrays().items():
            np.testing.assert_array_equal(array, other.arrays()[name])
    for query in queries:
        np.testing.assert_array_equal(merged.search(query, K)[0], anew.search(query, K)[0])


def test_a_catalogue_that_outgrows_exact_search_gets_an_engine(embeddings):
    small = VectorIndex.build(embeddings[:2_000], CoarseSettings(exact_up_to=3_000))
    assert not small.stage.engines
    assert list(small.concatenated(VectorIndex(embeddings[2_000:])).stage.engines) == [CoarseEngine.FLAT]
    assert not VectorIndex.build(embeddings[:500], CoarseSettings(CoarseEngine.FLAT)).stage.engines
    assert VectorIndex(embeddings).stage is None  # no settings, no coarse stage


@pytest.mark.parametrize("num_ads", [1_000, 1_001, 1_031])
@pytest.mark.parametrize("dimension", [12, 14, 15])
def test_any_number_of_ads_and_dimensions(num_ads, dimension, tmp_path):
    drawn = unit(np.random.default_rng(5).normal(size=(num_ads, dimension)))
    flat = FlatIndex.build(drawn)
    assert flat.shape == (num_ads, dimension)
    assert sorted(flat.candidates(drawn[0], num_ads, None).tolist()) == list(range(num_ads))
    assert 3 in flat.candidates(drawn[3], 50, None)
    np.savez(tmp_path / "flat.npz", **flat.arrays())
    loaded = FlatIndex.load(tmp_path / "flat.npz")
    np.testing.assert_array_equal(loaded.candidates(drawn[0], 50, None), flat.candidates(drawn[0], 50, None))


def test_codes_have_half_the_bytes_in_large_catalogues(monkeypatch, embeddings):
    fine = FlatIndex.build(embeddings).arrays()["codes"].nbytes
    monkeypatch.setattr("intently.index.coarse_flat._FINE_UP_TO", NUM_ADS - 1)
    assert FlatIndex.build(embeddings).arrays()["codes"].nbytes * 2 == fine


@pytest.mark.parametrize(("piece", "share"), [(1, 8), (2, 4), (4, 2), (5, 2), (8, 1)])
def test_a_setting_says_how_many_dimensions_a_code_stands_for(embeddings, queries, piece, share):
    assert embeddings.shape[1] % 8 == 0
    shortest = FlatIndex.build(embeddings, piece=8).arrays()["codes"].nbytes
    chosen = CoarseSettings(CoarseEngine.FLAT, piece=piece, **SETTINGS)
    index = VectorIndex.build(embeddings, chosen)
    assert index.stage.engines[CoarseEngine.FLAT].arrays()["codes"].nbytes == share * shortest
    best = np.argsort(-(embeddings @ queries[0]))[:10]
    assert len(np.intersect1d(index.search(queries[0], 10)[0], best)) >= 9


@pytest.fixture(scope="module")
def parted(embeddings) -> dict[int, FlatIndex]:
    """The same ads in one part, and in several."""
    found = {}
    for num_parts, most in MOST_IN_PART.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("intently.index.coarse_flat._MOST_IN_PART", most)
            found[num_parts] = FlatIndex.build(embeddings)
    return found


@pytest.mark.parametrize("num_parts", MOST_IN_PART)
@pytest.mark.parametrize("share", SHARES)
def test_any_number_of_threads_finds_the_same(parted, queries, num_parts, share):
    flat, rng = parted[num_parts], np.random.default_rng(6)
    for query in queries:
        mask = None if share == 1.0 else rng.random(NUM_ADS) < share
        alone = flat.candidates(query, 301, mask)
        for num_threads in (2, 3, 16):
            np.testing.assert_array_equal(flat.candidates(query, 301, mask, num_threads), alone)


@pytest.mark.parametrize("num_parts", [2, 3, 7])
def test_each_part_gives_the_best_of_its_rows(parted, queries, num_parts):
    """The slow way: one part that is asked for every P-th row."""
    for query in queries:
        rows = parted[num_parts].candidates(query, 42 * num_parts, None)
        for first in range(num_parts):
            own = np.arange(NUM_ADS) % num_parts == first
            expected = parted[1].candidates(query, 42, own)
            assert np.isin(rows, expected).sum() >= 41  # several may be equal to the last one


@pytest.mark.parametrize("num_parts", [2, 3, 7])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_parts_find_the_best_as_one_part_does(parted, queries, embeddings, num_parts, share):
    rng = np.random.default_rng(7)
    recalls = []
    for query in queries:
        mask = rng.random(NUM_ADS) < share
        truth = top_rows(embeddings @ query, K, mask)
        found = [parted[parts].candidates(query, 300, mask, 2) for parts in (1, num_parts)]
        recalls.append([np.isin(truth, rows).mean() for rows in found])
    one, several = np.mean(recalls, axis=0)
    assert several >= one - 0.002
    assert one > 0.98


def test_what_was_rounded_up_is_left_out_worst_first(parted, queries):
    for query in queries:
        (best,) = parted[7].candidates(query, 1, None)
        assert best in parted[1].candidates(query, 3, None)  # of equals, one part may name others


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_uneven_filters_still_get_all_they_ask_for(data, parted, queries):
    """Whatever number of each part's rows is eligible, as if a catalog's order followed its targeting."""
    num_parts = data.draw(st.sampled_from([2, 3, 7]))
    mask = np.zeros(NUM_ADS, dtype=np.bool_)
    for first in range(num_parts):
        own = np.arange(first, NUM_ADS, num_parts)
        mask[own[: data.draw(st.one_of(st.integers(0, 60), st.just(len(own))))]] = True
    num, num_threads = data.draw(st.integers(1, 500)), data.draw(st.integers(1, 4))
    rows = parted[num_parts].candidates(queries[0], num, mask, num_threads)
    assert len(rows) == len(set(rows.tolist())) == min(num, mask.sum())
    assert mask[rows].all()


def test_a_filter_that_only_one_part_passes_loses_nothing(parted, queries, embeddings):
    mask = np.arange(NUM_ADS) % 7 == 3
    for query in queries:
        rows = parted[7].candidates(query, 100, mask)
        assert set(rows.tolist()) == set(parted[1].candidates(query, 100, mask).tolist())


class Busy:
    """Helpers that never begin; it is counted how many were wanted."""

    def __init__(self) -> None:
        self.num_wanted = 0

    def submit(self, *_) -> Future:
        self.num_wanted += 1
        return Future()


@pytest.mark.parametrize("num_threads", [1, 2, 4, 9])
def test_nobody_waits_for_helpers_that_are_busy(monkeypatch, parted, queries, num_threads):
    expected = parted[7].candidates(queries[0], 300, None)
    helpers = Busy()
    monkeypatch.setattr("intently.index.parallel._HELPERS", helpers)
    np.testing.assert_array_equal(parted[7].candidates(queries[0], 300, None, num_threads), expected)
    assert helpers.num_wanted == min(num_threads, 7) - 1


@pytest.mark.parametrize("engine", [CoarseEngine.FLAT, CoarseEngine.HNSW])
def test_threads_come_from_the_search_to_the_scan(monkeypatch, queries, embeddings, groups, engine):
    monkeypatch.setattr("intently.index.coarse_flat._MOST_IN_PART", 2_000)
    index = VectorIndex.build(embeddings, CoarseSettings(engine, **SETTINGS))
    helpers = Busy()
    monkeypatch.setattr("intently.index.parallel._HELPERS", helpers)
    mask = np.isin(groups, near_groups(queries[0], embeddings, groups)[-20:])  # which a graph hands over
    index.search(queries[0], K, mask)
    assert helpers.num_wanted == 0
    index.search(queries[0], K, mask, num_threads=2)
    assert helpers.num_wanted >= 1


def test_many_callers_share_the_helpers(parted, queries):
    expected = [parted[3].candidates(query, 300, None) for query in queries]
    with ThreadPoolExecutor(6) as callers:
        found = callers.map(lambda query: parted[3].candidates(query, 300, None, 3), np.tile(queries, (4, 1)))
        for rows, others in zip(found, expected * 4, strict=True):
            np.testing.assert_array_equal(rows, others)


@pytest.mark.parametrize("num_ads", [1_000, 1_031, NUM_ADS])
def test_parts_are_saved_and_loaded(monkeypatch, embeddings, queries, num_ads, tmp_path):
    monkeypatch.setattr("intently.index.coarse_flat._MOST_IN_PART", num_ads // 3)
    monkeypatch.setattr("intently.index.coarse_flat._BLOCK", 77)  # blocks of faiss that are filled bit by bit
    flat = FlatIndex.build(embeddings[:num_ads])
    np.savez(tmp_path / "flat.npz", **flat.arrays())
    loaded = FlatIndex.load(tmp_path / "flat.npz")
    assert loaded.shape == flat.shape == (num_ads, DIMENSION)
    assert len(loaded.arrays()["num_ads"]) == -(-num_ads // (num_ads // 3))
    np.savez(tmp_path / "again.npz", **loaded.arrays())
    monkeypatch.setattr("intently.index.coarse_flat._BLOCK", 65_536)
    np.savez(tmp_path / "anew.npz", **FlatIndex.build(embeddings[:num_ads]).arrays())
    first, *others = ((tmp_path / f"{name}.npz").read_bytes() for name in ("flat", "again", "anew"))
    assert others == [first, first]
    mask = np.arange(num_ads) % 5 > 0
    for query in queries:
        for eligible in (None, mask):
            np.testing.assert_array_equal(
                loaded.candidates(query, 100, eligible), flat.candidates(query, 100, eligible)
            )


def test_codes_written_before_there_were_parts(monkeypatch, embeddings, queries, parted, tmp_path):
    """They are read where one part is what there would be now, and else refused."""
    np.savez(tmp_path / "flat.npz", **(parted[1].arrays() | {"num_ads": np.array(NUM_ADS)}))
    loaded = FlatIndex.load(tmp_path / "flat.npz")
    np.testing.assert_array_equal(loaded.candidates(queries[0], 50, None), parted[1].candidates(queries[0], 50, None))
    monkeypatch.setattr("intently.index.coarse_flat._MOST_IN_PART", NUM_ADS - 1)
    with pytest.raises(ArtifactError, match=r"flat\.npz does not hold codes of ads"):
        FlatIndex.load(tmp_path / "flat.npz")


@pytest.mark.parametrize("engine", ENGINES)
def test_saved_and_loaded(indexes, queries, embeddings, engine, tmp_path):
    first, second = tmp_path / "vectors.npy", tmp_path / "again.npy"
    indexes[engine].save(first)
    loaded = VectorIndex.load(first)
    assert loaded.settings == indexes[engine].settings
    assert list(loaded.stage.engines) == list(indexes[engine].stage.engines)
    mask = np.arange(NUM_ADS) % 2 == 0
    for query in queries:
        for ours, theirs in zip(loaded.search(query, K, mask), indexes[engine].search(query, K, mask), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    VectorIndex.build(embeddings, indexes[engine].settings).save(second)
    assert second.with_suffix(".coarse.npz").read_bytes() == first.with_suffix(".coarse.npz").read_bytes()
    VectorIndex(embeddings).save(first)  # without settings: what was there is no longer true
    assert VectorIndex.load(first).settings is None


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        pytest.param({"num_ads": np.array(7)}, "does not hold codes of ads", id="fewer ads"),
        pytest.param({"num_ads": np.array(-1)}, "does not hold codes of ads", id="negative"),
        pytest.param({"num_ads": np.array([NUM_ADS / 2] * 2, dtype=np.int64)}, "does not hold codes", id="two parts"),
        pytest.param({"num_ads": np.array([NUM_ADS + 1, -1])}, "does not hold codes of ads", id="a negative part"),
        pytest.param({"num_ads": np.array([[NUM_ADS]])}, "does not hold codes of ads", id="a table of parts"),
        pytest.param({"num_ads": np.array([2**62])}, "does not hold codes of ads", id="more parts than there are ads"),
        pytest.param({"num_ads": np.array([], dtype=np.int64)}, "does not hold codes of ads", id="no parts"),
        pytest.param({"codes": np.zeros(64, dtype=np.uint8)}, "does not hold codes of ads", id="fewer codes"),
        pytest.param({"centroids": np.zeros((4, 3, 2), dtype=np.float32)}, "does not hold codes", id="centroids"),
        pytest.param({"centroids": np.zeros((8, 16, 2), dtype=np.float64)}, "does not hold codes", id="type"),
        pytest.param({"settings": np.array('{"engine": "flatt"}')}, "does not hold a coarse stage", id="settings"),
        pytest.param({"settings": np.array("[1]")}, "does not hold a coarse stage", id="list"),
        pytest.param({"engines": np.array(["tree"])}, "does not hold a coarse stage", id="engine"),
        pytest.param({"graph": np.zeros(100, dtype=np.uint8)}, "does not hold a graph", id="graph"),
    ],
)
def test_what_does_not_fit_is_named(indexes, damage, told, tmp_path):
    path = saved(indexes[CoarseEngine.HNSW], tmp_path)
    with np.load(path) as arrays:
        content = dict(arrays)
    np.savez(path, **(content | damage))
    with pytest.raises(ArtifactError, match=rf"vectors\.coarse\.npz {told}"):
        VectorIndex.load(tmp_path / "vectors.npy")


def test_torn_files_and_those_of_other_vectors_are_named(indexes, embeddings, tmp_path):
    path = saved(indexes[CoarseEngine.FLAT], tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError, match=r"vectors\.coarse\.npz does not hold"):
        VectorIndex.load(tmp_path / "vectors.npy")
    path.write_bytes(whole)
    np.save(tmp_path / "vectors.npy", embeddings[1:])
    with pytest.raises(ArtifactError, match=r"is of \(6000, 32\) vectors, not \(5999, 32\)"):
        VectorIndex.load(tmp_path / "vectors.npy")


def saved(index: VectorIndex, directory: Path) -> Path:
    index.save(directory / "vectors.npy")
    return directory / "vectors.coarse.npz"


def test_without_faiss_small_catalogues_are_searched_and_large_ones_say_what_they_need(
    monkeypatch, embeddings, indexes, tmp_path
):
    saved(indexes[CoarseEngine.FLAT], tmp_path)
    monkeypatch.setitem(sys.modules, "faiss", None)
    small = VectorIndex.build(embeddings)
    assert small.search(embeddings[5], 1)[0].tolist() == [5]
    assert small.scores_of(embeddings[5], np.array([5])) == pytest.approx([1.0])
    with pytest.raises(MissingDependencyError, match=r"pip install 'intently\[engine\]'"):
        VectorIndex.build(embeddings, CoarseSettings(CoarseEngine.FLAT))
    with pytest.raises(MissingDependencyError, match="faiss"):
        VectorIndex.load(tmp_path / "vectors.npy")


@pytest.mark.parametrize(
    "wrong",
    [
        {"engine": "tree"},
        {"exact_up_to": -1},
        {"exact_up_to": 1.5},
        {"rescored_share": 0},
        {"rescored_share": 1.1},
        {"oversampling": 1},
        {"graph_oversampling": 1},
        {"min_candidates": 0},
        {"piece": 0},
        {"piece": 9},
        {"seed": -1},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        CoarseSettings(**wrong)


def test_progress_is_told_to_its_end(embeddings):
    told: list[tuple[str, int, int, str]] = []
    VectorIndex.build(embeddings, CoarseSettings(CoarseEngine.HNSW), progress=lambda *step: told.append(step))
    assert ("Encoding the vectors", NUM_ADS, NUM_ADS, "") in told
    assert told[-1] == ("Linking the vectors", NUM_ADS, NUM_ADS, "")
    assert isinstance(HnswIndex.build(embeddings[:100]).shape, tuple)
