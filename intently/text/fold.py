"""Letters without their accents, so that "café" and "cafe" are one term."""

import unicodedata
from functools import cache

# Points and accents that a reader may leave out: Latin, Greek and Cyrillic accents, Hebrew and Arabic points. The
# vowel signs of Indian scripts and the like are none: without them a word is another one.
_OPTIONAL_MARKS = (
    (0x0300, 0x036F), (0x0483, 0x0487), (0x0591, 0x05BD), (0x05BF, 0x05C7), (0x0610, 0x061A), (0x064B, 0x065F),
    (0x0670, 0x0670), (0x06D6, 0x06DC), (0x06DF, 0x06E8), (0x06EA, 0x06ED), (0x1AB0, 0x1ACE), (0x1DC0, 0x1DFF),
    (0x20D0, 0x20F0), (0xFE20, 0xFE2F),
)  # fmt: skip
_ACCENTED = ((0x00C0, 0x0250), (0x0370, 0x0400), (0x1E00, 0x2000))  # Latin and Greek letters with their accents
_PLAIN = {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th", "ħ": "h", "ё": "е", "ـ": ""}
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})


def fold(word: str) -> str:
    """Return a normalized `word` without accents and optional points. Letters such as й, which only look like it, stay.

    Cost: linear.
    """
    return word if word.isascii() else word.translate(_table())


def spell_out(word: str) -> str:
    """Return a normalized `word` with German umlauts as two letters: "gürtel" is "guertel"."""
    return word if word.isascii() else word.translate(_UMLAUTS)


@cache
def marks() -> str:
    """Return all combining marks, as the inside of a regular expression's character class. Made once, in 20 ms."""
    category = unicodedata.category
    codes = [code for code in range(0x300, 0x1E950) if category(chr(code))[0] == "M"]
    starts = [code for place, code in enumerate(codes) if not place or codes[place - 1] != code - 1]
    ends = [code for place, code in enumerate(codes) if place + 1 == len(codes) or codes[place + 1] != code + 1]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))


@cache
def _table() -> dict[int, str]:
    table = {code: "" for start, end in _OPTIONAL_MARKS for code in range(start, end + 1)}
    for start, end in _ACCENTED:
        for char in map(chr, range(start, end)):
            plain = "".join(part for part in unicodedata.normalize("NFD", char) if ord(part) not in table)
            if plain != char:
                table[ord(char)] = plain
    return table | {ord(char): plain for char, plain in _PLAIN.items()}
