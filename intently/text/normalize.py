"""One canonical form of text, shared by every stage that compares strings."""

import re
import unicodedata
from functools import cache

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
_HAN = re.compile(f"[{HAN}]")

# Format characters (category Cf), variation selectors and fillers: nobody sees them, so they neither split nor join.
INVISIBLE = (
    "\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_INVISIBLE = re.compile(f"[{INVISIBLE}]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_SPACES = re.compile(r"\s+")
# Trade marks end a word ("Dyson™V15" is "dyson v15"); before a space or a mark they leave nothing behind.
_TRADE_MARK = re.compile(r"[™℠®©℗]+(\w)?")
# Fractions, superscripts and other numbers that composing would glue to a digit: "5½" is not 51/2, "10²" not 102.
_GLUED = "²³¹¼-¾⁰⁴-⁹₀-₉⅐-⅟↉①-⒛⓪"
_GAP = re.compile(rf"(?<=\d)(?=[{_GLUED}])|(?<=[¼-¾⅐-⅞↉])(?=[\d{_GLUED}])|(?<=[{_GLUED}])(?=\d)")
# Written in many ways, read as one. NFKC has already made the no-break and the full-width ones plain.
_VARIANTS = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u05be", "-"),
        **dict.fromkeys("\u2018\u2019\u201b\u02bc\u2032\uff07", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
        "\u2044": "/",
        "\u0130": "i",  # İ; its dot would be a mark of its own
        "\u0131": "i",  # ı, so that "IŞIK" and "ışık" meet
    }
)


def normalize(text: str) -> str:
    """Return `text` in NFKC, case-folded, without invisible characters and trade marks, with single spaces.

    Full-width letters and digits, ligatures and typographic variants become their plain forms, and traditional Chinese
    characters simplified ones, so "ＬＥＤ　燈" and "led 灯" are the same string. Accents stay.
    Idempotent. Cost: linear.
    """
    if text.isascii():
        return _SPACES.sub(" ", _CONTROL.sub(" ", text.lower())).strip()
    text = _GAP.sub(" ", _INVISIBLE.sub("", _TRADE_MARK.sub(_after_trade_mark, text)))
    # Folding can undo composition and composing can undo folding (for a handful of characters), hence NFKC twice.
    folded = unicodedata.normalize("NFKC", text).translate(_VARIANTS).casefold().replace("i\u0307", "i")
    folded = _INVISIBLE.sub("", unicodedata.normalize("NFKC", folded)).translate(_VARIANTS)
    folded = _SPACES.sub(" ", _CONTROL.sub(" ", folded)).strip()
    return folded.translate(_simplified()) if has_han(folded) else folded


def has_han(text: str) -> bool:
    """Return whether `text` contains a Chinese character."""
    return _HAN.search(text) is not None


def _after_trade_mark(found: re.Match[str]) -> str:
    return f" {found[1]}" if found[1] else ""


@cache
def _simplified() -> dict[int, str]:
    """Return the table from traditional Chinese characters to simplified ones. Made once, in 50 ms."""
    from opencc import OpenCC  # here, because most engines never see a Chinese character

    ranges = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0x20000, 0x2FA1E))
    chars = [chr(code) for start, end in ranges for code in range(start, end)]
    convert = OpenCC("t2s").convert
    once = convert("\n".join(chars)).split("\n")
    twice = convert("\n".join(once)).split("\n")
    pairs = zip(chars, once, twice, strict=True)
    return {ord(char): new for char, first, new in pairs if first != char and len(new) == 1 and new == first}
