"""A ranking with prices: the auction applied to what an engine returned.

The engine itself knows no auction: bids leave the order of relevance as it is. Whoever wants an auction calls
`priced_ranking` on a ranking, and gets another one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from intently.errors import InputError
from intently.market.auction import AuctionRules, Bidders, run_auction
from intently.types import Ranking, ScoredAd


@dataclass(frozen=True, slots=True)
class PricedAd:
    """An ad that won a slot: `ad.rank` is its place, `ad.score` its auction score, `price` what a click costs."""

    ad: ScoredAd
    slot: int  # from 0; slots that nobody wanted are left out
    price: float
    relevance_rank: int  # where the engine had ranked it, from 1


def priced_ranking(
    ranking: Ranking,
    bids: Mapping[str, float | None],
    rules: AuctionRules,
    *,
    quality: Mapping[str, float] | None = None,
    relevance: Mapping[str, float] | None = None,
    reserve: Mapping[str, float] | None = None,
) -> tuple[Ranking, tuple[PricedAd, ...]]:
    """Return the ranking of the winners by slot, and their prices.

    `bids` and the others are numbers by ad id. An ad without a bid takes no part. If `quality`, `relevance` or
    `reserve` is given, it has to name every ad that bids. If `rules` let relevance count, `relevance` has to be given:
    a ranking's scores may be negative, and are no factors. Equal auction scores keep the order of relevance.
    """
    if rules.relevance_power and relevance is None:
        raise InputError("missing, but relevance_power is above 0", cure="pass numbers above 0", field="relevance")
    ads = [ad for ad in ranking.ads if bids.get(ad.ad_id) is not None]
    columns = {"bid": [float(bids[ad.ad_id] or 0.0) for ad in ads]}
    for name, values in (("quality", quality), ("relevance", relevance), ("reserve", reserve)):
        if values is not None:
            if missing := next((ad.ad_id for ad in ads if ad.ad_id not in values), None):
                raise InputError(f"says nothing of ad {missing!r}", cure="pass a number for each ad", field=name)
            columns[name] = [values[ad.ad_id] for ad in ads]
    outcome = run_auction(Bidders.of(**columns), rules)
    won = zip(
        *(column.tolist() for column in (outcome.rows, outcome.slots, outcome.scores, outcome.prices)), strict=True
    )
    priced = tuple(
        PricedAd(replace(ads[row], rank=place, score=score), slot, price, ads[row].rank)
        for place, (row, slot, score, price) in enumerate(won, 1)
    )
    return replace(ranking, ads=tuple(each.ad for each in priced)), priced
