"""A query, read once: by every stage, online and offline, in the same way."""

import re
from dataclasses import dataclass
from itertools import pairwise

from intently.text.analyze import STOP_WORDS, Analyzer, Kind, Token
from intently.text.fold import fold
from intently.text.markup import plain_text
from intently.text.normalize import has_han, normalize
from intently.text.spelling import Speller

STOP_WEIGHT = 0.5  # of a stop word beside words of content
_RUN = re.compile(r"[^\W_]++")
_DIGIT = re.compile(r"\d++")
_MAX_LOOKED_AT = 64  # words of one query that are compared with those of the catalog
_SHORT = 2  # letters of a part that is often written apart: "wi fi", "e bike", "t shirt"


@dataclass(frozen=True)
class Correction:
    """A word of a query, and the words that are searched besides it."""

    word: str
    read_as: tuple[str, ...]


@dataclass(frozen=True)
class QueryText:
    """A query as every stage sees it. T terms are distinct; `weights[t]` is how much term t counts.

    `terms` are those of the query as typed and then those added, by variants of writing and by `corrections`.
    `readings` are the query's stems side by side, as phrases are looked up: as typed first, then corrected.
    """

    typed: str
    normalized: str
    words: tuple[str, ...]
    terms: tuple[str, ...]
    weights: tuple[float, ...]
    readings: tuple[tuple[str, ...], ...]
    corrections: tuple[Correction, ...]
    for_models: str

    @property
    def key(self) -> str:
        """What two queries share that mean the same to the query cache."""
        return self.normalized

    @property
    def says_nothing(self) -> bool:
        """Whether the query has no word at all: punctuation, emoji, invisible characters."""
        return not self.words


@dataclass(frozen=True)
class QueryReader:
    """Reads queries. `speller` suggests corrections; None for none."""

    analyzer: Analyzer
    speller: Speller | None = None

    def read(self, query: str) -> QueryText:
        """Return the query as every stage sees it. Cost: linear in its length, and a search for each unknown word."""
        normalized = normalize(plain_text(query))
        tokens = self.analyzer.tokens(normalized)
        phrase = [(token.word, token.term) for token in tokens if token.kind is not Kind.VARIANT]
        if has_han(normalized):  # whose words overlap among the tokens
            phrase = self.analyzer.phrase(normalized)
        weights = _weights(tokens)
        corrections = self._corrections(normalized, phrase, tokens) if self.speller else {}
        for words in corrections.values():
            for word in words:
                weights.setdefault(self.analyzer.stem(word), 1.0)
        return QueryText(
            typed=query,
            normalized=normalized,
            words=tuple(word for word, _ in phrase),
            terms=tuple(weights),
            weights=tuple(weights.values()),
            readings=self._readings(phrase, corrections),
            corrections=tuple(Correction(word, words) for word, words in corrections.items()),
            for_models=text_for_models(normalized, corrections, self.analyzer),
        )

    def _corrections(
        self, normalized: str, phrase: list[tuple[str, str]], tokens: list[Token]
    ) -> dict[str, tuple[str, ...]]:
        """Return what to add to which words: neighbours written as one ("wi fi"), then what the speller suggests."""
        assert self.speller is not None
        found: dict[str, tuple[str, ...]] = {}
        joined: set[str] = set()
        words = [word for word, _ in phrase]
        variants = {
            fold(token.word) for token in tokens if token.kind is Kind.VARIANT
        }  # "wi-fi" is also "wifi" already
        for first, second in pairwise(words):
            one = fold(first + second)
            if _may_join(first, second) and one not in variants and self.speller.count(one):
                found[f"{first} {second}"] = (one,)
                joined.update((first, second))
        left_alone = joined | _model_numbers(normalized)
        typed = dict.fromkeys(token.word for token in tokens if token.kind is Kind.CONTENT)
        for word in [word for word in typed if word not in left_alone][:_MAX_LOOKED_AT]:
            if suggested := self.speller.suggest(fold(word)):
                found[word] = suggested
        return found

    def _readings(
        self, phrase: list[tuple[str, str]], corrections: dict[str, tuple[str, ...]]
    ) -> tuple[tuple[str, ...], ...]:
        as_typed = tuple(stem for _, stem in phrase)
        corrected: list[str] = []
        at = 0
        while at < len(phrase):
            word = phrase[at][0]
            pair = corrections.get(f"{word} {phrase[at + 1][0]}") if at + 1 < len(phrase) else None
            meant = pair or corrections.get(word)
            corrected += [self.analyzer.stem(each) for each in meant] if meant else [phrase[at][1]]
            at += 2 if pair else 1
        return tuple(dict.fromkeys((as_typed, tuple(corrected))))


def text_for_models(normalized: str, corrections: dict[str, tuple[str, ...]], analyzer: Analyzer) -> str:
    """Return a query as models read it: what a corrected word may also mean follows it; Chinese stays as it is."""
    wanted = {word: read_as for word, read_as in corrections.items() if not has_han(word) and " " not in word}
    if not wanted:
        return normalized
    parts: list[str] = []
    for part in normalized.split(" "):
        added = [each for word in analyzer.words(part) for each in wanted.get(word, ())]
        parts += [part, *added]
    return " ".join(parts)


def _weights(tokens: list[Token]) -> dict[str, float]:
    """Return each term with its weight: how often it is there, little for stop words beside others."""
    only_stop_words = all(token.kind is Kind.STOP for token in tokens)
    weights: dict[str, float] = {}
    for token in tokens:
        if token.kind is Kind.VARIANT:
            weights.setdefault(token.term, 1.0)
        elif token.kind is Kind.STOP and not only_stop_words:
            weights.setdefault(token.term, STOP_WEIGHT)
        else:
            weights[token.term] = weights.get(token.term, 0.0) + 1.0
    return weights


def _may_join(first: str, second: str) -> bool:
    """Return whether two neighbours may be one word written apart: "wi fi", "x ray", but not "a bit"."""
    is_short = min(len(first), len(second)) <= _SHORT and (first + second).isalpha() and not has_han(first + second)
    return is_short and second not in STOP_WORDS and (first not in STOP_WORDS or first == "x")


def _model_numbers(normalized: str) -> set[str]:
    """Return the letters that touch digits: of a model number or an SKU, or a unit."""
    return {part for run in _RUN.findall(normalized) if _DIGIT.search(run) for part in _DIGIT.split(run)}
