"""What the simulated ads offer and the queries want, before any of it is put into words.

Both are columns. An offer is a type, a brand and at most one value of each attribute group; an intent is a type,
perhaps a brand, and up to two attribute values. `grade` compares them: it is the only truth of the world, and
clicks and judgements both come from it.
"""

from dataclasses import dataclass, fields, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from intently.lab.world.vocabulary import Vocabulary

Ints = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CONSTRAINTS = 2  # attribute values an intent can ask for
NONE = -1  # no brand asked for, no value in this group

TYPE_SPREAD = 0.6  # standard deviation of the logarithm of how common a type is
AD_LANGUAGES = (0.50, 0.38, 0.12)  # shares of English, Chinese and code-mixed ads
HAS_VALUE = 0.55  # how often an ad says something about an attribute group
PAUSED = 0.03
WANTS_BRAND = 0.25
WANTS_VALUES = (0.50, 0.35, 0.15)  # shares of intents with 0, 1 and 2 attribute values


class Language(IntEnum):
    """The language of an ad or a query; `MIXED` is English words inside Chinese, or the other way round."""

    EN = 0
    ZH = 1
    MIXED = 2


# Row: the query's language; column: the ad's.
UNDERSTOOD = np.array([[True, False, True], [False, True, True], [True, True, True]])


@dataclass(frozen=True, slots=True)
class Market:
    """The vocabulary as numbers: sizes to draw from, and which types are related (either says so)."""

    vertical: Ints  # of each type
    brands: Ints  # how many, of each vertical
    values: Ints  # how many, of each vertical and attribute group; 0 where the vertical has no such group
    related: Bools  # type by type

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> "Market":
        """Return the numbers of `vocabulary`."""
        verticals = vocabulary.verticals
        groups = max(len(vertical.attributes) for vertical in verticals)
        values = np.zeros((len(verticals), groups), np.int32)
        for row, vertical in zip(values, verticals, strict=True):
            row[: len(vertical.attributes)] = [len(group.values) for group in vertical.attributes]
        related = np.zeros((len(vocabulary.types),) * 2, np.bool_)
        first = 0
        for vertical in verticals:
            number = {kind.term.en: first + place for place, kind in enumerate(vertical.types)}
            for kind in vertical.types:
                for name in kind.related:
                    related[number[kind.term.en], number[name]] = related[number[name], number[kind.term.en]] = True
            first += len(number)
        brands = np.array([len(vertical.brands) for vertical in verticals], np.int32)
        return cls(np.array(vocabulary.vertical_of, np.int32), brands, values, related)


@dataclass(frozen=True, slots=True)
class Offers:
    """The ads' latent offers, one row an ad."""

    type: Ints
    brand: Ints
    values: Ints  # ads by groups; NONE where the ad says nothing
    language: Ints
    quality: Floats  # in (0, 1): how well the ad answers once it is seen
    active: Bools

    def __len__(self) -> int:
        return len(self.type)


@dataclass(frozen=True, slots=True)
class Intents:
    """The queries' latent intents, one row a query. `NONE` means that the query does not ask."""

    type: Ints
    brand: Ints
    group: Ints  # queries by CONSTRAINTS: the attribute group asked about,
    value: Ints  # and the value asked for
    language: Ints

    def __len__(self) -> int:
        return len(self.type)

    def __getitem__(self, rows: Rows) -> "Intents":
        return Intents(self.type[rows], self.brand[rows], self.group[rows], self.value[rows], self.language[rows])

    @classmethod
    def join(cls, parts: "list[Intents]") -> "Intents":
        """Return the intents of all `parts`, one after the other."""
        columns = (np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls))
        return cls(*columns)

    def without_brand(self, rows: Bools) -> "Intents":
        """Return the intents, asking for no brand in `rows`."""
        return replace(self, brand=np.where(rows, NONE, self.brand).astype(np.int32))

    def without_values(self, rows: Bools) -> "Intents":
        """Return the intents, asking for no attribute value in `rows`."""
        return replace(self, group=np.where(rows[:, None], NONE, self.group).astype(np.int32))

    def constraints(self) -> Ints:
        """Return for each intent how many constraints it has besides its type."""
        return np.asarray((self.brand != NONE) + (self.group != NONE).sum(axis=1), np.int32)


def sample_offers(market: Market, num_ads: int, rng: np.random.Generator) -> Offers:
    """Draw what `num_ads` ads offer. Every ad has at least one attribute value."""
    common = np.exp(rng.normal(0.0, TYPE_SPREAD, len(market.vertical)))
    kind = rng.choice(len(common), num_ads, p=common / common.sum()).astype(np.int32)
    vertical = market.vertical[kind]
    sizes = market.values[vertical]
    says = rng.random(sizes.shape) < HAS_VALUE
    says[np.arange(num_ads), rng.integers(0, (sizes > 0).sum(axis=1))] = True
    drawn = (rng.random(sizes.shape) * sizes).astype(np.int32)
    return Offers(
        type=kind,
        brand=(rng.random(num_ads) * market.brands[vertical]).astype(np.int32),
        values=np.where(says & (sizes > 0), drawn, NONE).astype(np.int32),
        language=rng.choice(len(AD_LANGUAGES), num_ads, p=AD_LANGUAGES).astype(np.int32),
        quality=rng.beta(4.0, 3.0, num_ads),
        active=rng.random(num_ads) >= PAUSED,
    )


def sample_intents(offers: Offers, languages: Ints, rng: np.random.Generator) -> Intents:
    """Draw one intent for each of `languages`: each wants some of what one active ad in its language offers.

    People ask for what exists, so every intent has at least one ad that satisfies it entirely.
    """
    seed = np.zeros(len(languages), np.int64)
    for language in Language:
        mine = np.flatnonzero(languages == language)
        ads = np.flatnonzero(offers.active & UNDERSTOOD[language, offers.language])
        seed[mine] = rng.choice(ads, len(mine))
    offered = offers.values[seed]
    # Shuffle the groups the ad speaks about to the front, then keep as many as the intent wants.
    order = np.argsort(rng.random(offered.shape) + (offered == NONE), axis=1)
    order = np.pad(order, ((0, 0), (0, max(0, CONSTRAINTS - order.shape[1]))))[:, :CONSTRAINTS]
    wanted = rng.choice(len(WANTS_VALUES), len(seed), p=WANTS_VALUES)
    available = np.minimum(wanted, (offered != NONE).sum(axis=1))
    keep = np.arange(CONSTRAINTS) < available[:, None]
    return Intents(
        type=offers.type[seed],
        brand=np.where(rng.random(len(seed)) < WANTS_BRAND, offers.brand[seed], NONE).astype(np.int32),
        group=np.where(keep, order, NONE).astype(np.int32),
        value=np.where(keep, np.take_along_axis(offered, order, axis=1), NONE).astype(np.int32),
        language=languages,
    )


def grade(market: Market, intents: Intents, offers: Offers, query: Rows, ad: Rows) -> npt.NDArray[np.int8]:
    """Return how well each ad answers the query beside it, from 0 to 3; `query` and `ad` are row numbers, equally long.

    3: same type, every constraint satisfied. 2: same type, nothing contradicted, but the ad leaves a constraint open.
    1: same type with another brand or another attribute value, or a related type. 0: anything else, and every ad in a
    language the query does not understand.
    """
    kind, other = intents.type[query], offers.type[ad]
    same = kind == other
    brand = intents.brand[query]
    conflict = (brand != NONE) & (brand != offers.brand[ad])
    unmet = np.zeros(len(query), np.bool_)
    for place in range(CONSTRAINTS):
        group, value = intents.group[query, place], intents.value[query, place]
        asks = group != NONE
        offered = offers.values[ad, np.maximum(group, 0)]
        unmet |= asks & (offered == NONE)
        conflict |= asks & (offered != NONE) & (offered != value)
    within = np.where(conflict, 1, np.where(unmet, 2, 3))
    grades = np.where(same, within, market.related[kind, other].astype(np.int64))
    grades[~UNDERSTOOD[intents.language[query], offers.language[ad]]] = 0
    return grades.astype(np.int8)
