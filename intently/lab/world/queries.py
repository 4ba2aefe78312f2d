"""Intents put into the words users type, in seven styles."""

import random
from dataclasses import dataclass
from enum import IntEnum

from intently.lab.world.latent import NONE, Intents, Language
from intently.lab.world.misspell import mistype
from intently.lab.world.vocabulary import OfferType, Term, Vertical, Vocabulary


class Style(IntEnum):
    """How a query names the type it wants. The order is that of the numbers stored in arrays."""

    PLAIN = 0  # the advertiser's word
    SYNONYM = 1  # another word for it
    COLLOQUIAL = 2  # the need, without naming the type
    ABBREVIATED = 3  # the shortest of the other words
    TYPO = 4  # any word, mistyped
    PINYIN = 5  # Chinese in Latin letters
    MIXED = 6  # English inside Chinese, or the other way round


# What people add that asks for nothing more: by kind of vertical and language.
_FRAMES = {
    ("goods", Language.EN): ("best {}", "cheap {}", "{} price", "buy {}", "{} reviews", "{} for sale", "which {}"),
    ("goods", Language.ZH): ("{}推荐", "{}多少钱", "{}哪个牌子好", "买{}", "{} 价格", "便宜的{}", "{}怎么选"),
    ("services", Language.EN): ("best {}", "{} near me", "{} cost", "book {}", "{} quote", "affordable {}", "find {}"),
    ("services", Language.ZH): ("{}多少钱", "附近{}", "{}哪家好", "找{}", "{} 价格", "{}推荐", "{}怎么收费"),
}
_PINYIN_FRAMES = ("{} duoshao qian", "{} tuijian", "{} jiage", "{} nage hao", "zhao {}", "fujin {}", "{} zenme yang")
_FRAMED = 0.22


@dataclass(frozen=True, slots=True)
class Wording:
    """Everything users say for one type, sorted into styles: per language the synonyms and the abbreviation."""

    kind: OfferType
    vertical: Vertical
    synonyms: tuple[tuple[str, ...], tuple[str, ...]]
    short: tuple[str, str]
    pinyin: tuple[str, ...]


class QueryWriter:
    """Renders intents; the same random numbers give the same words."""

    def __init__(self, vocabulary: Vocabulary, rng: random.Random):
        self._rng = rng
        self._wordings = [
            _sort_words(kind, vocabulary.verticals[place])
            for kind, place in zip(vocabulary.types, vocabulary.vertical_of, strict=True)
        ]

    def write(self, intents: Intents, styles: list[int]) -> list[tuple[str, str]]:
        """Return for each intent the query, and the phrase in it that stands for the type, as it was before typos."""
        columns = (intents.type, intents.brand, intents.group, intents.value, intents.language)
        rows = zip(*(column.tolist() for column in columns), styles, strict=True)
        return [self._write(*row) for row in rows]

    def _write(
        self, kind: int, brand: int, groups: list[int], values: list[int], language: int, style: int
    ) -> tuple[str, str]:
        rng, wording = self._rng, self._wordings[kind]
        phrase = self._name(wording, language, style)
        chinese = language == Language.ZH and style != Style.PINYIN
        words = []
        if brand != NONE:
            names = wording.vertical.brands[brand]
            # Abroad or at home, a brand is often known by its other name.
            words.append(names[chinese] if language != Language.MIXED else rng.choice(names))
        for group, value in zip(groups, values, strict=True):
            if group != NONE:
                term = wording.vertical.attributes[group].values[value]
                in_chinese = chinese or (language == Language.MIXED and rng.random() < 0.5)
                # Who cannot name the type does not know the advertiser's word for its attributes either.
                words.append(self._ask(term, in_chinese, own=0.0 if style == Style.COLLOQUIAL else 0.4))
        if style == Style.COLLOQUIAL:
            query = (" " if not chinese else rng.choice((" ", "，"))).join([phrase, *words])
        else:
            words.insert(len(words) if rng.random() < 0.7 else rng.randrange(len(words) + 1), phrase)
            query = ("" if chinese and rng.random() < 0.6 else " ").join(words)
            if language != Language.MIXED and rng.random() < _FRAMED:
                frames = _FRAMES[wording.vertical.kind, Language(language)]
                query = rng.choice(_PINYIN_FRAMES if style == Style.PINYIN else frames).format(query)
        query = query.lower() if rng.random() < 0.85 else query
        return (mistype(query, rng) if style == Style.TYPO else query), phrase

    def _name(self, wording: Wording, language: int, style: int) -> str:
        rng, kind = self._rng, wording.kind
        if style == Style.PINYIN:
            return rng.choice(wording.pinyin)
        if style == Style.MIXED:
            return rng.choice(kind.mixed)
        plain = kind.term.zh if language == Language.ZH else kind.term.en
        if style == Style.COLLOQUIAL:
            return rng.choice(kind.needs_zh if language == Language.ZH else kind.needs_en)
        if style == Style.ABBREVIATED:
            return wording.short[language]
        if style == Style.SYNONYM:
            return rng.choice(wording.synonyms[language])
        return plain if style == Style.PLAIN or rng.random() < 0.5 else rng.choice(wording.synonyms[language])

    def _ask(self, term: Term, chinese: bool, own: float) -> str:
        plain, also = (term.zh, term.zh_also) if chinese else (term.en, term.en_also)
        return plain if self._rng.random() < own else self._rng.choice(also)


def _sort_words(kind: OfferType, vertical: Vertical) -> Wording:
    short = (min(kind.term.en_also, key=len), min(kind.term.zh_also, key=len))
    synonyms = tuple(
        tuple(word for word in words if word != abbreviation) or words
        for words, abbreviation in zip((kind.term.en_also, kind.term.zh_also), short, strict=True)
    )
    pinyin = tuple(dict.fromkeys((kind.pinyin, kind.pinyin.replace(" ", ""))))
    return Wording(kind, vertical, (synonyms[0], synonyms[1]), short, pinyin)
