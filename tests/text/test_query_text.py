import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.text.analyze import Analyzer
from intently.text.query_text import STOP_WEIGHT, Correction, QueryReader
from intently.text.spelling import Speller, WordTable

ANALYZER = Analyzer()
COUNTS = {"kettle": 9, "outdoor": 7, "wifi": 5, "router": 5, "bird": 3, "bath": 3, "红色": 3, "水壶": 3, "coffee": 99}
READER = QueryReader(ANALYZER, Speller([WordTable(COUNTS, ANALYZER.stem)], stem=ANALYZER.stem))


def test_a_correction_is_added_and_told():
    read = READER.read("Ketle for Outdor")
    assert read.corrections == (Correction("ketle", ("kettle",)), Correction("outdor", ("outdoor",)))
    assert read.terms == ("ketl", "for", "outdor", "kettl", "outdoor")
    assert read.weights == (1.0, STOP_WEIGHT, 1.0, 1.0, 1.0)
    assert read.readings == (("ketl", "for", "outdor"), ("kettl", "for", "outdoor"))
    assert read.for_models == "ketle kettle for outdor outdoor"
    assert (read.typed, read.normalized, read.key) == ("Ketle for Outdor", "ketle for outdor", "ketle for outdor")
    assert read.words == ("ketle", "for", "outdor")
    assert not read.says_nothing


def test_what_is_right_stays_alone():
    for query in ("kettles", "nike", "KTL2000 ketle9", "红色的水壶"):
        assert READER.read(query).corrections == ()
        assert len(READER.read(query).readings) == 1


@pytest.mark.parametrize(
    ("query", "word", "read_as"),
    [
        ("wi fi router", "wi fi", ("wifi",)),
        ("birdbath", "birdbath", ("bird", "bath")),
        ("红色水壶盖", "水壶盖", ("水壶",)),
    ],
)
def test_joined_and_split_forms(query, word, read_as):
    read = READER.read(query)
    assert [each.read_as for each in read.corrections][-1:] in ([read_as], [])
    assert set(map(ANALYZER.stem, read_as)) <= set(read.terms), word


def test_a_hyphened_word_meets_the_joined_one():
    assert "wifi" in READER.read("wi-fi router").terms


@pytest.mark.parametrize("query", ["", "!!!", "🔥", "\u200b", " ™ ", "&nbsp;", "<br>"])
def test_a_query_that_says_nothing(query):
    read = READER.read(query)
    assert read.says_nothing
    assert read.terms == read.words == read.corrections == ()


@pytest.mark.parametrize("query", ["the who", "it", "the the", "的"])
def test_a_query_of_stop_words_says_something(query):
    read = READER.read(query)
    assert not read.says_nothing
    assert max(read.weights) >= 1.0


def test_without_a_speller_nothing_is_corrected():
    read = QueryReader(ANALYZER).read("ketle &amp; Gürtel™")
    assert read.corrections == ()
    assert read.normalized == read.for_models == "ketle & gürtel"


@settings(max_examples=200, deadline=None)
@given(st.text() | st.text("abek tl-'&19 水壶红的", max_size=30))
def test_reading_twice_is_the_same_and_what_was_read_is_a_fixed_point(query):
    read = READER.read(query)
    assert READER.read(query) == read
    assert READER.read(read.normalized).terms == read.terms or "&" in query or "<" in query
    assert len(read.terms) == len(set(read.terms)) == len(read.weights)
    assert all(read.terms)
    assert set(ANALYZER.terms(read.normalized)) <= set(read.terms)
