import json
from dataclasses import replace

import numpy as np
import pytest

from intently.errors import ArtifactError
from intently.index.intentions import IntentionIndex
from intently.index.posting_weights import PostingStatistics
from intently.index.postings import Postings
from intently.intentions.trie import Trie
from intently.text.analyze import Analyzer
from tests.nearness import near_intentions


def index_of(texts: tuple[str, ...]) -> IntentionIndex:
    ids = np.arange(len(texts))
    postings = Postings.build(ids, ids, 1.0 + ids, len(texts), len(texts))
    near = near_intentions(np.linspace(0, 1, 3 * len(texts)).reshape(len(texts), 3))
    trie = Trie.build([(number,) for number in ids.tolist()])
    return IntentionIndex(texts, trie, postings, Analyzer(), PostingStatistics(ids, 7, 1.5), near)


def test_a_query_is_looked_through_with_its_spelling_corrected():
    index = index_of(("drill bit", "cordless drill", "saw", "红色水壶"))
    assert index.literal("cordlss dril bits").tolist() == [1, 0]
    assert index.literal("买红色的水壶").tolist() == [3]
    assert index.literal("lamp").tolist() == []


def test_an_ad_names_itself_as_it_is_written():
    index = index_of(("drill bit", "cordless drill", "saw", "红色水壶"))
    assert index.given("Dril bits", ["cordlss drill", "SAWS", "saw blade"]).tolist() == [2]  # nothing is corrected
    assert index.given("saw: drill bits", ["red saw", "红色 水壶", "saw"]).tolist() == [0, 2, 3]


def test_what_is_saved_is_loaded(tmp_path):
    index = index_of(("drill bit", "红色水壶"))
    index.save(tmp_path / "new" / "intentions")
    loaded = IntentionIndex.load(tmp_path / "new" / "intentions")
    assert (loaded.texts, loaded.analyzer) == (index.texts, index.analyzer)
    assert loaded.literal("红色水壶 drill bits").tolist() == [1, 0]
    keys, weights = np.array([1, 0]), np.array([0.5, 2.0], dtype=np.float32)
    np.testing.assert_array_equal(loaded.postings.scores(keys, weights), index.postings.scores(keys, weights))
    np.testing.assert_array_equal(loaded.trie.tokens, index.trie.tokens)
    for name, value in vars(index.statistics).items():
        np.testing.assert_array_equal(getattr(loaded.statistics, name), value)
    np.testing.assert_array_equal(loaded.near.vectors.embeddings, index.near.vectors.embeddings)
    assert loaded.near.guidance == index.near.guidance


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


FILES = ("intentions.json", "intentions.trie", "postings.npz", "statistics.npz", "embeddings.npy", "guidance.json")


@pytest.mark.parametrize("name", FILES)
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
    with pytest.raises(
        ArtifactError, match=r"intentions\.json has 1 intentions, the postings 2, the trie 2, the embeddings 2"
    ):
        IntentionIndex.load(tmp_path)


TEXTS = ("drill bit", "Wi-Fi router", "wifi router", "drill  bits", "红色水壶", "红色的水壶", "café", "t shirt", "!")


@pytest.mark.parametrize("stemmer", ["english", "german"])
def test_what_was_stored_of_the_texts_finds_what_the_texts_do(tmp_path, stemmer, monkeypatch):
    index = replace(index_of(TEXTS), analyzer=Analyzer(stemmer))
    index.save(tmp_path)
    content = json.loads((tmp_path / "intentions.json").read_text(encoding="utf-8"))
    with monkeypatch.context() as patch:
        patch.setattr(Analyzer, "phrase", lambda *_: pytest.fail("texts were analysed again"))
        patch.setattr(IntentionIndex, "literal", lambda *_: None)  # which reads a query
        stored = IntentionIndex.load(tmp_path)
        assert stored.phrases.made_of == index.phrases.made_of
    del content["phrases"]  # as in older generations
    (tmp_path / "intentions.json").write_text(json.dumps(content), encoding="utf-8")
    older = IntentionIndex.load(tmp_path)
    for query in ("wi fi router", "red drill bits", "dril bit", "红色水壶 cafe", "t-shirt", "wifirouter", "水壶"):
        expected = index.literal(query).tolist()
        assert stored.literal(query).tolist() == older.literal(query).tolist() == expected
        assert stored.given(query, [query]).tolist() == index.given(query, [query]).tolist()


@pytest.mark.parametrize(
    "phrases",
    [
        {"ids": [[2, "saw"]], "words": {}, "pairs": []},
        {"ids": [[-1, "saw"]], "words": {}, "pairs": []},
        {"ids": [["x", "saw"]], "words": {}, "pairs": []},
        {"ids": [], "words": 3, "pairs": []},
        {"ids": [], "words": {}, "pairs": [[1, "a"]]},
        {"ids": []},
        [],
        None,
    ],
)
def test_stored_phrases_that_are_none_are_named(tmp_path, phrases):
    index_of(("drill bit", "saw")).save(tmp_path)
    content = json.loads((tmp_path / "intentions.json").read_text()) | {"phrases": phrases}
    (tmp_path / "intentions.json").write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match=r"intentions\.json does not hold intentions"):
        IntentionIndex.load(tmp_path)


def test_without_what_models_need(tmp_path):
    index = replace(index_of(("drill bit", "红色水壶")), trie=None, near=None)
    index.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"intentions.json", "postings.npz", "statistics.npz"}
    loaded = IntentionIndex.load(tmp_path, for_models=False)
    assert (loaded.texts, loaded.trie, loaded.near) == (index.texts, None, None)
    assert loaded.literal("红色水壶 drill bits").tolist() == [1, 0]
    with pytest.raises(ArtifactError, match=r"intentions\.trie"):
        IntentionIndex.load(tmp_path)


def test_statistics_of_another_vocabulary(tmp_path):
    index_of(("drill bit", "saw")).save(tmp_path)
    index_of(("drill bit", "saw", "lamp")).statistics.save(tmp_path / "statistics.npz")
    with pytest.raises(ArtifactError, match=r"statistics\.npz does not hold statistics of 2 intentions"):
        IntentionIndex.load(tmp_path)
