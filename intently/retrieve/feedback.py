"""Pseudo-relevance feedback: what the first ads say is asked for, too.

Ads lie nearer to each other than to the few words of a query, and name what it left out. So the query's embedding moves
towards theirs (Rocchio, 1971), and the words of their titles join its own (RM3: Abdul-Jaleel et al., TREC 2004). It
takes all paths together to find ads that are worth it: a path fed with its own first ads measured hardly better.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intently.index.lexical import LexicalQuery
from intently.index.postings import FloatArray, IntArray
from intently.retrieve.ads import Ads
from intently.settings import check_range


@dataclass(frozen=True)
class FeedbackSettings:
    """How much a query takes from the first ads that all paths together found for it."""

    num_ads: int = 3  # 0: no feedback
    dense_weight: float = 0.4  # of the ads' mean embedding, against 1 for the query's
    lexical_weight: float = 0.3  # of all words of their titles together, against 1 for all words of the query
    num_terms: int = 20  # of the titles, those that weigh most

    def __post_init__(self) -> None:
        check_range(self, "num_ads", "num_terms", whole=True)
        check_range(self, "dense_weight", "lexical_weight")


def moved(embedding: FloatArray, ads: Ads, first: IntArray, settings: FeedbackSettings) -> FloatArray:
    """Return a query's embedding (D,), moved towards the ads `first (F,)`, at unit length again."""
    towards = embedding + np.float32(settings.dense_weight) * ads.embeddings(first).mean(axis=0)
    result: FloatArray = towards / np.linalg.norm(towards)
    return result


def expanded(
    asked: Sequence[LexicalQuery], ads: Ads, first: IntArray, settings: FeedbackSettings
) -> list[LexicalQuery]:
    """Return what is asked of each segment's index, with words of the titles of the ads `first (F,)`.

    A word counts by its mean share of what a title weighs. A query without known words gets none from others.
    """
    total: dict[str, float] = {}
    for ad_row in first.tolist():
        for term, share in ads.title_shares(ad_row).items():
            total[term] = total.get(term, 0.0) + share
    best = sorted(total, key=lambda term: (-total[term], term))[: settings.num_terms]
    num_own = len({term for one in asked for term in one.terms})
    scale = settings.lexical_weight * num_own / max(sum(total[term] for term in best), 1e-9)
    return ads.more_asked(asked, {term: scale * total[term] for term in best})
