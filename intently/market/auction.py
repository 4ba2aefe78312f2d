"""The auction: which ads get which slots, and what a click costs them.

An ad's score is `bid x quality^quality_power x relevance^relevance_power`. Slots are filled from the first to the
last: each takes the best-scored ad that is left and whose bid meets the slot's reserve and its own. So a higher bid
never gets a worse slot, and for each slot t there is a *threshold*: the least bid with which an ad gets slot t or a
better one, if all others stay as they are. Both ways of pricing follow from thresholds:

- GSP (generalized second price) charges the threshold of the slot that was won.
- VCG charges the mean of the thresholds from that slot to the last one, weighted by the clicks that each step down
  would lose. Without reserves this is the Vickrey-Clarke-Groves payment: what the ad's presence costs the others.

Thresholds fall from slot to slot, so at equal bids VCG never charges more than GSP.

Sources: Edelman, Ostrovsky and Schwarz, "Internet Advertising and the Generalized Second-Price Auction", 2007;
Varian, "Position auctions", 2007; Myerson, "Optimal Auction Design", 1981 (payments with reserves).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, zip_longest
from math import inf

import numpy as np

from intently.arrays import Float64Array, IntArray
from intently.errors import InputError, SettingsError


class Pricing(StrEnum):
    """How a click is priced."""

    GSP = "gsp"
    VCG = "vcg"


@dataclass(frozen=True, slots=True)
class AuctionRules:
    """What holds for all auctions. Raises `SettingsError` for a value out of range."""

    slot_clicks: tuple[float, ...] = (
        1.0,
        0.7,
        0.5,
        0.35,
    )  # how much a slot is clicked, relative to the others; falling
    slot_reserves: tuple[float, ...] = ()  # least bid for each slot; empty: none
    quality_power: float = 1.0  # 0: quality does not count
    relevance_power: float = 0.0
    pricing: Pricing = Pricing.GSP

    def __post_init__(self) -> None:
        clicks, reserves = self.slot_clicks, self.slot_reserves
        if not clicks or not all(
            inf > here >= below > 0 for here, below in zip(clicks, (*clicks[1:], clicks[-1]), strict=True)
        ):
            raise SettingsError(f"slot_clicks is {clicks}; it takes numbers above 0 that do not rise")
        if len(reserves) not in (0, len(clicks)) or not all(0 <= reserve < inf for reserve in reserves):
            raise SettingsError(f"slot_reserves is {reserves}; it takes one number of at least 0 a slot")
        for name in ("quality_power", "relevance_power"):
            if not 0 <= getattr(self, name) <= 10:
                raise SettingsError(f"{name} is {getattr(self, name)}; it takes 0 to 10")
        object.__setattr__(self, "pricing", Pricing(self.pricing))

    @property
    def reserves(self) -> tuple[float, ...]:
        """Return the least bid for each slot (S,)."""
        return self.slot_reserves or (0.0,) * len(self.slot_clicks)


_COLUMNS = ("bid", "quality", "relevance", "reserve")


@dataclass(frozen=True, slots=True)
class Bidders:
    """The ads of one auction as columns (N,), the most relevant first: of equal scores, the first one wins.

    `bid` and `reserve` are currency units a click. `quality` is usually the expected click rate. Raises `InputError`
    for columns of different lengths, and for numbers that are negative or not finite.
    """

    bid: Float64Array
    quality: Float64Array
    relevance: Float64Array
    reserve: Float64Array  # least price of each ad, whatever its slot

    def __post_init__(self) -> None:
        columns = [np.asarray(getattr(self, name), np.float64) for name in _COLUMNS]
        for name, column in zip(_COLUMNS, columns, strict=True):
            object.__setattr__(self, name, column)
            if column.shape != (len(self.bid),):
                told = f"expected {len(self.bid)} numbers, got shape {column.shape}"
                raise InputError(told, cure="pass one number an ad", field=name)
        table = np.stack(columns)
        right = (table >= 0) & (table < inf)
        if not right.all():
            which, at = (int(place[0]) for place in np.nonzero(~right))
            told = f"ad {at} has {table[which, at]}"
            raise InputError(told, cure="pass numbers of at least 0", field=_COLUMNS[which])

    @classmethod
    def of(
        cls,
        bid: Sequence[float] | Float64Array,
        *,
        quality: Sequence[float] | Float64Array | None = None,
        relevance: Sequence[float] | Float64Array | None = None,
        reserve: Sequence[float] | Float64Array | None = None,
    ) -> "Bidders":
        """Return bidders; columns that are not given are 1, reserves 0."""
        bids = np.asarray(bid, np.float64)
        ones = np.ones(bids.shape)
        return cls(
            bids,
            ones if quality is None else np.asarray(quality, np.float64),
            ones if relevance is None else np.asarray(relevance, np.float64),
            np.zeros(bids.shape) if reserve is None else np.asarray(reserve, np.float64),
        )

    def __len__(self) -> int:
        return len(self.bid)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Who won, best slot first, as columns (W,): the ad's row, its slot from 0, its score, the price of one click."""

    rows: IntArray
    slots: IntArray
    scores: Float64Array
    prices: Float64Array


def run_auction(bidders: Bidders, rules: AuctionRules) -> Outcome:
    """Return the winners of one auction and their prices.

    An ad whose score is 0 takes no part. A slot whose reserve nobody meets stays empty. No price exceeds the ad's own
    bid or is below its reserves. Cost: O(N log N), and O(S) a winner for N ads and S slots, unless reserves keep many
    out.
    """
    weights = bidders.quality**rules.quality_power * bidders.relevance**rules.relevance_power
    bids, reserves, floors = bidders.bid.tolist(), bidders.reserve.tolist(), rules.reserves
    factors, scores = weights.tolist(), (bidders.bid * weights).tolist()

    def allocate(order: list[int], first_slot: int) -> list[int]:
        """Return the row that takes each slot from `first_slot` on, -1 for none, among those in `order`, best first."""
        left, placed = order.copy(), []
        for floor in floors[first_slot:]:
            at = next((at for at, row in enumerate(left) if bids[row] >= floor and bids[row] >= reserves[row]), -1)
            placed.append(left.pop(at) if at >= 0 else -1)
        return placed

    def thresholds(row: int, slot: int, others: list[int]) -> list[float]:
        """Return the least bid for which an ad gets each slot from its own on, or a better one.

        Until an ad takes a slot, the others stand where they would without it. So it gets slot t as soon as it meets
        the floor of t and beats whoever would have t without it.
        """
        rivals = [scores[rival] / factors[row] if rival >= 0 else 0.0 for rival in allocate(others, slot)]
        needed = (max(floor, reserves[row], rival) for floor, rival in zip(floors[slot:], rivals, strict=True))
        return list(accumulate(needed, min))

    left = sorted((row for row, score in enumerate(scores) if score > 0), key=lambda row: -scores[row])
    price = _gsp_price if rules.pricing is Pricing.GSP else _vcg_price
    won: list[tuple[int, int, float, float]] = []
    for slot, row in enumerate(allocate(left, 0)):
        if row >= 0:
            left.remove(row)
            paid = price(thresholds(row, slot, left), rules.slot_clicks[slot:])
            won.append((row, slot, scores[row], min(paid, bids[row])))
    rows, slots, won_scores, prices = zip(*won, strict=True) if won else ((), (), (), ())
    return Outcome(
        np.array(rows, np.int64),
        np.array(slots, np.int64),
        np.array(won_scores, np.float64),
        np.array(prices, np.float64),
    )


def _gsp_price(thresholds: list[float], slot_clicks: Sequence[float]) -> float:
    return thresholds[0]


def _vcg_price(thresholds: list[float], slot_clicks: Sequence[float]) -> float:
    lost = (here - below for here, below in zip_longest(slot_clicks, slot_clicks[1:], fillvalue=0.0))
    return sum(share * threshold for share, threshold in zip(lost, thresholds, strict=True)) / slot_clicks[0]
