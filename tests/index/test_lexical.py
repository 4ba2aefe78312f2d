"""BM25 against the formula, written down term by term."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import ArtifactError, SettingsError
from intently.index.lexical import LexicalIndex, LexicalSettings, query_reader
from intently.text.analyze import Analyzer, Kind
from intently.text.normalize import normalize
from intently.text.query_text import STOP_WEIGHT

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
    """The slow twin: Robertson & Zaragoza's formula, the query's terms counted as often as they occur in it.

    A stop word counts `STOP_WEIGHT` once beside other words, and nothing for the length of an ad.
    """
    of_ads = [Analyzer().indexed(text) for text in texts]
    terms_of = [[token.term for token in tokens] for tokens in of_ads]
    lengths = [sum(token.kind is Kind.CONTENT for token in tokens) for tokens in of_ads]
    average = sum(lengths) / len(texts)
    kinds = {token.term: token.kind for token in Analyzer().tokens(query)}
    asked = [token.term for token in Analyzer().tokens(query)]
    if any(kinds[term] is Kind.CONTENT for term in asked):
        asked = list({term: None for term in asked if kinds[term] is not Kind.CONTENT}) + [
            term for term in asked if kinds[term] is Kind.CONTENT
        ]
        weights = {term: STOP_WEIGHT if kinds[term] is Kind.STOP else 1.0 for term in asked}
    else:
        weights = dict.fromkeys(asked, 1.0)
    scores = [0.0] * len(texts)
    for term in asked:
        containing = sum(term in terms for terms in terms_of)
        idf = math.log(1 + (len(texts) - containing + 0.5) / (containing + 0.5))
        for row, terms in enumerate(terms_of):
            if frequency := terms.count(term):
                length = 1 - b + b * lengths[row] / max(average, 1e-9)
                scores[row] += weights[term] * idf * frequency * (k1 + 1) / (frequency + k1 * length)
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
        assert corrected.reader.read(misspelt).corrections
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
        ("the stainlss ketles", "the stainlss stainless ketles kettles"),  # as ads write it, not its stem
        ("ketle for outdor", "ketle kettle for outdor outdoor"),
        ("Kettle 5-gallon xyzzy", "kettle 5-gallon xyzzy"),  # what is known, or has no correction, stays alone
        ("birdbath", "birdbath bird bath"),
        ("红色的水壶 ketle", "红色的水壶 ketle kettle"),
        ("蓝色水壶", "蓝色水壶"),
        ("  ", ""),
    ],
)
def test_a_query_as_a_model_reads_it(tmp_path, query, read):
    index = LexicalIndex.build(WRITTEN, LexicalSettings())
    assert query_reader([index]).read(query).for_models == read
    index.save(tmp_path)
    assert query_reader([LexicalIndex.load(tmp_path)]).read(query).for_models == read
    assert query_reader([LexicalIndex.build(WRITTEN, PLAIN)]).read(query).for_models == normalize(query)


def test_words_of_ads_that_came_and_went():
    first, second = LexicalIndex.build(WRITTEN, LexicalSettings()), LexicalIndex.build(["Faucets"], LexicalSettings())
    assert query_reader([first]).read("faucetts").for_models == "faucetts"
    assert query_reader([first, second]).read("faucetts ketle").for_models == "faucetts faucets ketle kettle"
    joined = first.concatenated(second)
    assert query_reader([joined]).read("faucetts ketle").for_models == "faucetts faucets ketle kettle"
    kept = joined.kept(np.array([False] * len(WRITTEN) + [True]))
    assert query_reader([kept]).read("faucetts ketle").for_models == "faucetts faucets ketle"


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
        json.dumps(CONTENT | {"words": ["robot", "robots"]}).encode(),
        json.dumps(CONTENT | {"words": {"robot": "1"}}).encode(),
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


def test_stop_words_find_where_there_is_nothing_else():
    index = LexicalIndex.build(["The Who shirt", "IT support", "red lamp", "The The album"], LexicalSettings())
    for query, row in [("the who", 0), ("it", 1), ("the the", 3), ("IT support", 1)]:
        assert np.argmax(index.scores(index.analyze(query))) == row, query
    assert index.scores(index.analyze("!!!")).tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("鞋架", "浴室拖鞋架壁挂式收纳架免打孔"),
        ("饼干", "英国黄油曲奇饼干4种口味"),
        ("沙发套", "弹力全包沙发套罩"),
        ("机架", "手机架"),
    ],
)
def test_a_chinese_word_is_found_where_a_segmenter_cuts_otherwise(query, title):
    index = LexicalIndex.build(["不锈钢电热水壶", title, "red kettle"], PLAIN)
    assert index.scores(index.analyze(query)).argmax() == 1


def test_neighbouring_characters_do_not_lengthen_an_ad():
    index = LexicalIndex.build(["红色水壶", "红色 水壶"], PLAIN)
    scores = index.scores(index.analyze("水壶"))
    assert scores[0] == scores[1] > 0


def test_writings_of_one_word_find_each_other():
    texts = [
        "Wi-Fi router",
        "wife necklace",
        "WLAN Router WiFi",
        "e-bike helmet",
        "T-Shirt",
        "X-Ray film",
        "AT&T phone",
    ]
    index = LexicalIndex.build(texts, LexicalSettings())
    for query, rows in [
        ("wifi router", {0, 2}),
        ("wi fi router", {0, 2}),
        ("wi-fi router", {0, 2}),
        ("ebike", {3}),
        ("e bike", {3}),
        ("tshirt", {4}),
        ("t shirt", {4}),
        ("xray", {5}),
        ("x ray", {5}),
        ("att", {6}),
        ("AT & T", {6}),
    ]:
        scores = index.scores(index.analyze(query))
        assert set(np.flatnonzero(scores > 0.3 * scores.max()).tolist()) == rows, query
    assert index.scores(index.analyze("wifi"))[1] == 0


def test_a_word_written_apart_in_ads_is_found_before_another_is_tried():
    index = LexicalIndex.build(["Wi Fi router", "wife necklace"], LexicalSettings())
    assert np.flatnonzero(index.scores(index.analyze("wifi router"))).tolist() == [0]


def test_a_misspelling_in_one_ad_does_not_hide_the_others():
    index = LexicalIndex.build(["coffe mug", *["coffee mug"] * 40], LexicalSettings())
    scores = index.scores(index.analyze("coffe"))
    assert np.argmax(scores) == 0  # what is literally there stays first
    assert (scores > 0).all()


def test_words_known_elsewhere_are_not_corrected():
    index = LexicalIndex.build(["matted frame"] * 3, LexicalSettings())
    assert query_reader([index]).read("mattel").corrections
    assert not query_reader([index], {"mattel"}).read("mattel").corrections


def test_a_misspelled_title_does_not_switch_correction_off():
    texts = ["vacuum cleaner"] * 60 + ["vaccum hose", "Vacuo pump", "吸尘器"]
    index = LexicalIndex.build(texts, LexicalSettings())
    read = index.reader.read("vaccum cleaner")
    assert {each.word: each.read_as for each in read.corrections} == {"vaccum": ("vacuum",)}
    assert {"vaccum", "vacuum"} <= set(read.terms)
    scores = index.scores(index.known(read))
    assert scores[60] > scores[0] > 0  # who writes it as typed is found, and so are the others
    brands = query_reader([index], frozenset({"vaccum"}))
    assert brands.read("vaccum cleaner").corrections == ()
