"""Team-draft interleaving: two rankings in one answer, and the user's clicks decide.

Both systems are judged by the same user at the same moment, so that it needs a fraction of an A/B test's traffic. It
tells which is preferred, not by how much it earns more. Source: Radlinski, Kurup and Joachims, "How Does Clickthrough
Data Reflect Retrieval Quality?", CIKM 2008.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from intently.market.distributions import NORMAL, binomial_p_value


@dataclass(frozen=True, slots=True)
class Interleaved:
    """One answer for two systems: the ads, and for each which system has drafted it, "A" or "B"."""

    ad_ids: tuple[str, ...]
    teams: tuple[str, ...]

    def credit(self, clicked: Collection[str]) -> int:
        """Return the clicks of A minus those of B."""
        marks = [
            1 if team == "A" else -1 for ad_id, team in zip(self.ad_ids, self.teams, strict=True) if ad_id in clicked
        ]
        return sum(marks)


def team_draft(first: Sequence[str], second: Sequence[str], k: int, rng: Random | int | str) -> Interleaved:
    """Return an interleaved answer of up to k ads, from two systems' ad ids, best first.

    In each round a coin decides who drafts first; each takes its best ad that is not taken. `rng` may be a seed, such
    as the request's id: the answer is then the same if it is asked for again.
    """
    coin = rng if isinstance(rng, Random) else Random(rng)
    queues = {"A": list(dict.fromkeys(first))[::-1], "B": list(dict.fromkeys(second))[::-1]}
    ad_ids: dict[str, str] = {}
    while len(ad_ids) < k and any(queues.values()):
        for team in ("A", "B") if coin.random() < 0.5 else ("B", "A"):
            queue = queues[team]
            while queue and queue[-1] in ad_ids:
                queue.pop()
            if queue and len(ad_ids) < k:
                ad_ids[queue.pop()] = team
    return Interleaved(tuple(ad_ids), tuple(ad_ids.values()))


@dataclass(frozen=True, slots=True)
class Preference:
    """Which of two systems users prefer. `share` is A's share of the answers that one of them won."""

    wins: int  # answers in which A got more clicks
    losses: int
    ties: int  # no clicks, or equally many
    share: float
    interval: tuple[float, float]  # of the share, by Wilson
    p_value: float  # exact, that both are preferred equally


def preference(credits: Iterable[int], *, confidence: float = 0.95) -> Preference:
    """Return which system is preferred, from the credit of each answer. Answers should be of different users."""
    wins = losses = ties = 0
    for credit in credits:
        wins, losses, ties = wins + (credit > 0), losses + (credit < 0), ties + (credit == 0)
    num = wins + losses
    if not num:
        return Preference(0, 0, ties, 0.5, (0.0, 1.0), 1.0)
    share, z = wins / num, NORMAL.inv_cdf((1 + confidence) / 2)
    center = (share + z * z / (2 * num)) / (1 + z * z / num)
    half = z * (share * (1 - share) / num + z * z / (4 * num * num)) ** 0.5 / (1 + z * z / num)
    return Preference(wins, losses, ties, share, (center - half, center + half), binomial_p_value(wins, num))
