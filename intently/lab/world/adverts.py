"""Offers put into the words of advertisers: titles, descriptions, landing pages, bid keywords, targeting.

Advertisers speak differently from users: they prefer their own word for a type, know only its commonest synonyms
(`_KNOWN` of the users' words), and never say the need behind it.
"""

import random
from collections.abc import Iterator
from typing import Any

from intently.lab.world.latent import NONE, Language, Offers
from intently.lab.world.misspell import misread
from intently.lab.world.vocabulary import OfferType, Term, Vertical, Vocabulary
from intently.types import Ad

_KNOWN = 2
_OWN_WORD = 0.85  # how often an ad uses the advertiser's word rather than a known synonym
_KEYWORDS = 0.40
_SLOPPY = 0.08  # of bid keywords: another type of the same vertical

_TITLES_EN = (
    "{brand} {type} | {attribute}",
    "{brand} {type} - {offer}",
    "{type} with {attribute} - {brand}",
    "{brand}: {type}, {offer}",
    "{type} by {brand}",
    "{attribute} | {brand} {type}",
)
_TITLES_ZH = (
    "{brand}{type} {attribute}",
    "{brand}{type}，{offer}",
    "{type} {attribute} {brand}官方",
    "{brand} {type} {attribute} {offer}",
    "{brand}{type}",
    "【{offer}】{brand}{type}",
)
_ADVERTISERS_EN = ("{}", "{}", "{} Official", "{} Direct")
_ADVERTISERS_ZH = ("{}", "{}", "{}旗舰店", "{}官方")

# Targeting: how often an ad has it, and what it can be.
_TARGETED = {"countries": 0.12, "languages": 0.10, "devices": 0.10, "day_parts": 0.06, "audiences": 0.06}
_COUNTRIES = (("US", "GB", "CA", "AU", "DE", "SG"), ("CN", "HK", "TW", "SG"), ("CN", "HK", "MY", "SG"))
_LANGUAGES = (("en",), ("zh",), ("en", "zh"))
_DEVICES = ("desktop", "mobile", "tablet")
_DAY_PARTS = ("mon-fri@9-18", "mon-fri@7-10", "mon-sun@18-24", "sat-sun@10-22")
_AUDIENCES = ("commuters", "homeowners", "new_parents", "pet_owners", "renters", "students", "travellers")


def write_ads(
    vocabulary: Vocabulary, offers: Offers, has_page: list[bool], is_scan: list[bool], rng: random.Random
) -> Iterator[Ad]:
    """Yield the ad of each offer, in order.

    `has_page` says which ads have a landing page, `is_scan` whose page was read by OCR and comes as spans.
    """
    columns = (offers.type, offers.brand, offers.values, offers.language, offers.active)
    rows = zip(*(column.tolist() for column in columns), has_page, is_scan, strict=True)
    for number, (kind, brand, values, language, active, page, scan) in enumerate(rows):
        vertical = vocabulary.verticals[vocabulary.vertical_of[kind]]
        copy = _Copy(vertical, vocabulary.types[kind], brand, values, language, rng)
        text = copy.page() if page else ""
        yield Ad(
            ad_id=ad_id(number),
            title=copy.title(),
            description=copy.description(),
            landing_text="" if scan else text,
            landing_spans=misread(text, rng) if scan else (),
            keywords=copy.keywords() if rng.random() < _KEYWORDS else (),
            advertiser=copy.advertiser(),
            category=vertical.category_zh if copy.chinese else vertical.category_en,
            bid=round(rng.lognormvariate(-0.3, 0.6), 2),
            status="active" if active else "paused",
            **_target(language, rng),
        )


def ad_id(row: int) -> str:
    """Return the id of the ad in this row, counted from 0."""
    return f"ad{row:07d}"


class _Copy:
    """The texts of one ad."""

    def __init__(
        self, vertical: Vertical, kind: OfferType, brand: int, values: list[int], language: int, rng: random.Random
    ):
        self._vertical, self._kind, self._rng = vertical, kind, rng
        self._brand, self._language = vertical.brands[brand], language
        terms = [group.values[at] for group, at in zip(vertical.attributes, values, strict=False) if at != NONE]
        rng.shuffle(terms)
        self._attributes = terms
        self._said = 0
        self.chinese = language == Language.ZH or (language == Language.MIXED and rng.random() < 0.6)

    def title(self) -> str:
        template = self._rng.choice(_TITLES_ZH if self.chinese else _TITLES_EN)
        title = self._fill(template)
        return title if self.chinese else " ".join(word[:1].upper() + word[1:] for word in title.split(" "))

    def description(self) -> str:
        templates = self._vertical.advert_zh if self.chinese else self._vertical.advert_en
        return self._prose(self._rng.sample(templates, min(len(templates), self._rng.choice((1, 1, 2)))))

    def page(self) -> str:
        templates = self._vertical.page_zh if self.chinese else self._vertical.page_en
        count = min(len(templates), self._rng.randrange(3, 6))
        return (
            self._prose([self._rng.choice(_TITLES_ZH[:5] if self.chinese else _TITLES_EN)])
            + ("" if self.chinese else " ")
            + self._prose(self._rng.sample(templates, count))
        )

    def advertiser(self) -> str:
        form = self._rng.choice(_ADVERTISERS_ZH if self.chinese else _ADVERTISERS_EN)
        return form.format(self._brand[self.chinese])

    def keywords(self) -> tuple[str, ...]:
        rng = self._rng
        words: dict[str, None] = {}
        for _ in range(rng.randrange(1, 5)):
            kind = rng.choice(self._vertical.types) if rng.random() < _SLOPPY else self._kind
            chinese = self.chinese if self._language != Language.MIXED else rng.random() < 0.5
            term = kind.term
            own, also = (term.zh, term.zh_also) if chinese else (term.en, term.en_also)
            word = own if rng.random() < 0.5 else rng.choice(also)
            if rng.random() < 0.2:
                word = f"{self._brand[chinese]}{'' if chinese else ' '}{word}"
            words[word] = None
        return tuple(words)

    def _prose(self, templates: list[str]) -> str:
        sentences = [self._fill(template) for template in templates]
        if self.chinese:
            return "".join(text if text[-1] in "。！？!?.~" else f"{text}。" for text in sentences)
        return " ".join(
            text[:1].upper() + text[1:] if text[-1] in ".!?" else f"{text[:1].upper()}{text[1:]}." for text in sentences
        )

    def _fill(self, template: str) -> str:
        rng = self._rng
        term = self._attributes[self._said % len(self._attributes)]
        self._said += "{attribute}" in template
        chinese, mixed = self.chinese, self._language == Language.MIXED
        # A code-mixed ad names the type in the other language or in both, and the rest as it comes.
        if mixed:
            kind = rng.choice(self._kind.mixed) if rng.random() < 0.5 else self._word(self._kind.term, not chinese)
        else:
            kind = self._word(self._kind.term, chinese)
        attribute_chinese = chinese != (mixed and rng.random() < 0.4)
        brand_chinese = chinese != (mixed and rng.random() < 0.5)
        return template.format(
            brand=self._brand[brand_chinese],
            type=kind,
            attribute=term.zh if attribute_chinese else term.en,
            offer=rng.choice(self._vertical.offers)[chinese],
        )

    def _word(self, term: Term, chinese: bool) -> str:
        own, also = (term.zh, term.zh_also) if chinese else (term.en, term.en_also)
        return own if self._rng.random() < _OWN_WORD else self._rng.choice(also[:_KNOWN])


def _target(language: int, rng: random.Random) -> dict[str, Any]:
    pools = {"countries": _COUNTRIES[language], "devices": _DEVICES, "day_parts": _DAY_PARTS, "audiences": _AUDIENCES}
    target: dict[str, Any] = {}
    for field, rate in _TARGETED.items():
        if rng.random() < rate:
            pool = pools.get(field)
            target[field] = (
                _LANGUAGES[language] if pool is None else tuple(sorted(rng.sample(pool, rng.choice((1, 2)))))
            )
    return target
