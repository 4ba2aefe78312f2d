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
    assert not any(unicodedata.category(char) == "Cc" for char in once)


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
        ("a\x00b\tc\u200bd\ufeff", "a b c d"),
        ("  \n ", ""),
        ("e\u0301", "é"),
    ],
)
def test_examples(text, expected):
    assert normalize(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("led 灯", True), ("𠀀", True), ("カタカナ", False), ("", False)])
def test_has_han(text, expected):
    assert has_han(text) is expected
