"""Finding phrases in texts, against looking for every one of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.index.phrases import PhraseTable
from intently.text.analyze import Analyzer

TEXTS = ("drill", "drill bit", "bit", "cordless drill", "红色水壶", "水壶", "5 gal", "saw")


def table_of(texts) -> PhraseTable:
    return PhraseTable(tuple(texts), Analyzer())


@pytest.mark.parametrize("correct_spelling", [False, True])
def test_within_by_hand(correct_spelling):
    table = table_of(TEXTS)

    def within(text: str) -> list[int]:
        return table.within(text, correct_spelling=correct_spelling).tolist()

    assert within("Cordless DRILLS, bits") == [3, 1, 0, 2]  # longer first, then as they come
    assert within("bits for a drill") == [2, 0]  # stop words fall away, order stays
    assert within("a drill for bits") == [1, 0, 2]
    assert within("drill bit drill") == [1, 0, 2]  # once each
    assert within("买红色的水壶") == [4, 5]
    assert within("bucket 5-gallon") == [6]
    assert within("sawdust") == []
    for nothing in ("", "the", "?!", "unknown 未知"):
        found = table.within(nothing, correct_spelling=correct_spelling)
        assert (found.tolist(), found.dtype) == ([], np.int64)


def test_exact_by_hand():
    table = table_of(TEXTS)
    for text, expected in [
        ("drill", 0),
        ("DRILLS", 0),
        ("the DRILLS", None),  # identity keeps all words
        ("bits drill", None),  # another order
        ("drill for bits", None),
        ("红色的水壶", 4),
        ("红色 水壶", 4),
        ("5-gallon", 6),
        ("drill bit saw", None),
        ("dril", None),  # nothing is corrected
        ("", None),
        ("the", None),
    ]:
        assert table.exact(text) == expected, text


def test_spelling_is_corrected_only_if_asked_for():
    table = table_of(("drill bit", "garden hose", "红色水壶", "水壶"))
    for text, expected in [
        ("drilll bits", [0]),  # a doubled letter
        ("gardn hose reel", [1]),
        ("drillbit", [0]),  # a compound is split
        ("红色水壶盖", [2, 3]),
    ]:
        assert table.within(text, correct_spelling=True).tolist() == expected, text
    for text in ("drilll bits", "gardn hose reel", "drillbit"):
        assert table.within(text).tolist() == [], text
    assert table.within("drill bits", correct_spelling=True).tolist() == [0]


def test_no_phrases():
    table = table_of(())
    assert table.exact("drill") is None
    assert table.within("drill bits", correct_spelling=True).tolist() == []


words = st.sampled_from(["red", "pan", "lamp", "锅", "灯"])
phrases = st.lists(words, min_size=1, max_size=4).map(" ".join)
misspelt = st.sampled_from(["red", "pan", "lamp", "lmap", "lampe", "pans", "锅", "灯", "redlamp", "new"])


def looked_for(texts: list[list[str]], terms: list[str]) -> list[int]:
    """The slow twin: look for every phrase at every place."""
    places = {}
    for number, wanted in enumerate(texts):
        starts = [at for at in range(len(terms)) if terms[at : at + len(wanted)] == wanted]
        if starts:
            places[number] = (-len(wanted), starts[0])
    return sorted(places, key=places.__getitem__)


@settings(deadline=None)
@given(st.lists(phrases, min_size=1, max_size=12, unique=True), st.lists(words, max_size=7).map(" ".join))
def test_within_equals_looking_for_every_phrase(texts, query):
    table = table_of(texts)
    expected = looked_for([text.split() for text in texts], query.split())
    assert table.within(query).tolist() == expected
    for number, text in enumerate(texts):
        assert table.exact(text) == number


@settings(deadline=None)
@given(st.lists(phrases, min_size=1, max_size=12, unique=True), st.lists(misspelt, max_size=7).map(" ".join))
def test_correcting_also_finds_what_is_there_as_typed(texts, query):
    table = table_of(texts)
    assert set(table.within(query).tolist()) <= set(table.within(query, correct_spelling=True).tolist())


def test_the_first_of_equal_phrases_is_found():
    table = PhraseTable(("drill bits", "drill bit"), Analyzer())
    assert (table.exact("Drill Bit"), table.exact("")) == (0, None)
    assert table.within("the drill bit").tolist() == [0]


def test_phrases_are_all_their_words():
    texts = ("AT&T", "IT support", "iPhone X", "the who", "H&M", "3M", "vitamin a", "t", "support", "who", "iphone")
    table = table_of(texts)
    for number, text in enumerate(texts):
        assert table.exact(text.upper()) == number
        assert number in table.within(f"buy {text} now").tolist()
    assert table.exact("att store") is None
    assert table.within("AT&T").tolist() == [0]


def test_a_query_is_looked_up_as_it_was_read():
    index = LexicalIndex.build(["Wi-Fi router", "Drill bits", "Drill bit set", "Coffee kettles"], LexicalSettings())
    table = table_of(("wi fi router", "wifi", "drill bit", "kettle"))
    for query, expected in [
        ("wi fi router", [0, 1]),
        ("wifi router", [0, 1]),
        ("Wi-Fi", [1]),
        ("drillbit", [2]),
        ("ketles", [3]),
        ("", []),
    ]:
        found = table.of_query(index.reader.read(query)).tolist()
        assert set(expected) <= set(found), (query, found)
