import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from intently.text.normalize import has_han, normalize

any_text = st.text(st.characters(exclude_categories=[]))  # lone surrogates and unassigned characters included


@given(any_text)
@example("ᾳ\u0345\u0301")  # an iota below that folds into a letter
@example("ﷺ \u200b\u0301\ufeff")
@example("İ ẞ ﬁ ǰ")
def test_idempotent_and_clean(text):
    once = normalize(text)
    assert normalize(once) == once
    assert once == once.strip()
    assert "  " not in once
    assert not any(unicodedata.category(char) in ("Cc", "Cf") for char in once)


@given(any_text)
def test_the_form_of_unicode_does_not_matter(text):
    for form in ("NFC", "NFD"):  # the compatible forms lose where "5½" had its gap
        assert normalize(unicodedata.normalize(form, text)) == normalize(text)


@pytest.mark.parametrize("separator", ["", "x"])
def test_every_character_is_stable(separator):
    once = normalize(separator.join(map(chr, range(0x110000))))
    assert normalize(once) == once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ＬＥＤ　灯", "led 灯"),
        ("１２Ｖ", "12v"),
        ("ﬁne", "fine"),
        ("Straße", "strasse"),
        ("5\u00a0㎏", "5 kg"),
        ("a\x00b\tc\u200bd\ufeff", "a b cd"),
        ("  \n ", ""),
        ("e\u0301", "é"),
        ("Dyson™", "dyson"),
        ("Dyson™V15", "dyson v15"),
        ("Apple® Watch©, iRobot℠.", "apple watch, irobot."),
        ("head\u00adphones wi\u2060fi \u2068hose\u2069 ©\ufe0f", "headphones wifi hose"),
        ("İstanbul IŞIK ışık", "istanbul işik işik"),
        ("5½ 10² ½½ m²", "5 1/2 10 2 1/2 1/2 m2"),
        ("貓糧 窗簾 電動自行車", "猫粮 窗帘 电动自行车"),
        ("5‑gallon 5–6 5−6", "5-gallon 5-6 5-6"),
        ("L’Oréal “11”", 'l\'oréal "11"'),
    ],
)
def test_examples(text, expected):
    assert normalize(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("led 灯", True), ("𠀀", True), ("カタカナ", False), ("", False)])
def test_has_han(text, expected):
    assert has_han(text) is expected


def test_invisible_characters_neither_split_nor_join():
    for char in map(chr, range(0x110000)):
        if unicodedata.category(char) == "Cf" or "VARIATION SELECTOR" in unicodedata.name(char, ""):
            assert normalize(f"a{char}b {char} c") == "ab c", hex(ord(char))


def test_every_traditional_character_is_stable_and_one_character():
    for char in map(chr, range(0x4E00, 0xA000)):
        once = normalize(char)
        assert len(once) == 1
        assert normalize(once) == once
