"""HTML in text becomes text; what only looks like it stays."""

import time

import pyarrow as pa
import pytest

from intently.catalog import Catalog, read_ads
from intently.text.markup import plain_texts
from intently.types import Ad

DECODED = {
    "AT&amp;T": "AT&T",
    "AT&amp;amp;T": "AT&T",
    "Caf&eacute;": "Café",
    "Men&#39;s": "Men's",
    "Men&#x27;s": "Men's",
    "one<br>two<BR/>three": "one two three",
    "<p class='x'>Pan</p>": " Pan ",
    "H<sub>2</sub>O": "H2O",
    "&lt;b&gt;New&lt;/b&gt;": "New",
    "x &lt; y": "x < y",
    "a<!-- b -->c": "a c",
    "a<script>alert(1)</script>c": "a c",
    '<a href="https://x.example/?a=1&b=2">Shop</a>': "Shop",
}
KEPT = [
    "AT&T",
    "R&D",
    "x < y",
    "a<b and c>d",
    "I <3 tea",
    "Q&A;",
    "M&notes",
    "shirt&region",
    "<iPhone>",
    "&#0;",
    "&#27;",
    "锅 & 锅",
]


@pytest.mark.parametrize(("text", "plain"), DECODED.items())
def test_html_becomes_text(text, plain):
    texts, changed = plain_texts(pa.array(["before", text]))
    assert texts.to_pylist() == ["before", plain]
    assert changed.tolist() == [False, True]


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_html_stays(text):
    texts, changed = plain_texts(pa.array([text]))
    assert texts.to_pylist() == [text]
    assert not changed.any()


def test_ads_are_decoded_and_counted(tmp_path):
    path = tmp_path / "ads.tsv"
    path.write_text("ad_id\ttitle\tkeywords\n&amp;\tA&amp;B\tx\nb\tR&D\tp&amp;q|r\nc\tplain\t\n")
    result = read_ads(path)
    assert result.catalog.strings("title") == ["A&B", "R&D", "plain"]
    assert result.catalog.ad(0).ad_id == "&amp;"
    assert result.catalog.ad(1).keywords == ("p&q", "r")
    assert result.num_with_markup == 2
    assert Catalog.from_ads([Ad("a", "A&amp;B")]).ad(0).title == "A&B"


@pytest.mark.parametrize("piece", ["<", "&", "&#", "<b", "<!--", "<script>", "&amp;", "<br>", "&lt;"])
def test_takes_linear_time(piece):
    def seconds(length: int) -> float:
        texts = pa.array([(piece * length)[:length]])
        start = time.process_time()
        plain_texts(texts)
        return time.process_time() - start

    assert seconds(400_000) < 1.0
