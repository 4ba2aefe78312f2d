"""Keywords as the trade writes them: `[exact]`, `"phrase"`, `broad`, `+every +word`."""

import re
from dataclasses import dataclass
from enum import StrEnum

from intently.errors import InputError
from intently.rules.variants import NO_VARIANTS, read

_PLUS = re.compile(r"(^|\s)\+(?=\S)")
_QUOTES = {'"': '"', "“": "”", "「": "」"}
_BRACKETS = {"[": "]", "［": "］", "【": "】"}
# What exports write in a column of match types, in lower case: English, German, French, Spanish, Italian, Chinese, …
_NAMES = {
    "exact": "exact, exact match, genau passend, genau, genaue übereinstimmung, exakt, exakte übereinstimmung, exacte, "
    "mot clé exact, requête exacte, exacta, concordancia exacta, esatta, corrispondenza esatta, exata, "
    "correspondência exata, 精确, 精确匹配, 完全匹配, 完全一致",
    "phrase": "phrase, phrase match, passende wortgruppe, wortgruppe, expression, expression exacte, "
    "de frase, frase, concordancia de frase, a frase, corrispondenza a frase, correspondência de frase, "
    "词组, 词组匹配, 短语, 短语匹配, フレーズ一致",
    "broad": "broad, broad match, broad match modifier, broad match modified, weitgehend passend, weitgehend, "
    "large, requête large, amplia, concordancia amplia, generica, corrispondenza generica, ampla, "
    "correspondência ampla, 广泛, 广泛匹配, 智能匹配, 部分一致",
}
_MATCH_OF = {name: match for match, names in _NAMES.items() for name in names.split(", ")}
_NEGATIVE = re.compile(
    r"(campaign |account |ad group )?negativ\w*( keyword)?|auszuschließend\w*|ausgeschlossen\w*|à exclure|a exclure|"
    r"négatif|negativ[oa]|esclus[oa]|否定(关键词)?|除外(キーワード)?"
)


class Match(StrEnum):
    """How much of a query a keyword has to be."""

    EXACT = "exact"  # all of it
    PHRASE = "phrase"  # a part of it, word after word
    BROAD = "broad"  # its words, in any order and place


@dataclass(frozen=True, slots=True)
class Keyword:
    """A keyword: its text without marks, and its match type."""

    text: str
    match: Match

    def __str__(self) -> str:
        if self.match is Match.EXACT:
            return f"[{self.text}]"
        return f'"{self.text}"' if self.match is Match.PHRASE else self.text


def parse_keyword(written: str, default: Match = Match.BROAD, plus: Match = Match.BROAD) -> Keyword:
    """Return the keyword that `written` is: `[exact]`, `"phrase"`, and without marks one of the `default` match type.

    `plus` is what a `+` before a word stands for. Marks around nothing are no marks.
    """
    text = written.strip()
    match, inside = default, text
    if len(text) > 2 and _BRACKETS.get(text[0]) == text[-1]:
        match, inside = Match.EXACT, text[1:-1]
    elif len(text) > 2 and _QUOTES.get(text[0]) == text[-1]:
        match, inside = Match.PHRASE, text[1:-1]
    elif _PLUS.search(text):
        match, inside = plus, _PLUS.sub(r"\1", text)
    return Keyword(inside.strip(), match) if inside.strip() else Keyword(text, default)


def checked_negative(written: str) -> str:
    """Return a negative keyword, with or without a minus before it; raise `InputError` for one without any word."""
    if not read(parse_keyword(without_minus(written)).text, NO_VARIANTS).full.tokens:
        raise InputError(f"{written!r} has no word", cure='write [exact], "phrase" or broad', field="negative_keywords")
    return written


def without_minus(written: str) -> str:
    """Return a negative keyword without the minus that may be before it."""
    text = written.strip()
    return text[1:] if text[:1] == "-" and text[1:].strip() else text


def with_match_type(text: str, match_type: str) -> str:
    """Return a keyword with the marks of a match type that a column names: "Exact", "phrase match"."""
    name = " ".join(re.sub(r"[\s_–—:()（）-]+", " ", _NEGATIVE.sub(" ", _in_words(match_type))).split())
    if name not in _MATCH_OF:
        problem = f"{match_type!r} is not a match type"
        raise InputError(problem, cure="write exact, phrase or broad", field="match_type")
    return str(Keyword(bare(text), Match(_MATCH_OF[name])))


def is_negative(match_type: str) -> bool:
    """Return whether a match type that a column names is one of negative keywords: "Negative Exact", "否定"."""
    return _NEGATIVE.search(_in_words(match_type)) is not None


def _in_words(match_type: str) -> str:
    """Return a match type in lower case, with blanks between its words: `negativeExact` is "negative exact"."""
    return " ".join(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", match_type.replace("_", " ")).lower().split())


def bare(written: str) -> str:
    """Return the text of a keyword without the marks of its match type."""
    return parse_keyword(written).text


def has_match_type(written: str) -> bool:
    """Return whether a keyword has marks."""
    text = written.strip()
    return len(text) > 2 and (
        _BRACKETS.get(text[0]) == text[-1] or _QUOTES.get(text[0]) == text[-1] or bool(_PLUS.search(text))
    )
