"""Keywords that a negative keyword of the same ad makes useless."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from intently.rules.keyword import Match
from intently.rules.match import matches
from intently.rules.presets import MatchRules
from intently.rules.variants import read


def conflicts(keywords: Iterable[str], negatives: Sequence[str], rules: MatchRules) -> list[tuple[str, str]]:
    """Return the keywords, as written, that can never show their ad, each with the first negative that forbids it.

    A negative that matches a keyword's own text matches every query that has these words as they are. An exact negative
    forbids an exact keyword alone: of other ones it takes a single query. Close variants of the keyword may still pass.
    """
    found = []
    literal = replace(rules.negative, misspellings=False)  # only the engine knows which words are right
    forbidding = [(written, rules.negative_keyword(written)) for written in negatives]
    for written in keywords:
        keyword = rules.keyword(written)
        for forbidden, negative in forbidding:
            if negative.match is Match.EXACT and keyword.match is not Match.EXACT:
                continue
            num_words = len(read(negative.text, rules.negative, rules.stemmer).full.parts)
            if negative.match is Match.PHRASE and keyword.match is Match.BROAD and num_words > 1:
                continue  # the words of a broad keyword need not follow each other
            if matches(negative, keyword.text, literal, stemmer=rules.stemmer):
                found.append((written, forbidden))
                break
    return found
