"""Reading text takes time in proportion to its length, whatever its characters.

Each function reads a quarter of the longest text that it may get, and all of it, which may take at most 10 times as
long (a quadratic one takes 16 times as long), by the best of several tries. What is over at once is not compared.
"""

import gc
import time
from collections.abc import Callable

import pytest

from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.index.phrases import PhraseTable
from intently.text.analyze import Analyzer
from intently.text.fold import fold, spell_out
from intently.text.markup import plain_text
from intently.text.normalize import has_han, normalize
from intently.text.units import unify_measures

MAX_TEXT_LENGTH, MAX_QUERY_LENGTH = 100_000, 10_000
MAX_RATIO, NUM_TRIES, SECONDS_TO_COMPARE = 10.0, 5, 0.02

ENGLISH = Analyzer()
TEXTS = ["Robot vacuum cleaner", "Wi-Fi router", "drill bits 5 gal.", "红色水壶", "the who shirt 2 in 1"]
INDEX = LexicalIndex.build(TEXTS, LexicalSettings())
TABLE = PhraseTable(("drill bit", "wi fi router", "红色水壶", "the who"), ENGLISH)

FUNCTIONS: dict[str, Callable[[str], object]] = {
    "normalize": normalize,
    "has_han": has_han,
    "plain_text": plain_text,
    "fold": fold,
    "spell_out": spell_out,
    "unify_measures": unify_measures,
    "german measures": lambda text: unify_measures(text, decimal_comma=True),
    "terms": ENGLISH.terms,
    "phrase": ENGLISH.phrase,
    "read": INDEX.reader.read,
    "of_query": lambda text: TABLE.of_query(INDEX.reader.read(text)),
    "build": lambda text: LexicalIndex.build([text], LexicalSettings()),
}
OF_QUERIES = ("read", "of_query")
RARE_HAN = "".join(chr(code) for code in range(0x3400, 0x3400 + 4_000))
UNITS = {
    "digits": "1",
    "numbers": "1 ",
    "letters": "a",
    "words": "ab ",
    "Han": "水壶",
    "rare Han": RARE_HAN,
    "spaces": " ",
    "punctuation": ".",
    "commas": "1,",
    "points": "1.",
    "slashes": "1/",
    "hyphens": "a-",
    "dashes": "1 - ",
    "quotes": '"',
    "apostrophes": "a'",
    "inches": '6" ',
    "open quotes": ' "a',
    "feet and inches": "6'5\"",
    "marks": "e\u0301\u0323",
    "points of Arabic": "كِ",
    "invisible": "\u200b",
    "trade marks": "™",
    "fractions": "½",
    "ampersands": "a & ",
    "entities": "&amp;",
    "broken entities": "&#",
    "tags": "<b ",
    "scripts": "<script>",
    "measures": "5 gal. x ",
    "in": "10 in ",
    "x": "2x",
    "Han units": "5寸",
    "mixed": "a1水-.\"' é™½&<b>5 in. x ",
    "possessives": "a's-",
}


def seconds(function: Callable[[str], object], text: str) -> float:
    gc.disable()  # which looks at all that a process of many tests holds
    try:
        start = time.thread_time()
        function(text)
        return time.thread_time() - start
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", UNITS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_four_times_the_text_takes_about_four_times_as_long(name, kind):
    function, unit = FUNCTIONS[name], UNITS[kind]
    length = MAX_QUERY_LENGTH if name in OF_QUERIES else MAX_TEXT_LENGTH
    long = (unit * (length // len(unit) + 1))[:length]
    function(long[:100])  # tables are made once
    ratios = []
    for _ in range(NUM_TRIES):
        taken = seconds(function, long)
        if taken < SECONDS_TO_COMPARE:
            return
        ratios.append(taken / max(seconds(function, long[: length // 4]), SECONDS_TO_COMPARE / 5))
        if ratios[-1] < MAX_RATIO:
            return
    raise AssertionError(f"{name} takes {min(ratios):.0f} times as long for 4 times the {kind}")


def test_two_thousand_rare_characters_are_read_at_once():
    INDEX.reader.read("水壶")
    assert min(seconds(INDEX.reader.read, RARE_HAN[at : at + 2_000]) for at in range(3)) < 0.25  # 3 seconds, once
