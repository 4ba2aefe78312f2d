"""The match rules of ad platforms, as they publish them. `docs/rules.md` cites each rule with its source."""

from dataclasses import dataclass
from functools import lru_cache

from intently.errors import InputError
from intently.rules.keyword import Keyword, Match, parse_keyword
from intently.rules.variants import Variants


@dataclass(frozen=True, slots=True)
class MatchRules:
    """What keywords match: positive and negative ones have match types by default, and variants that count as equal."""

    positive: Variants = Variants()
    negative: Variants = Variants()
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
        text = written.strip()
        found = parse_keyword(text[1:] if text[:1] == "-" and len(text) > 1 else text, self.negative_default)
        if found.match is Match.BROAD and not self.broad_negatives:
            return Keyword(found.text, Match.PHRASE)
        return found


_ALL = Variants(
    plurals=True, stems=True, accents=True, misspellings=True, abbreviations=True, function_words=True, order=True
)
PRESETS = {
    "google": MatchRules(_ALL, plus=Match.PHRASE),
    "microsoft": MatchRules(_ALL, negative_default=Match.PHRASE, broad_negatives=False),
    "amazon": MatchRules(
        Variants(plurals=True, accents=True, function_words=True),
        Variants(plurals=True, accents=True),
        negative_default=Match.PHRASE,
        broad_negatives=False,
    ),
    "strict": MatchRules(),
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
