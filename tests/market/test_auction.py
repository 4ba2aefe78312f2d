"""The auction against brute force, and the properties that make it one. Each property is checked in 10,000 auctions."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import InputError, SettingsError
from intently.market import AuctionRules, Bidders, Outcome, Pricing, priced_ranking, run_auction
from intently.types import Ranking, ScoredAd

# Hypothesis draws seeds, each of which makes 50 auctions: drawing 10,000 auctions number by number takes minutes.
SEEDS = st.integers(0, 2**32 - 1)
CASES = settings(max_examples=200, deadline=None)
AUCTIONS_A_SEED = 50
GRID = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
WEIGHTS = (0.25, 0.5, 1.0, 2.0)
RESERVES = (0.0, 0.0, 0.75, 1.25)
SLOTS = ((1.0,), (1.0, 0.5), (1.0, 1.0), (1.0, 0.6, 0.2))
SLOT_RESERVES = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (1.0, 0.5, 0.0), (0.5, 0.5, 0.5), (0.0, 1.0, 0.5))
POWERS = ((1.0, 0.0), (0.0, 0.0), (1.0, 1.0), (0.5, 2.0))


def auctions(seed: int):
    """Random auctions of 1 to 5 ads, and what draws more choices. Grids make ties and reserves frequent."""
    rng = random.Random(seed)
    for _ in range(AUCTIONS_A_SEED):
        ads = [
            (rng.choice(GRID), rng.choice(WEIGHTS), rng.choice(WEIGHTS), rng.choice(RESERVES))
            for _ in range(rng.randrange(1, 6))
        ]
        yield (ads, rng.choice(SLOTS), rng.choice(SLOT_RESERVES), rng.choice(POWERS)), rng


def made(auction, pricing):
    ads, clicks, reserves, (quality, relevance) = auction
    columns = [np.array(column) for column in zip(*ads, strict=True)]
    return Bidders(*columns), AuctionRules(clicks, reserves[: len(clicks)], quality, relevance, pricing)


def with_bid(bidders: Bidders, row: int, bid: float) -> Bidders:
    bids = bidders.bid.copy()
    bids[row] = bid
    return Bidders(bids, bidders.quality, bidders.relevance, bidders.reserve)


def place_of(outcome: Outcome, row: int) -> int:
    """The slot of a row, or a slot beyond all."""
    return next((slot for won, slot in zip(outcome.rows, outcome.slots, strict=True) if won == row), 99)


def price_of(outcome: Outcome, row: int) -> float:
    return next((price for won, price in zip(outcome.rows, outcome.prices, strict=True) if won == row), 0.0)


@CASES
@given(SEEDS)
def test_prices_allocation_and_ties(seed):
    for auction, rng in auctions(seed):
        row, other_bid = rng.randrange(5), rng.choice(GRID)
        bidders, rules = made(auction, Pricing.GSP)
        gsp = run_auction(bidders, rules)
        vcg = run_auction(*made(auction, Pricing.VCG))
        # Pricing does not change who wins.
        assert gsp.rows.tolist() == vcg.rows.tolist()
        assert gsp.slots.tolist() == vcg.slots.tolist()
        assert len(set(gsp.rows.tolist())) == len(gsp.rows)
        floors = np.maximum(np.array(rules.slot_reserves)[gsp.slots], bidders.reserve[gsp.rows])
        for outcome in (gsp, vcg):  # individual rationality; reserves respected
            assert (outcome.prices <= bidders.bid[gsp.rows]).all()
        assert (gsp.prices >= floors - 1e-12).all()
        assert (vcg.prices >= bidders.reserve[gsp.rows] - 1e-12).all()
        # Slot by slot, and so in revenue: VCG is at most GSP at the same bids.
        assert (vcg.prices <= gsp.prices + 1e-12).all()
        # Equal scores: the more relevant ad, which comes first, is placed first, if both may stand in the slot.
        for (one, at), (two, below) in itertools.pairwise(zip(gsp.rows.tolist(), gsp.slots.tolist(), strict=True)):
            if bidders.bid[two] >= max(rules.slot_reserves[at], bidders.reserve[two]):
                scores = gsp.scores[(gsp.rows == one) | (gsp.rows == two)]
                assert scores[0] > scores[1] or (scores[0] == scores[1] and one < two), (at, below)
        # Monotone: a higher bid never gets a worse slot.
        row %= len(bidders)
        moved = run_auction(with_bid(bidders, row, other_bid), rules)
        if other_bid >= bidders.bid[row]:
            assert place_of(moved, row) <= place_of(gsp, row)
        else:
            assert place_of(moved, row) >= place_of(gsp, row)


@CASES
@given(SEEDS)
def test_gsp_charges_the_least_bid_that_keeps_the_slot(seed):
    for auction, rng in auctions(seed):
        row = rng.randrange(5)
        bidders, rules = made(auction, Pricing.GSP)
        outcome = run_auction(bidders, rules)
        row %= len(bidders)
        slot, price = place_of(outcome, row), price_of(outcome, row)
        if slot == 99:
            continue
        assert place_of(run_auction(with_bid(bidders, row, price + 1e-9), rules), row) <= slot
        if price > 1e-6:
            assert place_of(run_auction(with_bid(bidders, row, price - 1e-6), rules), row) > slot


@CASES
@given(SEEDS)
def test_gsp_with_one_slot_is_the_second_price(seed):
    for (ads, *_), rng in auctions(seed):
        reserve = rng.choice(WEIGHTS)
        columns = [np.array(column) for column in zip(*ads, strict=True)]
        bidders = Bidders(columns[0], np.ones(len(ads)), np.ones(len(ads)), np.zeros(len(ads)))
        for pricing in Pricing:
            outcome = run_auction(bidders, AuctionRules((1.0,), (reserve,), pricing=pricing))
            best, *rest = sorted((bid for bid in columns[0] if bid >= reserve), reverse=True) or [0.0]
            assert outcome.prices.tolist() == (
                [max(reserve, *rest[:1])] if best and rest else [reserve] if best else []
            )


@CASES
@given(SEEDS)
def test_vcg_is_truthful(seed):
    """Whatever an ad's clicks are worth to it, no bid earns more than this worth."""
    for auction, rng in auctions(seed):
        row, value, lies = rng.randrange(5), rng.choice(GRID), rng.choices(GRID, k=2)
        bidders, rules = made(auction, Pricing.VCG)
        row %= len(bidders)

        def utility(bid: float, bidders=bidders, rules=rules, row=row, value=value) -> float:
            outcome = run_auction(with_bid(bidders, row, bid), rules)
            slot = place_of(outcome, row)
            return 0.0 if slot == 99 else rules.slot_clicks[slot] * (value - price_of(outcome, row))

        honest = utility(value)
        assert honest >= 0
        for lie in lies:
            assert utility(lie) <= honest + 1e-12


def test_vcg_is_truthful_for_every_value_and_every_bid_of_a_grid():
    """All bids of 3 others, all values and all bids of one: 4 bidders, 3 slots."""
    rules = AuctionRules((1.0, 0.6, 0.2), (), pricing=Pricing.VCG)
    for others in itertools.combinations_with_replacement(GRID, 3):
        bidders = Bidders.of([*others, 0.0], quality=[1.0, 0.5, 2.0, 1.0])
        outcomes = {bid: run_auction(with_bid(bidders, 3, bid), rules) for bid in GRID}
        for value in GRID:
            earned = {
                bid: (*rules.slot_clicks, *[0.0] * 97)[place_of(outcome, 3)] * (value - price_of(outcome, 3))
                for bid, outcome in outcomes.items()
            }
            assert earned[value] >= max(earned.values()) - 1e-12


def brute_force_vcg(scores: list[float], clicks: tuple[float, ...]) -> tuple[float, list[float]]:
    """Best total score over all assignments, and what each ad costs the others, by trying everything."""

    def best(rows: tuple[int, ...]) -> float:
        padded = rows + (-1,) * len(clicks)
        worth = [*scores, 0.0]  # the last for no ad, row -1
        return max(
            sum(share * worth[row] for share, row in zip(clicks, chosen, strict=True))
            for chosen in set(itertools.permutations(padded, len(clicks)))
        )

    everybody = tuple(range(len(scores)))
    welfare = best(everybody)
    without = [best(tuple(other for other in everybody if other != row)) for row in everybody]
    return welfare, without


@CASES
@given(SEEDS)
def test_vcg_without_reserves_is_the_brute_force_one(seed):
    for (made_ads, clicks, *_), _ in auctions(seed):
        ads = [ad[:2] for ad in made_ads[:4]]
        bids, quality = zip(*ads, strict=True)
        outcome = run_auction(Bidders.of(bids, quality=quality), AuctionRules(clicks, pricing=Pricing.VCG))
        scores = [bid * weight for bid, weight in ads]
        welfare, without = brute_force_vcg(scores, clicks)
        shares = [clicks[slot] for slot in outcome.slots]
        assert sum(share * scores[row] for share, row in zip(shares, outcome.rows, strict=True)) == pytest.approx(
            welfare
        )
        for row, share, price in zip(outcome.rows.tolist(), shares, outcome.prices.tolist(), strict=True):
            others = welfare - share * scores[row]
            assert price * share * quality[row] == pytest.approx(without[row] - others, abs=1e-12)


def test_a_slot_stays_empty_if_nobody_meets_its_reserve():
    outcome = run_auction(Bidders.of([1.0, 0.9]), AuctionRules((1.0, 0.5), (2.0, 0.5)))
    assert outcome.slots.tolist() == [1]
    assert outcome.prices.tolist() == [0.9]


def test_nobody_bids():
    for bidders in (Bidders.of([]), Bidders.of([0.0, 0.0])):
        assert run_auction(bidders, AuctionRules()).rows.tolist() == []


@pytest.mark.parametrize(
    "wrong",
    [{"slot_clicks": ()}, {"slot_clicks": (0.5, 1.0)}, {"slot_reserves": (1.0,)}, {"quality_power": -1.0}],
)
def test_rules_out_of_range_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        AuctionRules(**wrong)


@pytest.mark.parametrize("bids", [[1.0, -1.0], [float("nan")], [float("inf")]])
def test_bids_that_are_no_amounts_are_refused(bids):
    with pytest.raises(InputError, match="bid"):
        Bidders.of(bids)


RANKING = Ranking("running shoes 跑步鞋", tuple(ScoredAd(f"ad{at}", at + 1, -float(at)) for at in range(5)))


def test_a_ranking_is_priced_and_says_where_ads_came_from():
    rules = AuctionRules((1.0, 0.5, 0.2))
    ranking, priced = priced_ranking(RANKING, {"ad0": 1.0, "ad1": None, "ad3": 3.0, "ad4": 2.0}, rules)
    assert [ad.ad_id for ad in ranking] == ["ad3", "ad4", "ad0"]
    assert [ad.rank for ad in ranking] == [1, 2, 3]
    assert [(each.price, each.relevance_rank) for each in priced] == [(2.0, 4), (1.0, 5), (0.0, 1)]
    assert ranking.query == RANKING.query


def test_equal_bids_without_weights_leave_the_order_of_relevance():
    rules = AuctionRules((1.0,) * 5, quality_power=0.0, relevance_power=0.0)
    ranking, _ = priced_ranking(RANKING, dict.fromkeys((ad.ad_id for ad in RANKING), 0.7), rules)
    assert [ad.ad_id for ad in ranking] == [ad.ad_id for ad in RANKING]


def test_missing_numbers_are_named():
    with pytest.raises(InputError, match="ad1"):
        priced_ranking(RANKING, {"ad0": 1.0, "ad1": 1.0}, AuctionRules(), quality={"ad0": 1.0})
    with pytest.raises(InputError, match="relevance"):
        priced_ranking(RANKING, {"ad0": 1.0}, AuctionRules(relevance_power=1.0))
