"""Text to words and terms: what phrases are known by, what the BM25 index counts, and what a query is matched by.

Catalogs and queries write the same thing in many ways: "5 gal.", "5-gallon", "5gallon"; "café" and "cafe"; "wi-fi"
and "wifi"; 扫地机器人 without a space. The analyzer splits letters from digits, gives units one spelling, stems what is
Latin and segments what is Chinese: into words side by side for phrases, into overlapping ones as well for search. Of an
ad's Chinese, neighbouring characters are indexed too, as segmenters cut the same word differently in other company. The
analyzer has no state, so catalog and query are always analysed alike. Cost: linear.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import Stemmer

from intently.errors import SettingsError
from intently.text.fold import fold, marks, spell_out
from intently.text.normalize import HAN, normalize
from intently.text.segmenter import cut, cut_for_search
from intently.text.units import HAN_UNITS, UNITS, unify_measures

__all__ = ["STOP_WORDS", "UNITS", "Analyzer", "Kind", "Token"]

_STOPPED = """
a an and are as at be but by for from if in into is it no not of on or such that the their then there these they this
to was will with x 的 了 和 与 是 在 吗 呢 吧
"""
STOP_WORDS = frozenset(_STOPPED.split())
_NUM_GTIN_DIGITS = 11  # from this many digits on, leading zeros mean nothing: GTINs are padded with them
_SHORT = 2  # a part of this many letters makes a compound one word: "at&t", "l'oréal"
_HAN_RUN = re.compile(f"[{HAN}]+")
_SPACED_AMPERSAND = re.compile(r"(?<!\w)(\w{1,2}) & (?=\w{1,2}(?!\w))")  # "AT & T"


class Kind(Enum):
    """What a token is to the lexical index."""

    CONTENT = "content"
    STOP = "stop word"  # weighs little
    VARIANT = "variant"  # another way to write its neighbours: "wifi" for "wi-fi"


class Token(NamedTuple):
    """A `word` as it is written, the `term` it is searched by, and what it counts as."""

    word: str
    term: str
    kind: Kind


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
        """Return all words of `text` side by side, normalized, units unified, neither stemmed nor stopped."""
        return [word for word, _, kind in self._split(text, cut) if kind is not Kind.VARIANT]

    def phrase(self, text: str) -> list[tuple[str, str]]:
        """Return the (word, stem) pairs that make `text` as a phrase: all words side by side, stop words too."""
        found = [(word, key) for word, key, kind in self._split(text, cut) if kind is not Kind.VARIANT]
        stems = self._stems([key for _, key in found])
        return [(word, stem) for (word, _), stem in zip(found, stems, strict=True)]

    def content(self, text: str) -> list[tuple[str, str]]:
        """Return the (word, stem) pairs of `text` side by side without stop words: what it is about, not what it is."""
        return [pair for pair in self.phrase(text) if pair[0] not in STOP_WORDS]

    def terms(self, text: str) -> list[str]:
        """Return the terms that say what `text` is about: stems without stop words, Chinese words also in parts.

        A text of nothing but stop words has these.
        """
        return self.written_terms(text)[1]

    def written_terms(self, text: str) -> tuple[list[str], list[str]]:
        """Return the words that make the terms of `text`, and the terms, one for each word."""
        tokens = self.tokens(text)
        content = [token for token in tokens if token.kind is Kind.CONTENT] or tokens
        return [token.word for token in content], [token.term for token in content]

    def tokens(self, text: str) -> list[Token]:
        """Return all that `text` is indexed and searched by, in order: terms, stop words, and variants of writing."""
        found = self._split(text, cut_for_search)
        stems = self._stems([key for _, key, _ in found])
        return [Token(word, stem, kind) for (word, _, kind), stem in zip(found, stems, strict=True)]

    def indexed(self, text: str) -> list[Token]:
        """Return the `tokens` of `text`, and after them every two Chinese characters that stand together, as variants.

        A segmenter cuts 拖鞋架 (a slipper rack) into 拖鞋 and 架; a search for 鞋架 finds it by this pair. Only ads are
        indexed this way: a query keeps the words that the segmenter finds.
        """
        tokens = self.tokens(text)
        words = {token.word for token in tokens}
        for run in _HAN_RUN.findall(normalize(text)):
            for pair in map("".join, pairwise(run)):
                if pair not in words and not STOP_WORDS.intersection(pair):
                    tokens.append(Token(pair, pair, Kind.VARIANT))
        return tokens

    def stem(self, word: str) -> str:
        """Return the term of one normalized word."""
        return self._stems([word])[0]

    def _stems(self, words: list[str]) -> list[str]:
        if self.stemmer == "english":  # whose endings have no accents; in other languages they tell endings apart
            stems: list[str] = self._stem.stemWords([fold(word) for word in words])
            return stems
        return [fold(stem) for stem in self._stem.stemWords(words)]

    def _split(self, text: str, segment: Callable[[str], list[str]]) -> list[tuple[str, str, Kind]]:
        """Return (word, what is stemmed, kind) for each word of `text`."""
        text = normalize(text)
        if "&" in text:
            text = _SPACED_AMPERSAND.sub(r"\1&", text)
        text = unify_measures(text, decimal_comma=self.stemmer == "german")
        found: list[tuple[str, str, Kind]] = []
        number_end = -1
        for match in _token().finditer(text):
            number, han, letters = match.groups()
            if letters:
                if letters.isascii() and letters.isalpha():
                    found.append((letters, letters, Kind.STOP if letters in STOP_WORDS else Kind.CONTENT))
                else:
                    found.extend(self._compound(letters))
            elif number:
                key = number.lstrip("0") if len(number) >= _NUM_GTIN_DIGITS and number.isdigit() else number
                found.append((number, key or "0", Kind.CONTENT))
                number_end = match.end()
            else:
                follows_number = number_end >= 0 and not text[number_end : match.start()].strip(" -")
                for word in _cut(han, segment, follows_number):
                    found.append((word, word, Kind.STOP if word in STOP_WORDS else Kind.CONTENT))
                number_end = -1
            if letters:
                number_end = -1
        return found

    def _compound(self, letters: str) -> Iterator[tuple[str, str, Kind]]:
        """Yield the words of letters that have accents, or marks between them.

        A hyphen separates words, which may be written as one; "&" and an apostrophe do so only between longer ones. The
        possessive "'s" is no word.
        """
        letters = _POSSESSIVE.sub("", letters)
        parts = _BETWEEN_PARTS.split(letters)
        joined = "".join(parts)
        if len(parts) == 1 or ("-" not in letters and len(parts) == 2 and min(map(len, parts)) <= _SHORT):
            kind = Kind.STOP if letters in STOP_WORDS else Kind.CONTENT
            yield letters, joined, kind
            parts = parts if len(parts) > 1 else []
            for part in parts:
                if "&" in letters or len(part) > _SHORT:
                    yield part, part, Kind.VARIANT
        else:
            for part in parts:
                yield part, part, Kind.STOP if part in STOP_WORDS else Kind.CONTENT
            if len(parts) <= 3:
                yield joined, joined, Kind.VARIANT
        if self.stemmer != "german" and spell_out(joined) != joined:  # the German stemmer makes them one itself
            yield joined, spell_out(joined), Kind.VARIANT


_POSSESSIVE = re.compile(r"(?<=\w)'s(?=-|$)")
_BETWEEN_PARTS = re.compile(r"[-&']")


@cache
def _token() -> re.Pattern[str]:
    """Return what matches a number, Chinese characters, or a word of letters with the marks that belong to them."""
    letter = rf"(?:[^\W\d_{HAN}]++[{marks()}]*+)"
    return re.compile(rf"(\d++(?:[./]\d++)?+)|([{HAN}]++)|({letter}++(?:[-&']{letter}++)*+)")


def _cut(han: str, segment: Callable[[str], list[str]], follows_number: bool) -> list[str]:
    """Cut Chinese characters into words; after a number the first is a unit if it is one by itself."""
    if follows_number:
        segments = cut(han[:8])
        for num_segments in (2, 1):  # 毫安时 is cut in two
            first = "".join(segments[:num_segments])
            if unit := HAN_UNITS.get(first):
                rest = han[len(first) :]
                return [unit, *segment(rest)] if rest else [unit]
    return segment(han)
