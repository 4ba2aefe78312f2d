"""Whether training helped: the trained student against the one it began as, on queries that neither has learned from.

Training can lose what a pretrained encoder knew, most of all with few clicks. A student that lost is not published.
"""

from dataclasses import dataclass

import numpy as np

from intently.arrays import Float64Array
from intently.build.interactions import Interactions
from intently.evaluation.significance import randomization_test
from intently.models.student import Student
from intently.models.tokenizer import TextKind
from intently.types import Progress

MIN_QUERIES = 20  # held-out queries with clicks; fewer say nothing
_MOST_QUERIES = 200
_POOL = 600  # ads that each query is compared with: all that were clicked for one of these, and others at random


@dataclass(frozen=True)
class Gain:
    """The mean reciprocal ranks of clicked ads by start and trained student, and the p-value of the difference."""

    start: float
    trained: float
    p_value: float

    @property
    def facts(self) -> dict[str, float]:
        """What a build's report says of it."""
        return {"start_precision": self.start, "trained_precision": self.trained, "training_p_value": self.p_value}


def training_gain(
    start: Student, trained: Student, aside: Interactions, texts: list[str], max_tokens: int, seed: int, show: Progress
) -> Gain | None:
    """Return what training gained on held-out queries (`aside`), None if too few of them were clicked.

    `texts (N)` are those of the ads. Cost: both students read some 600 ads and 200 queries.
    """
    clicked: dict[int, set[int]] = {}
    for query, ad in aside.clicks.tolist():
        clicked.setdefault(query, set()).add(ad)
    if len(clicked) < MIN_QUERIES:
        return None
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(sorted(clicked))[:_MOST_QUERIES].tolist()
    known = sorted(set().union(*(clicked[query] for query in chosen)))
    others = rng.permutation(np.setdiff1d(np.arange(len(texts)), known))[: max(_POOL - len(known), len(known))]
    pool = [*known, *others.tolist()]
    ranks = []
    for number, student in enumerate((start, trained)):
        show("Measuring what training gained", number, 2, "")
        ads = student.embed([texts[row] for row in pool], max_tokens, kind=TextKind.PASSAGE)
        queries = student.embed([aside.queries[query] for query in chosen], max_tokens)
        ranks.append(_reciprocal_ranks(queries @ ads.T, [clicked[query] for query in chosen], pool))
    p_value = float(randomization_test((ranks[1] - ranks[0])[:, None], seed=seed)[0])
    return Gain(float(ranks[0].mean()), float(ranks[1].mean()), p_value)


def _reciprocal_ranks(cosines: np.ndarray, clicked: list[set[int]], pool: list[int]) -> Float64Array:
    """Return for each query (Q,) one over the rank of its first clicked ad; equals share the worse rank."""
    ranks = np.empty(len(clicked))
    for row, ads in enumerate(clicked):
        best = cosines[row, [at for at, ad in enumerate(pool) if ad in ads]].max()
        ranks[row] = 1.0 / np.count_nonzero(cosines[row] >= best)
    return ranks
