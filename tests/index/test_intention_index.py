import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import ArtifactError
from intently.index.intentions import IntentionIndex, PostingSettings, build_postings
from intently.index.postings import Postings
from intently.intentions.trie import Trie
from intently.text.analyze import Analyzer


def index_of(texts: tuple[str, ...]) -> IntentionIndex:
    ids = np.arange(len(texts))
    postings = Postings.build(ids, ids, 1.0 + ids, len(texts), len(texts))
    return IntentionIndex(texts, Trie.build([(number,) for number in ids.tolist()]), postings, Analyzer())


def test_literal_by_hand():
    index = index_of(("drill", "drill bit", "bit", "cordless drill", "红色水壶", "水壶", "5 gal", "saw"))
    assert index.literal("Cordless DRILLS, bits").tolist() == [3, 1, 0, 2]  # longer first, then as they come
    assert index.literal("bits for a drill").tolist() == [2, 0]  # stop words fall away, order stays
    assert index.literal("a drill for bits").tolist() == [1, 0, 2]
    assert index.literal("drill bit drill").tolist() == [1, 0, 2]  # once each
    assert index.literal("买红色的水壶").tolist() == [4, 5]
    assert index.literal("bucket 5-gallon").tolist() == [6]
    assert index.literal("sawdust").tolist() == []
    for nothing in ("", "the", "?!", "unknown 未知"):
        found = index.literal(nothing)
        assert (found.tolist(), found.dtype) == ([], np.int64)


words = st.sampled_from(["red", "pan", "lamp", "锅", "灯"])
phrases = st.lists(words, min_size=1, max_size=4).map(" ".join)


@settings(deadline=None)
@given(st.lists(phrases, min_size=1, max_size=12, unique=True), st.lists(words, max_size=7).map(" ".join))
def test_literal_equals_looking_for_every_intention(texts, query):
    terms = query.split()
    places = {}
    for number, text in enumerate(texts):
        wanted = text.split()
        starts = [at for at in range(len(terms)) if terms[at : at + len(wanted)] == wanted]
        if starts:
            places[number] = (-len(wanted), starts[0])
    assert index_of(tuple(texts)).literal(query).tolist() == sorted(places, key=places.__getitem__)


def test_postings_by_hand():
    # Intention 0 is given to ads 0 and 1, intention 1 to ad 1; 1 was decoded for ad 0, 0 for ad 0, 2 for ad 2.
    given_pairs = np.array([[0, 0], [0, 1], [1, 1]])
    decoded = np.array([[1, 0], [0, 0], [2, 2]])
    log_probs = np.log([0.25, 0.5, 0.75])
    postings = build_postings(given_pairs, decoded, log_probs, 3, 4, PostingSettings(decoded_weight=4.0, idf_power=2.0))
    idf = [math.log(1 + 4 / 3), math.log(1 + 4 / 2), math.log(1 + 4 / 1)]
    expected = {
        (0, 0): idf[0] ** 2 * (1 + 4 * 0.5),
        (0, 1): idf[0] ** 2,
        (1, 0): idf[1] ** 2 * 4 * 0.25,
        (1, 1): idf[1] ** 2,
        (2, 2): idf[2] ** 2 * 4 * 0.75,
    }
    found = {}
    for key in range(3):
        for row, weight in zip(*postings.of(key), strict=True):
            found[key, int(row)] = float(weight)
    assert found == pytest.approx(expected, rel=1e-6)
    assert (postings.num_keys, postings.num_ads) == (3, 4)


def test_postings_without_given_or_decoded_pairs():
    none, no_probs = np.empty((0, 2), dtype=np.int64), np.empty(0)
    only_decoded = build_postings(
        none, np.array([[1, 1]]), np.log([0.5]), 2, 2, PostingSettings(decoded_weight=1.0, idf_power=1.0)
    )
    assert only_decoded.counts().tolist() == [0, 1]
    assert only_decoded.of(1)[1][0] == pytest.approx(0.5 * math.log(3))
    only_given = build_postings(np.array([[0, 1]]), none, no_probs, 2, 2, PostingSettings(idf_power=1.0))
    assert only_given.of(0)[1][0] == pytest.approx(math.log(2))
    assert build_postings(none, none, no_probs, 2, 2, PostingSettings()).counts().tolist() == [0, 0]


def test_what_is_saved_is_loaded(tmp_path):
    index = index_of(("drill bit", "红色水壶"))
    index.save(tmp_path / "new" / "intentions")
    loaded = IntentionIndex.load(tmp_path / "new" / "intentions")
    assert (loaded.texts, loaded.analyzer) == (index.texts, index.analyzer)
    assert loaded.literal("红色水壶 drill bits").tolist() == [1, 0]
    keys, weights = np.array([1, 0]), np.array([0.5, 2.0], dtype=np.float32)
    np.testing.assert_array_equal(loaded.postings.scores(keys, weights), index.postings.scores(keys, weights))
    np.testing.assert_array_equal(loaded.trie.tokens, index.trie.tokens)


@pytest.mark.parametrize(
    "content",
    [
        '{"stemmer": "english", "te',
        "[]",
        '{"texts": ["a"]}',
        '{"stemmer": "english", "texts": 5}',
        '{"stemmer": "klingon", "texts": ["drill bit", "saw"]}',
        '{"stemmer": "english", "texts": "ab"}',
        '{"stemmer": "english", "texts": [1, 2]}',
    ],
)
def test_damaged_texts_are_named(tmp_path, content):
    index_of(("drill bit", "saw")).save(tmp_path)
    (tmp_path / "intentions.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"intentions\.json does not hold intentions"):
        IntentionIndex.load(tmp_path)


@pytest.mark.parametrize("name", ["intentions.json", "intentions.trie", "postings.npz"])
def test_missing_or_foreign_file_is_named(tmp_path, name):
    index_of(("drill bit", "saw")).save(tmp_path)
    (tmp_path / name).write_bytes(b"foreign")
    with pytest.raises(ArtifactError, match=name):
        IntentionIndex.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        IntentionIndex.load(tmp_path)


def test_parts_that_do_not_belong_together(tmp_path):
    index_of(("drill bit", "saw")).save(tmp_path)
    texts = json.dumps({"stemmer": "english", "texts": ["drill bit"]})
    (tmp_path / "intentions.json").write_text(texts)
    with pytest.raises(ArtifactError, match=r"intentions\.json has 1 intentions, the trie 2, the postings 2"):
        IntentionIndex.load(tmp_path)
