"""Judgements of the held-out queries, and how many words they share with the ads they want."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intently.lab.world.latent import Bools, Intents, Market, Offers, Rows, grade

MOST_JUDGED = 500  # ads a query; a query that more ads answer with grade 2 or 3 is not judged at all

_FUNCTION_WORDS = frozenset(
    ("a", "an", "and", "at", "by", "for", "from", "i", "in", "is", "it", "my", "of", "on", "or", "the", "to", "with")
)
_WORDS = re.compile(r"[a-z0-9]+|[\u4e00-\u9fff]+")


@dataclass(frozen=True, slots=True)
class Judgements:
    """Graded pairs, ordered by query, then best grade first."""

    query: Rows
    ad: Rows
    grade: npt.NDArray[np.int8]


class Judge:
    """Grades active ads for intents, by what both mean and never by their words."""

    def __init__(self, market: Market, offers: Offers):
        self._market, self._offers = market, offers
        active = np.flatnonzero(offers.active)
        by_type = active[np.argsort(offers.type[active], kind="stable")]
        bounds = np.searchsorted(offers.type[by_type], np.arange(1, len(market.vertical)))
        self._ads = np.split(by_type, bounds)

    def is_judgeable(self, intents: Intents) -> Bools:
        """Return which intents have an ad of grade 3, and at most `MOST_JUDGED` of grade 2 or 3."""
        found = np.zeros(len(intents), np.bool_)
        for row, kind in enumerate(intents.type.tolist()):
            grades = self._grades(intents, row, self._ads[kind])
            found[row] = (grades == 3).any() and (grades >= 2).sum() <= MOST_JUDGED
        return found

    def judge(self, intents: Intents, rng: np.random.Generator) -> Judgements:
        """Return the grades above 0: at most `MOST_JUDGED` a query, the best ones, at random among equals."""
        queries, ads, graded = [], [], []
        for row, kind in enumerate(intents.type.tolist()):
            near = np.flatnonzero(self._market.related[kind])
            candidates = rng.permutation(np.concatenate([self._ads[kind], *(self._ads[other] for other in near)]))
            grades = self._grades(intents, row, candidates)
            best = np.argsort(-grades, kind="stable")[: min(MOST_JUDGED, int((grades > 0).sum()))]
            queries.append(np.full(len(best), row))
            ads.append(candidates[best])
            graded.append(grades[best])
        return Judgements(np.concatenate(queries), np.concatenate(ads), np.concatenate(graded))

    def _grades(self, intents: Intents, row: int, ads: Rows) -> npt.NDArray[np.int8]:
        return grade(self._market, intents, self._offers, np.full(len(ads), row), ads)


def words(text: str) -> set[str]:
    """Return the words of `text`: Latin words in lower case, and pairs of neighbouring Chinese characters.

    A Chinese character with no Chinese neighbour is a word of its own. English function words do not count.
    """
    found = set()
    for run in _WORDS.findall(text.lower()):
        if run[0] <= "z" or len(run) == 1:
            found.add(run)
        else:
            found.update(run[at : at + 2] for at in range(len(run) - 1))
    return found - _FUNCTION_WORDS


def share_without_overlap(texts: list[str], relevant: Judgements, titles: dict[int, str]) -> float:
    """Return the share of queries that have no word in common with any title of an ad of grade 2 or 3."""
    seen: list[set[str]] = [set() for _ in texts]
    for query, ad, worth in zip(relevant.query.tolist(), relevant.ad.tolist(), relevant.grade.tolist(), strict=True):
        if worth >= 2:
            seen[query] |= words(titles[ad])
    return sum(not words(text) & said for text, said in zip(texts, seen, strict=True)) / len(texts)
