"""Texts as the words by which keywords and queries are compared, and what differences between them do not count.

Chinese is compared character by character, so that neither blanks nor the places where a segmenter cuts matter. A
*part* is a word: one token of a word of letters, several of a Chinese one.
"""

import re
from dataclasses import dataclass
from functools import cache, lru_cache

from intently.text.analyze import Analyzer
from intently.text.fold import fold
from intently.text.normalize import has_han, normalize

FUNCTION_WORDS = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "but",
        "if",
        "nor",
        "of",
        "for",
        "to",
        "in",
        "into",
        "on",
        "onto",
        "at",
        "by",
        "with",
        "from",
        "as",
        "than",
        "via",
        "per",
        "when",
        "的",
        "了",
        "和",
        "与",
        "及",
        "跟",
        "之",
        "吗",
        "呢",
        "吧",
        "啊",
    ]
)
# "flights to Rome" and "flights from Rome" differ: these words count in exact keywords and phrases, and so does order.
DIRECTION_WORDS = frozenset(("to", "from", "into", "onto", "到", "从", "往", "至"))
# Long forms and what stands for them. Few, and without a second meaning; more is the work of the channels that read.
ABBREVIATIONS = {
    "television": "tv", "televisions": "tv", "tvs": "tv", "air conditioner": "ac", "air conditioning": "ac",
    "personal computer": "pc", "new york city": "nyc", "united states": "usa", "united kingdom": "uk",
    "light emitting diode": "led", "sport utility vehicle": "suv", "global positioning system": "gps",
    "do it yourself": "diy", "bed and breakfast": "b&b", "doctor": "dr", "saint": "st", "street": "st",
    "北京大学": "北大", "清华大学": "清华", "电视机": "电视", "空调器": "空调", "电冰箱": "冰箱",
}  # fmt: skip
_IRREGULAR = {
    "men": "man", "mens": "man", "women": "woman", "womens": "woman", "children": "child", "childrens": "child",
    "feet": "foot", "teeth": "tooth", "geese": "goose", "mice": "mouse", "people": "person", "oxen": "ox",
    "knives": "knife", "wives": "wife", "lives": "life", "shelves": "shelf", "leaves": "leaf", "loaves": "loaf",
    "halves": "half", "wolves": "wolf", "calves": "calf", "scarves": "scarf", "shoes": "shoe", "toes": "toe",
    "movies": "movie", "cookies": "cookie", "ties": "tie", "pies": "pie", "hoodies": "hoodie", "beanies": "beanie",
    "news": "news", "series": "series", "species": "species", "lens": "lens", "gas": "gas", "bus": "bus",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Variants:
    """Differences between a keyword and a query that do not count. All off: only case, width and punctuation do not."""

    plurals: bool = False  # "hose", "hoses"
    stems: bool = False  # "floor", "flooring"
    accents: bool = False  # "café", "cafe"
    misspellings: bool = False  # one letter in one word of at least 5 that nobody knows: "runing shoes"
    abbreviations: bool = False  # "tv", "television"
    function_words: bool = False  # "shoes for men", "shoes men"
    order: bool = False  # of an exact keyword's words: "men shoes", "shoes men"


NO_VARIANTS = Variants()


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as it is compared: T tokens, the words that they were, and the parts that they make."""

    tokens: tuple[str, ...]
    surfaces: tuple[str, ...]  # (T,), "" for a character of Chinese
    parts: tuple[tuple[str, ...], ...]

    @property
    def part_set(self) -> frozenset[tuple[str, ...]]:
        """The different parts."""
        return frozenset(self.parts)


@dataclass(frozen=True, slots=True)
class Readings:
    """A text with all of its words, and without its function words, which may leave nothing."""

    full: Reading
    content: Reading


@lru_cache(maxsize=65_536)
def read(text: str, variants: Variants, stemmer: str = "english") -> Readings:
    """Return a text as it is compared where `variants` do not count. Cost: linear."""
    text = normalize(text)
    if variants.abbreviations:
        text = _long_forms().sub(lambda found: ABBREVIATIONS[found[0]], text)
    analyzer = _analyzer(stemmer)
    words = analyzer.words(text)
    last = len(words) - 1
    content = [
        word
        for place, word in enumerate(words)
        if word not in FUNCTION_WORDS or (place == last and word.isascii())  # "vitamin a" ends in no article
    ]
    return Readings(_reading(words, variants, analyzer), _reading(content, variants, analyzer))


def singular(word: str) -> str:
    """Return the singular of an English word, by its ending: "hoses" is "hose"."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")) or not word.isalpha():
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "zes", "ches", "shes", "oes")):
        return word[:-2]
    return word[:-1]


def are_forms_of_one_word(one: str, other: str, stemmer: str = "english") -> bool:
    """Return whether two words have the same stem, or in English the same singular: "flower", "flowers"."""
    analyzer = _analyzer(stemmer)
    return analyzer.stem(one) == analyzer.stem(other) or (stemmer == "english" and singular(one) == singular(other))


def _reading(words: list[str], variants: Variants, analyzer: Analyzer) -> Reading:
    tokens: list[str] = []
    surfaces: list[str] = []
    parts: list[tuple[str, ...]] = []
    for word in words:
        if has_han(word):
            tokens += word
            surfaces += [""] * len(word)
            parts.append(tuple(word))
            continue
        surface = fold(word) if variants.accents else word
        token = surface
        if variants.plurals and analyzer.stemmer == "english":
            token = singular(token)
        if variants.stems:
            token = analyzer.stem(token)
        tokens.append(token)
        surfaces.append(surface)
        parts.append((token,))
    return Reading(tuple(tokens), tuple(surfaces), tuple(parts))


@cache
def _analyzer(stemmer: str) -> Analyzer:
    return Analyzer(stemmer)


@cache
def _long_forms() -> re.Pattern[str]:
    """Return what matches a long form, the longest first; words of letters only as whole words."""
    longest = sorted(ABBREVIATIONS, key=len, reverse=True)
    return re.compile("|".join(re.escape(form) if has_han(form) else rf"\b{re.escape(form)}\b" for form in longest))
