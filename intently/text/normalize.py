"""One canonical form of text, shared by every stage that compares strings."""

import re
import unicodedata

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060\ufeff]+")
_SPACES = re.compile(r"\s+")
_FRACTION = re.compile("(\\d)(?=[\u00bc-\u00be\u2150-\u215e])")

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"
_HAN = re.compile(f"[{HAN}]")


def normalize(text: str) -> str:
    """Return `text` in NFKC, case-folded, without control characters, with single spaces.

    Full-width letters and digits, ligatures and typographic variants become their plain forms, so "ＬＥＤ　灯" and
    "led 灯" are the same string. Idempotent.
    """
    text = _FRACTION.sub(r"\1 ", text)  # "5½" is five and a half: composed, it would read 51/2
    # Folding can undo composition and composing can undo folding (for a handful of characters), hence NFKC twice.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _SPACES.sub(" ", _CONTROL.sub(" ", folded).replace("\u2044", "/")).strip()


def has_han(text: str) -> bool:
    """Return whether `text` contains a Chinese character."""
    return _HAN.search(text) is not None
