"""Text to lexical terms: what the BM25 index counts and what a query is matched by.

Catalogues and queries write the same thing in many ways: "5 gal.", "5-gallon", "5gallon"; "2x4x8" and "2 in. x 4 in. x
8 ft."; 扫地机器人 without a space. The analyzer splits letters from digits, gives units one spelling, stems what is
Latin and segments what is Chinese: into words side by side for phrases, into overlapping ones as well for search. It
has no state, so catalogue and query are always analysed alike.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import rjieba
import Stemmer

from intently.errors import SettingsError
from intently.text.normalize import HAN, normalize

_STOPPED = """
a an and are as at be but by for from if in into is it no not of on or such that the their then there these they this
to was will with x 的 了 和 与 是 在 吗 呢 吧
"""
STOP_WORDS = frozenset(_STOPPED.split())

# Units and their spellings, the first of each being the one that all become.
_SPELLINGS = """
inch in inches 英寸 寸; ft foot feet 英尺; yd yard yards; mm millimeter millimeters 毫米;
cm centimeter centimeters 厘米; km kilometer kilometers 公里; sqft; cuft; gal gallon gallons 加仑; qt quart quarts;
oz ounce ounces 盎司; ml 毫升; l liter liters litre litres 升; lb lbs pound pounds 磅; kg kilogram kilograms 公斤 千克;
g gram grams 克; w watt watts 瓦; v volt volts 伏; amp a amps ampere amperes 安; hp horsepower 匹; btu btus; k kelvin;
lumen lumens lm 流明; psi; gauge ga; degree degrees deg; pack packs pk; piece pieces pc pcs 件; gb; tb; mah 毫安 毫安时;
hour hours hr hrs h 小时
"""
_UNITS = {spellings.split()[0]: spellings.split() for spellings in _SPELLINGS.split(";")}
UNITS = frozenset(_UNITS)
_UNIT_OF = {spelling: unit for unit, spellings in _UNITS.items() for spelling in spellings}

# Written as marks or in two words; made one word before numbers and their units are looked for.
_MARKS = (
    (re.compile(r"(?<=\d)\s*(?:\"|''|”|′′)"), " in "),
    (re.compile(r"(?<=\d)\s*(?:'|’|′)(?!\w)"), " ft "),
    (re.compile(r"\bsq\.?\s*(?:ft|feet|foot)\b\.?|平方英尺"), " sqft "),
    (re.compile(r"\bcu\.?\s*(?:ft|feet|foot)\b\.?"), " cuft "),
    (re.compile(r"(?<=\d)\s*(?:x|×|\*|\bby\b)\s*(?=\d)"), " "),
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
)
_MEASURE = re.compile(
    r"(\d+(?:[./]\d+)?)[\s-]*(" + "|".join(sorted(map(re.escape, _UNIT_OF), key=len, reverse=True)) + r")(?![a-z])\.?"
)
_TOKEN = re.compile(rf"(\d+(?:[./]\d+)?)|([{HAN}]+)|([^\W\d_{HAN}]+)")


@dataclass(frozen=True)
class Analyzer:
    """Turn text into terms. `stemmer` names a Snowball language ("english", "german", ...)."""

    stemmer: str = "english"
    _stem: Stemmer.Stemmer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.stemmer not in Stemmer.algorithms():
            raise SettingsError(f"stemmer '{self.stemmer}' is unknown; choose one of {', '.join(Stemmer.algorithms())}")
        object.__setattr__(self, "_stem", Stemmer.Stemmer(self.stemmer))

    def words(self, text: str) -> list[str]:
        """Return the words of `text` side by side, normalised, units unified, neither stemmed nor stopped."""
        return self._split(text, rjieba.cut)

    def phrase(self, text: str) -> list[tuple[str, str]]:
        """Return the (word, stem) pairs that make `text` as a phrase: words side by side, without stop words."""
        words = [word for word in self.words(text) if word not in STOP_WORDS]
        return list(zip(words, self._stem.stemWords(words), strict=True))

    def terms(self, text: str) -> list[str]:
        """Return the terms that are indexed and searched: stems without stop words, Chinese words also in parts."""
        return self.written_terms(text)[1]

    def written_terms(self, text: str) -> tuple[list[str], list[str]]:
        """Return the words that make the terms of `text`, and the terms, one for each word."""
        words = [word for word in self._split(text, rjieba.cut_for_search) if word not in STOP_WORDS]
        return words, self._stem.stemWords(words)

    @staticmethod
    def _split(text: str, segment: Callable[[str], list[str]]) -> list[str]:
        text = normalize(text)
        for pattern, replacement in _MARKS:
            text = pattern.sub(replacement, text)
        text = _MEASURE.sub(lambda found: f" {found[1]} {_UNIT_OF[found[2]]} ", text)
        words: list[str] = []
        for number, han, letters in _TOKEN.findall(text):
            if han:
                words.extend(segment(han))
            else:
                words.append(number or letters)
        return words
