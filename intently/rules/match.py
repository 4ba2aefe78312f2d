"""Whether a keyword matches a query. Obvious and slow; `KeywordIndex` finds the same among millions of keywords."""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass

from rapidfuzz.distance import OSA

from intently.rules.keyword import Keyword, Match
from intently.rules.variants import (
    DIRECTION_WORDS,
    NO_VARIANTS,
    Reading,
    Readings,
    Variants,
    are_forms_of_one_word,
    read,
)

MIN_MISSPELLED = 5  # letters of a word that may be misspelled


@dataclass(frozen=True, slots=True)
class Found:
    """How a keyword matches a query: by its match type, to the letter or through a close variant (`is_near`)."""

    keyword: Keyword
    is_near: bool

    @property
    def match_type(self) -> str:
        """The match as Google's reports of search terms call it: exact, near exact, phrase, near phrase, broad."""
        is_near = self.is_near and self.keyword.match is not Match.BROAD
        return f"near {self.keyword.match}" if is_near else str(self.keyword.match)

    def __str__(self) -> str:
        return f"keyword {self.keyword}, {self.match_type} match"


def find(
    keyword: Keyword, query: str, variants: Variants, known: Container[str] = frozenset(), stemmer: str = "english"
) -> Found | None:
    """Return how a keyword matches a query, None if it does not.

    `known` are words that are not misspelled, however close to a keyword's word they are.
    """
    if not matches(keyword, query, variants, known, stemmer):
        return None
    return Found(keyword, is_near=not matches(keyword, query, NO_VARIANTS, known, stemmer))


def matches(
    keyword: Keyword, query: str, variants: Variants, known: Container[str] = frozenset(), stemmer: str = "english"
) -> bool:
    """Return whether a keyword matches a query. `variants` are the differences that do not count."""
    wanted, has_all = chosen(read(keyword.text, variants, stemmer), variants)
    queries = read(query, variants, stemmer)
    asked = queries.full if has_all else queries.content
    if not wanted.tokens or len(asked.tokens) < len(wanted.tokens):
        return False
    near = _Nearness(variants, known, stemmer)
    directions = [_directions(each) for each in (read(keyword.text, variants, stemmer).full, queries.full)]
    if keyword.match is Match.PHRASE:
        size = len(wanted.tokens)
        if not _is_within(*directions):
            return False
        return any(near.equal(wanted, asked, start) for start in range(len(asked.tokens) - size + 1))
    if keyword.match is Match.EXACT:
        if len(asked.tokens) != len(wanted.tokens) or directions[0] != directions[1]:
            return False
        in_any_order = variants.order and not directions[0]
        return near.same_words(wanted, asked) if in_any_order else near.equal(wanted, asked, 0)
    return near.all_parts(wanted, asked)


def share_of_query(keyword: Keyword, query: str, variants: Variants, stemmer: str = "english") -> float:
    """Return the share of a query's words, in (0, 1], that a keyword which matches it has."""
    wanted, has_all = chosen(read(keyword.text, variants, stemmer), variants)
    queries = read(query, variants, stemmer)
    asked = queries.full if has_all else queries.content
    return min(1.0, len(wanted.tokens) / max(1, len(asked.tokens)))


def chosen(readings: Readings, variants: Variants) -> tuple[Reading, bool]:
    """Return a keyword as it is compared, and whether with all of its words: one of function words only keeps them."""
    if variants.function_words and readings.content.tokens:
        return readings.content, False
    return readings.full, True


def may_be_misspelled(word: str) -> bool:
    """Return whether a word is of those that misspellings are looked for: letters, and enough of them."""
    return len(word) >= MIN_MISSPELLED and word.isalpha()


def is_misspelling(word: str, meant: str, stemmer: str = "english") -> bool:
    """Return whether one letter more, less or other, or two that changed places, make `word` of `meant`.

    Two forms of one word, such as "flower" and "flowers", are none of each other: that is what `plurals` and `stems` of
    the variants are about.
    """
    if not may_be_misspelled(word) or not may_be_misspelled(meant) or word[0] != meant[0]:
        return False
    return OSA.distance(word, meant, score_cutoff=1) == 1 and not are_forms_of_one_word(word, meant, stemmer)


@dataclass(frozen=True, slots=True)
class _Nearness:
    """Compares tokens. At most one word of a keyword may be misspelled."""

    variants: Variants
    known: Container[str]
    stemmer: str

    def equal(self, wanted: Reading, asked: Reading, start: int) -> bool:
        """Return whether all tokens of a keyword follow each other in the query from `start` on."""
        differing = [at for at, token in enumerate(wanted.tokens) if asked.tokens[start + at] != token]
        if not differing:
            return True
        return len(differing) == 1 and self._is_near(
            asked.surfaces[start + differing[0]], wanted.surfaces[differing[0]]
        )

    def same_words(self, wanted: Reading, asked: Reading) -> bool:
        """Return whether both have the same tokens in whatever order, and Chinese words whole."""
        missing, extra = Counter(wanted.tokens), Counter(asked.tokens)
        missing, extra = missing - extra, extra - missing
        if missing.total() > 1 or not all(_holds(asked.tokens, part) for part in wanted.parts if len(part) > 1):
            return False
        return not missing or self._any_near(wanted, next(iter(missing)), asked, next(iter(extra)))

    def all_parts(self, wanted: Reading, asked: Reading) -> bool:
        """Return whether the query has every word of the keyword somewhere."""
        missing = [part for part in wanted.part_set if not _holds(asked.tokens, part)]
        if not missing:
            return True
        if len(missing) > 1 or len(missing[0]) > 1:
            return False
        return any(self._any_near(wanted, missing[0][0], asked, token) for token in set(asked.tokens))

    def _any_near(self, wanted: Reading, token: str, asked: Reading, other: str) -> bool:
        return any(
            self._is_near(word, meant)
            for meant, its in zip(wanted.surfaces, wanted.tokens, strict=True)
            if its == token
            for word, whose in zip(asked.surfaces, asked.tokens, strict=True)
            if whose == other
        )

    def _is_near(self, word: str, meant: str) -> bool:
        if not self.variants.misspellings or word in self.known:
            return False
        return is_misspelling(word, meant, self.stemmer)


def _directions(reading: Reading) -> list[str]:
    return [token for token in reading.tokens if token in DIRECTION_WORDS]


def _is_within(some: list[str], more: list[str]) -> bool:
    """Return whether the first words are among the others, in the same order."""
    left = iter(more)
    return all(word in left for word in some)


def _holds(tokens: tuple[str, ...], part: tuple[str, ...]) -> bool:
    size = len(part)
    if size == 1:
        return part[0] in tokens
    return any(tokens[start : start + size] == part for start in range(len(tokens) - size + 1))
