import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import InputError, SettingsError
from intently.text.lookalikes import NUMERALS, are_lookalikes, fold_lookalikes, misreading_cost
from intently.text.ocr_cleaning import Fate, OcrCleaner, OcrReport, OcrSettings, numbers_of
from intently.text.ocr_lexicon import OcrLexicon
from intently.types import Span

TEXTS = [
    "Robot vacuum cleaner for hardwood floors", "Cordless robot vacuum with docking station",
    "Modern kitchen lamp filter", "Stainless steel electric kettle",
    "Free shipping on all window blinds", "Robot vacuum cleaner, 5 year warranty",
    "扫地机器人 全自动", "扫地机器人 大吸力", "未来牌扫地机器人", "土豆切片机 免费送货", "电热水壶 免费送货",
    "大吸力油烟机 买一送一",
] * 3  # fmt: skip
LEXICON = OcrLexicon.build(TEXTS)


def clean(text, confidence=0.6, repair=None, **changed):
    return OcrCleaner(LEXICON, OcrSettings(**changed), repair).clean(Span(text, confidence))


@pytest.mark.parametrize(
    ("read", "meant"),
    [
        ("r0bot vacuum", "robot vacuum"),  # a digit for a letter
        ("Modem kitchen lamp", "modern kitchen lamp"),  # m for rn
        ("wiridow blinds", "window blinds"),
        ("vvindow blinds", "window blinds"),  # vv for w
        ("corclless robot", "cordless robot"),  # cl for d
        ("5tainless steel", "stainless steel"),
        ("elcctric kettle", "electric kettle"),
        ("e|ectric kettle", "electric kettle"),
        ("ROBOT VACUUN", "robot vacuum"),  # any one letter
        ("robotvacuum cleaner", "robot vacuum cleaner"),  # a lost space
        ("robotvacuurn cleaner", "robot vacuum cleaner"),  # and lookalikes in both words
        ("vac uum cleaner", "vacuum cleaner"),  # a space too many
        ("robot~vacuum", "robot vacuum"),
        ("clean^er", "cleaner"),
        ("木来牌扫地机器入", "未来牌扫地机器人"),
        ("士豆切片机", "土豆切片机"),
        ("大吸刀油烟机", "大吸力油烟机"),
        ("扫地机~器人", "扫地机器人"),
        ("扫地{器人", "扫地机器人"),  # a mark for a character
        ("扫地机器|人 免费送货*", "扫地机器人 免费送货"),
        ("免费迭货", "免费送货"),
        ("elcctric kettle 免费迭货", "electric kettle 免费送货"),
    ],
)
def test_misread_words_are_repaired(read, meant):
    cleaned = clean(read)
    assert (cleaned.text, cleaned.fate) == (meant, Fate.LEXICON)


@pytest.mark.parametrize("text", ["Robot vacuum cleaner", "扫地机器人 免费送货", "5 year warranty"])
def test_known_words_stay_as_they_were_read(text):
    assert clean(text) == clean(text, 0.95).__class__(text, Fate.CONFIRMED)


def test_a_sure_span_is_not_looked_at():
    assert clean("qqq r0bot ¥", 0.9).text == "qqq r0bot ¥"
    assert clean("qqq r0bot ¥", 0.9).fate is Fate.KEPT


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        ("Robot vacuum", 0.29),
        ("|~_·•", 0.6),
        ("$1,299.00", 0.6),
        ("xqzkw jjkwq vacuum", 0.6),
        ("瑸瑹瓂扫地", 0.6),
        ("", 0.6),
    ],
)
def test_what_says_nothing_for_sure_is_dropped(text, confidence):
    assert clean(text, confidence) == clean("", 0.0).__class__("", Fate.DROPPED)


@pytest.mark.parametrize(
    "text",
    ["robot vacuum X5-200", "vacuum 1amp5", "robot 5 0z", "vacuum B00T5", "kettle l0 80", "lamp 12v", "kettle 1,299.00",
     "扫地机器人 5升", "扫地机器人 T8", "robot GU10", "kettle 1kettle"],
)  # fmt: skip
def test_numbers_units_and_codes_are_left_as_they_are(text):
    assert clean(text, min_known=0.3).text == text


def test_a_numeral_is_never_taken_for_another():
    lexicon = OcrLexicon({"二合一套装": 9, "八合一套装": 9, "干衣机": 9})
    for read in ("三合一套装", "九合一套装", "一合二套装"):
        assert all(reading.word != read for reading in lexicon.readings(read))
        assert lexicon.readings(read) == ()
    assert [reading.word for reading in lexicon.readings("入合一套装")] == ["八合一套装"]  # a lookalike
    assert [reading.word for reading in lexicon.readings("千衣机")] == ["干衣机"]
    assert not any(are_lookalikes(a, b) for a in NUMERALS for b in NUMERALS if a != b)


class TestModel:
    def test_is_asked_where_the_lexicon_fails(self):
        asked = []
        cleaned = clean("Roomba cieanur", repair=lambda text: asked.append(text) or "roomba cleaning")
        assert asked == ["roomba cieanur"]
        assert (cleaned.text, cleaned.fate) == ("", Fate.DROPPED)  # 4 edits of 13 characters are too many
        cleaned = clean("Roomba cieanur", repair=lambda text: "Roomba Cleaner")
        assert (cleaned.text, cleaned.fate) == ("roomba cleaner", Fate.MODEL)

    def test_is_not_asked_where_the_lexicon_knows(self):
        assert clean("r0bot vacuum", repair=pytest.fail).fate is Fate.LEXICON
        assert clean("Robot vacuum", repair=pytest.fail).fate is Fate.CONFIRMED
        assert clean("Roomba cieanur", 0.95, repair=pytest.fail).fate is Fate.KEPT
        assert clean("Roomba cieanur", 0.1, repair=pytest.fail).fate is Fate.DROPPED

    @pytest.mark.parametrize(
        ("text", "answer"),
        [
            ("roomba i7 fiIter 20", "roomba i7 filter 30"),
            ("roomba i7 fiIter 20", "roomba i8 filter 20"),
            ("roomba i7 fiIter 20", "roomba i7 filter"),
            ("roomba fiIter set", "roomba filter set 2"),
            ("roomba fiIter for two", "roomba filter for ten"),
            ("roomba fiIter set", ""),
            ("roomba fiIter set", "roomba fiIter set"),  # no better than it was
            ("roomba fiIter set", "roomba fillet set"),
            ("roomba fiIter set", "the corrected line is: roomba filter set"),
            ("科沃斯滤心三个", "科沃斯滤芯四个"),
        ],
    )
    def test_may_not_invent(self, text, answer):
        assert clean(text, repair=lambda _: answer).fate is Fate.DROPPED


def test_a_page_is_its_spans_with_a_report():
    spans = [
        Span("Sale!", 0.99), Span("r0bot vacuum", 0.7), Span("|~|", 0.2), Span("Roomba cieanur", 0.5),
        Span("kettle", 0.5),
    ]  # fmt: skip
    cleaner = OcrCleaner(LEXICON, OcrSettings(), lambda text: text.replace("cieanur", "cleaner"))
    text, report = cleaner.clean_page(spans)
    assert text == "Sale! robot vacuum roomba cleaner kettle"
    assert report == OcrReport(kept=1, confirmed=1, repaired_by_lexicon=1, repaired_by_model=1, dropped=1)
    assert report.recovered == 0.75
    assert report + report == OcrReport(2, 2, 2, 2, 2)
    assert OcrReport().recovered == 0


def test_settings_are_checked():
    with pytest.raises(SettingsError, match=r"'low' is 0.95, above 'high', 0.9"):
        OcrSettings(low=0.95)
    with pytest.raises(SettingsError, match="max_edits"):
        OcrSettings(max_edits=1.5)


def test_a_lexicon_is_saved_and_loaded(tmp_path):
    LEXICON.save(tmp_path / "words.json")
    assert OcrLexicon.load(tmp_path / "words.json").counts == LEXICON.counts
    (tmp_path / "words.json").write_text("[1, 2")
    with pytest.raises(InputError, match=r"words.json: not a lexicon"):
        OcrLexicon.load(tmp_path / "words.json")


def test_rare_words_can_be_left_out():
    lexicon = OcrLexicon.build(["lamp lamp lmap 扫地机器人", "lamp 扫地机器人"], min_count=2)
    assert "lamp" in lexicon
    assert "lmap" not in lexicon
    assert "扫地" in lexicon or "扫地机" in lexicon or "扫地机器人" in lexicon


def slow_cost(read, meant):
    """The slow twin of `misreading_cost`, in whole lookalikes (1) and other edits (2)."""
    if not read or not meant:
        return 2 * len(meant) + sum(1 if char in "~^" else 2 for char in read)
    costs = [
        slow_cost(read[:-1], meant) + (1 if read[-1] in "~^" else 2),
        slow_cost(read, meant[:-1]) + 2,
        slow_cost(read[:-1], meant[:-1])
        + (0 if read[-1] == meant[-1] else 1 if are_lookalikes(read[-1], meant[-1]) else 2),
    ]
    for two, one, rest in ((read, meant, 0), (meant, read, 1)):
        if len(two) > 1 and any(
            pair == (("r", "n"), "m") or pair == (("c", "l"), "d") or pair == (("v", "v"), "w")
            for pair in [((a, b), one[-1]) for a in _alike(two[-2]) for b in _alike(two[-1])]
        ):
            costs.append((slow_cost(read[:-1], meant[:-2]) if rest else slow_cost(read[:-2], meant[:-1])) + 1)
    return min(costs)


def _alike(char):
    return [other for other in "rnmcldvw1e" if are_lookalikes(char, other)]


@settings(max_examples=200, deadline=None)
@given(st.text("rnmcl1de~", max_size=5), st.text("rnmcld", max_size=5))
def test_the_cost_is_that_of_the_cheapest_edits(read, meant):
    assert misreading_cost(read, meant, lookalike=1, other=2) <= slow_cost(read, meant)
    if "n" not in read + meant and "i" not in read + meant:  # the other merged pairs need one of these
        assert misreading_cost(read, meant, lookalike=1, other=2) == slow_cost(read, meant)


@settings(max_examples=200, deadline=None)
@given(st.text("robtvacum01l| ~5扫地机器入人", max_size=20), st.floats(0, 1))
def test_whatever_comes_numbers_stay_and_the_budget_is_kept(text, confidence):
    cleaned = clean(text, confidence, min_known=0.0)
    if cleaned.fate is Fate.LEXICON:
        assert all(code in text for code in numbers_of(cleaned.text))
        assert sum(char.isdigit() for char in cleaned.text) <= sum(char.isdigit() for char in text)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_finds_a_word_by_its_lookalikes_and_one_edit(seed):
    rng = random.Random(seed)
    word = rng.choice([word for word in LEXICON.counts if word.isascii() and len(word) >= 6])
    at = rng.randrange(len(word))
    read = word[:at] + rng.choice(["", "q", "x"]) + word[at + 1 :]
    if read not in LEXICON:
        assert word in [reading.word for reading in LEXICON.nearest(read)]


def test_folding_makes_lookalikes_equal():
    assert fold_lookalikes("r0b0t") == fold_lookalikes("robot")
    assert fold_lookalikes("modem") == fold_lookalikes("modern")
    assert fold_lookalikes("未来机器入") == fold_lookalikes("末来机器人")
    assert fold_lookalikes("robot") != fold_lookalikes("rabbit")
