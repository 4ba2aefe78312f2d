"""Why one ad is in an answer, or the first rule or stage that kept it out."""

from dataclasses import dataclass

import numpy as np

from intently.arrays import Mask
from intently.engine import eligibility
from intently.engine.search import NUM_EVIDENCE, Searched
from intently.filters import Expression
from intently.snapshot.snapshot import Snapshot
from intently.types import Channel, Ranking, Request, Verdict

DEPTH = 1_000  # ads deep that a place in the ranking is looked for


@dataclass(frozen=True)
class Place:
    """Where one ad stands in one channel, whether the channel found it or not.

    `rank` is its place among all eligible ads and itself, by `score`, which an ad that nothing leads to does not have.
    `was_found`: the channel gave it to the fusion. `evidence` is as in a `Reason`.
    """

    channel: Channel
    rank: int | None
    score: float
    was_found: bool
    evidence: tuple[tuple[str, float], ...] = ()


def places(searched: Searched, eligible: Mask, ad_row: int) -> tuple[Place, ...]:
    """Return one ad's place in each channel that was searched, by the scores of all ads. `eligible (N,)`: of the query.

    Cost: the scores of all ads in each channel, for the dense one with late interaction if its encoder has that.
    """
    reasons = {reason.channel: reason for reason in searched.reasons(ad_row)}
    rows = np.arange(len(eligible))
    found = []
    for name, hits in searched.found.items():
        if reason := reasons.get(name):
            found.append(Place(name, reason.rank, reason.score, True, reason.evidence))
            continue
        scores = hits.scores_of(rows)
        score = float(scores[ad_row])
        if score <= 0 and name is not Channel.DENSE:
            found.append(Place(name, None, score, False))
            continue
        before = (scores > score) | ((scores == score) & (rows < ad_row))
        rank = 1 + int((before & eligible).sum())
        found.append(Place(name, rank, score, False, hits.evidence(ad_row, score)[:NUM_EVIDENCE]))
    return tuple(found)


def verdict(
    request: Request,
    ad_id: str,
    ad_row: int | None,
    ranking: Ranking,
    uncapped: Ranking,
    snapshot: Snapshot,
    relevance: float | None,
) -> Verdict:
    """Return the verdict on one ad. `ranking` answers the request, `DEPTH` ads deep at least; so does `uncapped`.

    `uncapped` answers it as if it had no caps. `relevance` is the ad's.
    """
    if ad_row is None:
        return Verdict(ad_id, "unknown", "there is no ad with this id")
    ad = snapshot.ad(ad_row)
    rules = eligibility.verdict(ad, request, snapshot.lists, known=snapshot.known_words)
    if refused := next((each for each in rules if not each.admits), None):
        return Verdict(ad_id, refused.rule, refused.told)
    if isinstance(request.filters, Expression) and not snapshot.matching(request.filters)[ad_row]:
        return Verdict(ad_id, "filters", f"it does not meet {request.filters}")
    if relevance is not None and request.min_relevance is not None and relevance < request.min_relevance:
        told = f"its relevance is {relevance:.3f}, and {request.min_relevance:g} was asked for"
        return Verdict(ad_id, "relevance", told, relevance=relevance)
    found = next((scored for scored in ranking.ads if scored.ad_id == ad_id), None)
    if found is None and (capped := next((scored for scored in uncapped.ads if scored.ad_id == ad_id), None)):
        told = ", ".join(f"{most} of one {name}" for name, most in request.max_per.items())
        told = f"without caps its place is {capped.rank:,}; as many ads as may be shown come before it: {told}"
        return Verdict(ad_id, "caps", told, None, None, capped.reasons, relevance)
    if found is None:
        told = f"not among the first {len(ranking.ads):,} ads"
        if len(ranking.ads) < max(request.k, DEPTH):
            told = "no channel found it" if ranking.ads else "the query says nothing that ads are found by"
        return Verdict(ad_id, "channels", told, relevance=relevance)
    stage, told = "shown", f"place {found.rank:,}"
    if found.rank > request.k:
        stage, told = "rank", f"its place is {found.rank:,}, and {request.k:,} ads were asked for"
    return Verdict(ad_id, stage, told, found.rank, found.score, found.reasons, relevance)
