"""Indexes that are joined and thinned out, against ones built of the same ads at once."""

import json
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import ArtifactError
from intently.index.intentions import IntentionIndex
from intently.index.lexical import LexicalIndex, LexicalQuery, LexicalSettings, query_reader
from intently.index.posting_weights import PostingStatistics
from intently.index.postings import Postings
from intently.index.vectors import VectorIndex
from intently.intentions.trie import Trie
from intently.text.analyze import Analyzer
from tests.nearness import near_intentions

NUM_KEYS = 5
rows_strategy = st.lists(st.dictionaries(st.integers(0, NUM_KEYS - 1), st.integers(1, 9).map(float)), max_size=6)


def analyze(indexes: list[LexicalIndex], query: str) -> list[LexicalQuery]:
    """Return a query's known terms for each of several indexes over parts of one catalog."""
    read = query_reader(indexes).read(query)
    return [index.known(read) for index in indexes]


def built(ads: list[dict[int, float]], num_keys: int = NUM_KEYS) -> Postings:
    entries = [(key, row, weight) for row, ad in enumerate(ads) for key, weight in ad.items()]
    keys, rows, weights = np.array(entries).reshape(-1, 3).T
    return Postings.build(keys.astype(np.int64), rows.astype(np.int64), weights, num_keys, len(ads))


def assert_equal(one: Postings, other: Postings) -> None:
    assert one.num_ads == other.num_ads
    for name in ("offsets", "ad_rows", "weights"):
        ours, theirs = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


@settings(deadline=None)
@given(rows_strategy, rows_strategy, st.permutations(range(NUM_KEYS + 2)), st.data())
def test_postings(first, second, keys, data):
    assert_equal(built(first).concatenated(built(second)), built(first + second))
    keys = keys[:NUM_KEYS]
    renamed = [{keys[key]: weight for key, weight in ad.items()} for ad in second]
    joined = built(first).concatenated(built(second), np.array(keys), NUM_KEYS + 2)
    assert_equal(joined, built(first + renamed, NUM_KEYS + 2))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(first), max_size=len(first))), dtype=bool)
    assert_equal(built(first).kept(mask), built([ad for ad, stays in zip(first, mask, strict=True) if stays]))


def test_vectors_grow_and_older_versions_stay():
    rng = np.random.default_rng(0)
    versions = [rng.normal(size=(3, 4)).astype(np.float32)]
    indexes = [VectorIndex(versions[0])]
    for number in (1, 2, 0, 700, 800, 1):
        new = rng.normal(size=(number, 4)).astype(np.float32)
        versions.append(np.concatenate((versions[-1], new)))
        indexes.append(indexes[-1].concatenated(VectorIndex(new)))
    shared = [
        np.shares_memory(one.embeddings, other.embeddings)
        for one, other in pairwise(indexes[1:])
        if len(other.embeddings) <= 1024
    ]
    assert shared == [True, True, True]  # what was there has not been copied
    branch = indexes[1].concatenated(VectorIndex(np.ones((1, 4), dtype=np.float32)))  # not the newest: grows elsewhere
    assert branch.embeddings[-1].tolist() == [1.0] * 4
    for index, expected in zip(indexes, versions, strict=True):
        np.testing.assert_array_equal(index.embeddings, expected)
    mask = np.arange(len(versions[-1])) % 3 == 0
    np.testing.assert_array_equal(indexes[-1].kept(mask).embeddings, versions[-1][mask])


TEXTS = ["Red robot vacuum", "robot robot toy", "", "红色扫地机器人 robot", "electric kettle 1.7 l", "red 红色 水壶"]
QUERIES = ["red robots", "红色机器人 kettle", "toy toy", "vacum ketle", "nothing"]


def scores(indexes: list[LexicalIndex], query: str) -> np.ndarray:
    asked = analyze(indexes, query)
    return np.concatenate([index.scores(one) for index, one in zip(indexes, asked, strict=True)])


@pytest.mark.parametrize("cut", range(len(TEXTS) + 1))
def test_lexical_parts_are_the_whole(cut):
    whole = LexicalIndex.build(TEXTS, LexicalSettings())
    parts = [LexicalIndex.build(texts, LexicalSettings(), whole.statistics) for texts in (TEXTS[:cut], TEXTS[cut:])]
    joined = parts[0].concatenated(parts[1])
    for query in QUERIES:
        expected = whole.scores(whole.analyze(query))
        np.testing.assert_allclose(joined.scores(joined.analyze(query)), expected, rtol=1e-6)
        np.testing.assert_allclose(scores(parts, query), expected, rtol=1e-6)


def test_lexical_index_thinned_out():
    whole = LexicalIndex.build(TEXTS, LexicalSettings())
    for rows in combinations(range(len(TEXTS)), 3):
        mask = np.isin(np.arange(len(TEXTS)), rows)
        thin = whole.kept(mask)
        anew = LexicalIndex.build([TEXTS[row] for row in rows], LexicalSettings(), whole.statistics)
        for query in QUERIES:
            np.testing.assert_allclose(
                thin.scores(thin.analyze(query)), anew.scores(anew.analyze(query)), rtol=1e-6, err_msg=query
            )
            for row in range(3):
                told, expected = (dict(index.explain(index.analyze(query), row)) for index in (thin, anew))
                assert told == pytest.approx(expected)


def test_new_words_are_the_rarest_and_are_known():
    base = LexicalIndex.build(TEXTS, LexicalSettings())
    new = LexicalIndex.build(["robot gizmo"], LexicalSettings(), base.statistics)
    assert scores([base, new], "gizmo").tolist() == pytest.approx(
        [0.0] * len(TEXTS) + [new.scores(new.analyze("gizmo"))[0]]
    )
    assert new.scores(new.analyze("gizmo"))[0] > new.scores(new.analyze("robot"))[0]
    assert [asked.terms for asked in analyze([base, new], "gizmos robto gizmoo")] == [
        ("robot",),
        ("gizmo", "robot"),
    ]


def test_statistics_are_saved(tmp_path):
    base = LexicalIndex.build(TEXTS, LexicalSettings())
    base.save(tmp_path)
    loaded = LexicalIndex.load(tmp_path)
    assert loaded.statistics == base.statistics
    content = json.loads((tmp_path / "terms.json").read_text())
    for damage in ({"num_ads": 3}, {"num_ads": "many", "mean_length": 1, "num_with": []}, [1], "few"):
        (tmp_path / "terms.json").write_text(json.dumps(content | {"statistics": damage}))
        with pytest.raises(ArtifactError, match=r"terms\.json does not hold index terms"):
            LexicalIndex.load(tmp_path)
    del content["statistics"]  # as written before there were any
    (tmp_path / "terms.json").write_text(json.dumps(content))
    old = LexicalIndex.load(tmp_path)
    assert old.statistics is None
    np.testing.assert_array_equal(old.scores(old.analyze("robot")), base.scores(base.analyze("robot")))


def intentions(texts: tuple[str, ...], num_ads: int = 2) -> IntentionIndex:
    ids = np.arange(len(texts))
    postings = Postings.build(ids, ids, 1.0 + ids, len(texts), len(texts))
    statistics, near = PostingStatistics(ids, num_ads, 1.0), near_intentions(np.ones((len(texts), 2)))
    trie = Trie.build([(number,) for number in ids.tolist()])
    return IntentionIndex(texts, trie, postings, Analyzer(), statistics, near)


def test_the_version_is_of_the_texts_in_order():
    one = intentions(("drill", "水壶"))
    assert one.version == intentions(("drill", "水壶"), num_ads=9).version
    assert len({one.version, intentions(("水壶", "drill")).version, intentions(("drill水壶",)).version}) == 3
    assert intentions(("a", "b,c")).version != intentions(("a,b", "c")).version
    assert len(one.version) == 64


def test_what_an_ad_names_itself():
    index = intentions(("drill", "drill bit", "水壶", "saw"))
    assert index.given("Drill bits", ["saws", "水壶", "red saw", "the", ""]).tolist() == [1, 0, 3, 2]
    assert index.given("Saw", ["saw"]).tolist() == [3]
    nothing = index.given("Lamp", [])
    assert (nothing.tolist(), nothing.dtype) == ([], np.int64)
