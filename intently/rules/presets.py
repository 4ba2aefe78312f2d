"""The match rules of ad platforms, as they publish them. `docs/rules.md` cites each rule with its source."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from intently.errors import InputError
from intently.rules.keyword import Keyword, Match, parse_keyword, without_minus
from intently.rules.variants import NO_VARIANTS, Variants


@dataclass(frozen=True, slots=True)
class MatchRules:
    """What keywords match: positive and negative ones have match types by default, and variants that count as equal."""

    positive: Variants = NO_VARIANTS
    negative: Variants = NO_VARIANTS
    default: Match = Match.BROAD  # of a keyword without marks
    plus: Match = Match.BROAD  # of a keyword with a + before a word
    negative_default: Match = Match.BROAD
    broad_negatives: bool = True  # False: a negative keyword without marks, or named broad, is a phrase
    stemmer: str = "english"

    def keyword(self, written: str) -> Keyword:
        """Return a keyword as it is written on an ad."""
        return parse_keyword(written, self.default, self.plus)

    def negative_keyword(self, written: str) -> Keyword:
        """Return a negative keyword as it is written, with or without a minus before it."""
        found = parse_keyword(without_minus(written), self.negative_default)
        if found.match is Match.BROAD and not self.broad_negatives:
            return Keyword(found.text, Match.PHRASE)
        return found


class Preset(StrEnum):
    """The platforms whose rules are known, and rules without any variant."""

    GOOGLE = "google"
    MICROSOFT = "microsoft"
    AMAZON = "amazon"
    STRICT = "strict"


_ALL = Variants(
    plurals=True, stems=True, accents=True, misspellings=True, abbreviations=True, function_words=True, order=True
)
PRESETS: dict[str, MatchRules] = {
    Preset.GOOGLE: MatchRules(_ALL, Variants(misspellings=True), plus=Match.PHRASE),
    Preset.MICROSOFT: MatchRules(_ALL, Variants(accents=True), negative_default=Match.PHRASE, broad_negatives=False),
    Preset.AMAZON: MatchRules(
        Variants(plurals=True, accents=True, misspellings=True, function_words=True),
        Variants(plurals=True, accents=True, misspellings=True),
        negative_default=Match.PHRASE,
        broad_negatives=False,
    ),
    Preset.STRICT: MatchRules(),
}


@lru_cache(maxsize=64)
def rules_of(name: str, stemmer: str = "english") -> MatchRules:
    """Return the rules of a preset, for texts of a stemmer's language. Raises `InputError` for an unknown name."""
    if name not in PRESETS:
        raise InputError(f"no match rules are called {name!r}", cure=f"use one of {', '.join(PRESETS)}")
    rules = PRESETS[name]
    return MatchRules(
        rules.positive,
        rules.negative,
        rules.default,
        rules.plus,
        rules.negative_default,
        rules.broad_negatives,
        stemmer,
    )
