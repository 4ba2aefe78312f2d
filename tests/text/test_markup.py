import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.text.markup import plain_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AT&amp;T AT&T R&D A&T; x&y", "AT&T AT&T R&D A&T; x&y"),
        ("&eacute;t&eacute; &#39;x&#39; &#x41;", "été 'x' A"),
        ("&amp;amp;eacute; &amp;amp;T", "é &T"),
        ("a<br>b<br />c", "a b c"),
        ("un<b>break</b>able", "unbreakable"),
        ("<p class='x'>Hose</p>", " Hose "),
        ("a < b > c, x<y>z", "a < b > c, x<y>z"),
        ("&notit; &copyright", "&notit; &copyright"),
        ("a<script>x < 5</script>b<style>c", "a b<style>c"),
        ("&lt;br&gt;", " "),
    ],
)
def test_examples(text, expected):
    assert plain_text(text) == expected


@given(st.text().filter(lambda text: "&" not in text and "<" not in text))
def test_text_without_markup_stays(text):
    assert plain_text(text) == text
