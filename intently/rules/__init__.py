"""The rules of the trade, pure: match types of keywords, negative keywords, and boolean targeting."""

from intently.rules.keyword import Keyword, Match, bare, has_match_type, parse_keyword
from intently.rules.match import Found, find, matches
from intently.rules.presets import PRESETS, MatchRules
from intently.rules.targeting import Truth, conjunctions, parse_targeting, truth
from intently.rules.variants import Variants

__all__ = [
    "PRESETS",
    "Found",
    "Keyword",
    "Match",
    "MatchRules",
    "Truth",
    "Variants",
    "bare",
    "conjunctions",
    "find",
    "has_match_type",
    "matches",
    "parse_keyword",
    "parse_targeting",
    "truth",
]
