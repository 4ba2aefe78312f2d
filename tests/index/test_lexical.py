"""BM25 against the formula, written down term by term."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import ArtifactError, SettingsError
from intently.index.lexical import LexicalIndex, LexicalSettings, corrected
from intently.text.analyze import Analyzer

PLAIN = LexicalSettings(correct_spelling=False)
TEXTS = [
    "Red robot vacuum cleaner",
    "robot robot robot toy",
    "红色扫地机器人 robot",
    "",
    "电热水壶 1.7升 不锈钢",
    "electric kettle 1.7 l stainless steel",
    "drill bits 5 gal. bucket",
]


def bm25(texts: list[str], query: str, k1: float, b: float) -> list[float]:
    """The slow twin: Robertson & Zaragoza's formula, the query's terms counted as often as they occur in it."""
    terms_of = [Analyzer().terms(text) for text in texts]
    average = sum(map(len, terms_of)) / len(texts)
    scores = [0.0] * len(texts)
    for term in Analyzer().terms(query):
        containing = sum(term in terms for terms in terms_of)
        idf = math.log(1 + (len(texts) - containing + 0.5) / (containing + 0.5))
        for row, terms in enumerate(terms_of):
            if frequency := terms.count(term):
                length = 1 - b + b * len(terms) / average
                scores[row] += idf * frequency * (k1 + 1) / (frequency + k1 * length)
    return scores


words = st.sampled_from(
    ["red", "robot", "robots", "vacuum", "the", "5 gal", "2x4", "红色", "机器人", "水壶", "的", "灯"]
)
texts_strategy = st.lists(words, max_size=8).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(texts_strategy, min_size=1, max_size=8),
    texts_strategy,
    st.sampled_from([0.0, 0.9, 2.0]),
    st.sampled_from([0.0, 0.4, 1.0]),
)
def test_equals_the_formula(texts, query, k1, b):
    index = LexicalIndex.build(iter(texts), LexicalSettings(k1, b, correct_spelling=False))
    scores = index.scores(index.analyze(query))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, bm25(texts, query, k1, b), rtol=1e-5)


@pytest.mark.parametrize("query", ["robot robots vacuum", "红色机器人", "5-gallon 电热水壶", "1.7L", "nothing known"])
def test_explanations_add_up(query):
    index = LexicalIndex.build(TEXTS, PLAIN)
    asked = index.analyze(query)
    scores = index.scores(asked)
    np.testing.assert_allclose(scores, bm25(TEXTS, query, 0.9, 0.4), rtol=1e-5)
    for row, score in enumerate(scores):
        told = index.explain(asked, row)
        assert sum(share for _, share in told) == pytest.approx(score, rel=1e-5)
        assert [share for _, share in told] == sorted((share for _, share in told), reverse=True)
        assert {term for term, _ in told} == set(Analyzer().terms(query)) & set(Analyzer().terms(TEXTS[row]))


def test_query_terms_are_distinct_and_counted():
    asked = LexicalIndex.build(TEXTS, PLAIN).analyze("robots unknown red robot 扫地")
    assert asked.terms == ("robot", "red", "扫地")
    assert asked.counts.tolist() == [2.0, 1.0, 1.0]
    assert len(set(asked.term_ids.tolist())) == 3


def test_spelling_is_corrected_unless_told_not_to():
    corrected, plain = (LexicalIndex.build(TEXTS, replace(PLAIN, correct_spelling=on)) for on in (True, False))
    for misspelt, meant in [("robto vacum", "robot vacuum"), ("robotvacuum", "robot vacuum"), ("ketle", "kettle")]:
        assert corrected.analyze(misspelt).terms == corrected.analyze(meant).terms == plain.analyze(meant).terms
        assert plain.scores(plain.analyze(misspelt)).max() == 0
        assert corrected.scores(corrected.analyze(misspelt)).max() > 0


WRITTEN = [
    "Stainless kettles",
    "two kettles",
    "one kettle",
    "outdoor vanity 红色水壶",
    "5 gal. paint",
    "Bird bath valve",
]


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("the stainlss ketle", "the stainless kettles"),  # as ads write it most often, not its stem
        ("ketle for outdor", "kettles for outdoor"),
        ("Kettle 5-gallon xyzzy", "Kettle 5-gallon xyzzy"),  # what is known, or has no correction, stays as it is
        ("birdbath", "bird bath"),
        ("红色的水壶 ketle", "红色的水壶 kettles"),
        ("蓝色水壶", "蓝色水壶"),
        ("  ", ""),
    ],
)
def test_a_query_as_a_model_reads_it(tmp_path, query, read):
    index = LexicalIndex.build(WRITTEN, LexicalSettings())
    assert corrected([index], query) == read
    index.save(tmp_path)
    assert corrected([LexicalIndex.load(tmp_path)], query) == read
    assert corrected([LexicalIndex.build(WRITTEN, PLAIN)], query) == query


def test_words_of_ads_that_came_and_went():
    first, second = LexicalIndex.build(WRITTEN, LexicalSettings()), LexicalIndex.build(["Faucets"], LexicalSettings())
    assert corrected([first], "faucetts") == "faucetts"
    assert corrected([first, second], "faucetts ketle") == "faucets kettles"
    joined = first.concatenated(second)
    assert corrected([joined], "faucetts ketle") == "faucets kettles"
    kept = joined.kept(np.array([False] * len(WRITTEN) + [True]))
    assert corrected([kept], "faucetts ketle") == "faucets ketle"


@pytest.mark.parametrize("texts", [[], ["", ""], ["the 的"]])
def test_nothing_to_index(texts, tmp_path):
    index = LexicalIndex.build(texts, PLAIN)
    assert index.scores(index.analyze("robot 机器人")).tolist() == [0.0] * len(texts)
    index.save(tmp_path)
    assert LexicalIndex.load(tmp_path).scores(index.analyze("robot")).tolist() == [0.0] * len(texts)


def test_what_is_saved_scores_the_same(tmp_path):
    index = LexicalIndex.build(TEXTS, LexicalSettings(1.2, 0.75, "german"))
    index.save(tmp_path / "new" / "lexical")
    loaded = LexicalIndex.load(tmp_path / "new" / "lexical")
    assert loaded.settings == index.settings
    for query in ("robto", "红色机器人 1.7L", "Kettles"):
        assert loaded.analyze(query).terms == index.analyze(query).terms
        np.testing.assert_array_equal(loaded.scores(loaded.analyze(query)), index.scores(index.analyze(query)))


CONTENT = {"settings": {"k1": 0.9}, "terms": ["robot"]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"settings": {}, "terms": ["rob',
        b"\xff",
        b"[]",
        b"{}",
        json.dumps(CONTENT | {"settings": {"k9": 1}}).encode(),
        json.dumps(CONTENT | {"settings": None}).encode(),
        json.dumps(CONTENT | {"settings": {"k1": "high"}}).encode(),
        json.dumps(CONTENT | {"settings": {"stemmer": "klingon"}}).encode(),
        json.dumps(CONTENT | {"terms": "robot"}).encode(),
        json.dumps(CONTENT | {"terms": [["robot"]]}).encode(),
        json.dumps(CONTENT | {"written": ["robot", "robots"]}).encode(),
        json.dumps(CONTENT | {"written": [1]}).encode(),
    ],
)
def test_damaged_terms_are_named(tmp_path, content):
    LexicalIndex.build(TEXTS, PLAIN).save(tmp_path)
    (tmp_path / "terms.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"terms\.json does not hold index terms"):
        LexicalIndex.load(tmp_path)


def test_terms_and_postings_that_do_not_belong_together(tmp_path):
    LexicalIndex.build(TEXTS, PLAIN).save(tmp_path)
    (tmp_path / "terms.json").write_text(json.dumps(CONTENT))
    with pytest.raises(ArtifactError, match=r"terms\.json has 1 terms, the postings \d+"):
        LexicalIndex.load(tmp_path)


@pytest.mark.parametrize("name", ["terms.json", "postings.npz"])
def test_missing_file_is_named(tmp_path, name):
    LexicalIndex.build(TEXTS, PLAIN).save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        LexicalIndex.load(tmp_path)


def test_unknown_stemmer():
    with pytest.raises(SettingsError, match="klingon"):
        LexicalIndex.build(TEXTS, LexicalSettings(stemmer="klingon"))
