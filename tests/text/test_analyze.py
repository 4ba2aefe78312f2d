import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import SettingsError
from intently.text.analyze import Analyzer, Kind
from intently.text.normalize import HAN, normalize

ANALYZER = Analyzer()


@pytest.mark.parametrize(
    ("terms", "spellings"),
    [
        (["5", "gal"], ["5 gal.", "5-gallon", "5gallon", "5 Gallons", "５　ＧＡＬ", "5加仑", "5 加仑"]),
        (["6", "inch"], ['6"', "6 in", "6in.", "6-inch", "6''", "6”", "6 INCHES", "6英寸", "6寸"]),
        (["6", "ft"], ["6'", "6′", "6 ft.", "6-foot", "6feet", "6英尺"]),
        (["2", "4", "8"], ["2x4x8", "2 x 4 x 8", "2×4×8", "2*4*8", "2 by 4 by 8", "2X4X8"]),
        (["2", "inch", "4", "inch", "8"], ["2 in. x 4 in. x 8", '2" x 4" x 8', "2英寸 x 4英寸 x 8"]),
        (["10", "sqft"], ["10 sq. ft.", "10 sqft", "10 sq feet", "10平方英尺"]),
        (["10", "cuft"], ["10 cu. ft.", "10 cuft", "10 cu feet"]),
        (["1000", "w"], ["1,000 w", "1000 watts", "1000W", "1000瓦"]),
        (["5", "kg"], ["5kg", "5 kilograms", "5公斤", "5千克", "5㎏"]),
        (["1/2", "inch"], ["1/2 in.", "1/2-inch", '1/2"']),
        (["1.5", "l"], ["1.5 l", "1.5 liters", "1.5升", "1.5 litre"]),
        (["drill", "bit"], ["drill bits", "Drill Bit", "a drill for bits", "drilling bits"]),
        (["red", "lamp"], ["the red lamp", "red, lamp!", "RED-LAMP", "red lamps"]),
        (["led", "12", "v"], ["led12v", "LED 12V", "ＬＥＤ１２Ｖ", "led 12 volts"]),
        (["5000", "mah"], ["5000mAh", "5,000 mah", "5000毫安"]),
    ],
)
def test_spellings_of_one_thing(terms, spellings):
    for spelling in spellings:
        assert ANALYZER.terms(spelling) == terms, spelling


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("扫地机器人", ["扫地", "机器人"]),
        ("LED灯12W", ["led", "灯", "12", "w"]),
        ("iphone15pro", ["iphone", "15", "pro"]),
        ("红色的水壶", ["红色", "的", "水壶"]),
        ("6 in stock inks", ["6", "in", "stock", "inks"]),  # a preposition
        ("4 in pipe", ["4", "inch", "pipe"]),  # an abbreviation after a number is a unit
        ("5000毫安时电池", ["5000", "mah", "电池"]),
        ("in 6 innings", ["in", "6", "innings"]),  # the start of a word is not
        ("...!?，。", []),
        ("", []),
    ],
)
def test_words(text, words):
    assert ANALYZER.words(text) == words


def test_stop_words_are_left_out_of_terms_only():
    assert ANALYZER.words("the lamp for 我的 家") == ["the", "lamp", "for", "我", "的", "家"]
    assert ANALYZER.terms("the lamp for 我的 家") == ["lamp", "我", "家"]
    assert ANALYZER.terms("of the 的") == ["of", "the", "的"]  # there is nothing else


def test_stemming_follows_the_language():
    assert Analyzer("english").terms("running shoes") == ["run", "shoe"]
    assert Analyzer("german").terms("Lampen") == ["lamp"]
    assert Analyzer("english").phrase("shoes 水壶") == [("shoes", "shoe"), ("水壶", "水壶")]


def test_unknown_stemmer():
    with pytest.raises(SettingsError, match=r"'klingon' is unknown; choose one of .*english"):
        Analyzer("klingon")


@settings(max_examples=200, deadline=None)
@given(st.text() | st.text("0123456789ab灯水壶 .,/x'\"″½-", max_size=25))
def test_words_never_mix_numbers_letters_and_chinese(text):
    words = ANALYZER.words(text)
    assert words == ANALYZER.words(normalize(text))
    for word in words:
        number, han = re.fullmatch(r"\d+([./]\d+)?", word), re.fullmatch(f"[{HAN}]+", word)
        assert number or han or not re.search(rf"[\s\d_{HAN}]", word), word
    assert [word for word, _ in ANALYZER.phrase(text)] == words
    assert all(ANALYZER.terms(text)) or not words
    assert bool(words) == bool(ANALYZER.tokens(text))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("6″", "6 in"),
        ("½ in", "1/2 in"),
        ("5½ in", "5 1/2 in"),
        ("1,000w", "1000 w"),
        ("10,000mAh", "10000 mah"),
        ("5000毫安时", "5000mah"),
    ],
)
def test_spellings_that_should_be_one(written, meant):
    assert ANALYZER.terms(written) == ANALYZER.terms(meant)


def test_search_terms_also_hold_the_parts_of_chinese_words():
    assert ANALYZER.terms("扫地机器人") == ["扫地", "机器", "机器人"]
    assert [word for word, _ in ANALYZER.phrase("扫地机器人")] == ["扫地", "机器人"]


def test_of_ads_neighbouring_chinese_characters_are_indexed_too():
    found = ANALYZER.indexed("浴室拖鞋架的套 led灯")
    assert found[: len(ANALYZER.tokens("浴室拖鞋架的套 led灯"))] == ANALYZER.tokens("浴室拖鞋架的套 led灯")
    added = [token.term for token in found[len(ANALYZER.tokens("浴室拖鞋架的套 led灯")) :]]
    assert added == ["室拖", "鞋架"]
    assert ANALYZER.indexed("red kettle 5 gal") == ANALYZER.tokens("red kettle 5 gal")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Dyson™ V15®", "dyson v15"),
        ("head\u00adphones", "headphones"),
        ("café L'Oréal Pokémon", "cafe L’Oreal pokemon"),
        ("貓糧 窗簾", "猫粮 窗帘"),
        ("כֶּלֶב كِتَاب", "כלב كتاب"),
        ("mother's day", "mother day"),
        (".5 mm", "0.5 mm"),
        ("5\u2011gallon 5–gallon", "5 gal 5 gal"),
        ("1,7 l", "1.7 l"),
        ("5 metres 5 meters 5米", "5m 5 m 5 m"),
        ("1,234,567", "1234567"),
        ("012345678905", "12345678905"),
        ("00012345678905", "012345678905"),
        ("AT & T", "AT&T"),
        ('6" x 4"', "6 in. 4 in."),
    ],
)
def test_variants_of_writing_meet(written, meant):
    assert ANALYZER.terms(written) == ANALYZER.terms(meant)
    assert [stem for _, stem in ANALYZER.phrase(written)] == [stem for _, stem in ANALYZER.phrase(meant)]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("2 Gürtel", ["2", "gurtel"]),
        ("2 gурт", ["2", "gурт"]),
        ("3克拉钻戒", ["3", "克拉", "钻戒"]),
        ("2022安踏跑鞋", ["2022", "安踏", "跑鞋"]),
        ("500g大米", ["500", "g", "大米"]),
        ('"iphone 15"', ["iphon", "15"]),
        ("'iphone 15'", ["iphon", "15"]),
        ("“双11”大促", ["双", "11", "大促"]),
        ("size 10 in white", ["size", "10", "white"]),
        ("2 in 1", ["2", "1"]),
        ("2in1", ["2", "1"]),
        ("2 a day", ["2", "day"]),
        ("5 in", ["5", "inch"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("!!! 🔥 \u200b", []),
    ],
)
def test_what_is_no_unit_and_no_end_of_a_word(text, terms):
    assert ANALYZER.terms(text) == terms


@pytest.mark.parametrize("stemmer", ["german", "english"])
def test_an_umlaut_meets_its_two_spellings(stemmer):
    terms = [{token.term for token in Analyzer(stemmer).tokens(word)} for word in ("Gürtel", "Gurtel", "Guertel")]
    assert terms[0] & terms[1]
    assert terms[0] & terms[2]


def test_german_thousands():
    assert Analyzer("german").terms("1.000 W") == ["1000", "w"]
    assert ANALYZER.terms("1.000 W") == ["1.000", "w"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("AT&T", ["at&t"]),
        ("H&M", ["h&m"]),
        ("IT support", ["it", "support"]),
        ("iPhone X", ["iphone", "x"]),
        ("the who", ["the", "who"]),
        ("3M", ["3", "m"]),
        ("vitamin a", ["vitamin", "a"]),
        ("black & decker", ["black", "decker"]),
    ],
)
def test_identity_keeps_all_words(text, words):
    assert ANALYZER.words(text) == [word for word, _ in ANALYZER.phrase(text)] == words
    assert ANALYZER.terms(text)


@pytest.mark.parametrize(
    ("hyphened", "joined"),
    [("wi-fi", "wifi"), ("e-bike", "ebike"), ("x-ray", "xray"), ("t-shirt", "tshirt"), ("AT&T", "att"), ("H&M", "hm")],
)
def test_a_compound_is_also_indexed_as_one_word(hyphened, joined):
    assert ANALYZER.terms(joined)[0] in {token.term for token in ANALYZER.tokens(hyphened)}


def test_variants_do_not_count_as_words_of_their_own():
    kinds = [(token.word, token.kind) for token in ANALYZER.tokens("the self-adhesive")]
    expected = [("the", Kind.STOP), ("self", Kind.CONTENT), ("adhesive", Kind.CONTENT), ("selfadhesive", Kind.VARIANT)]
    assert kinds == expected
