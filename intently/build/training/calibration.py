"""Fitting probabilities to evidence: a logistic regression whose weights may only speak for an ad.

Shape letters: N pairs of a query and an ad, E kinds of evidence.
"""

from dataclasses import dataclass

import numpy as np

from intently.arrays import Float64Array, Mask
from intently.engine.relevance import Evidence, Logistic
from intently.settings import check_range

_NEWTON_STEPS = 50  # far more than it takes
_SHRINKAGE = 1e-3  # of weights per standard deviation, against the mean log loss


@dataclass(frozen=True)
class CalibrationSettings:
    """How the probability of relevance is learned."""

    enabled: bool = True  # otherwise rankings do not tell relevance, and no request may ask for a least one
    min_queries: int = 50  # with a relevant ad among the first; with fewer, the engine does not tell relevance
    max_queries: int = 300  # that are learned from; more take longer and tell little more
    depth: int = 10  # first ads of a query that are learned from
    num_strangers: int = 5  # ads of other queries that are learned from as irrelevant ones
    seed: int = 0  # draws queries and strangers

    def __post_init__(self) -> None:
        check_range(self, "min_queries", "max_queries", "depth", low=1)
        check_range(self, "num_strangers")
        check_range(self, "seed", high=2**31 - 1)


def fit_logistic(found: Evidence, relevant: Mask) -> Logistic:
    """Return the model that tells which pairs are `relevant (N,)` from evidence, columns (N,), by maximum likelihood.

    What would speak against an ad gets no weight: evidence of which more may be worse makes answers that nobody
    understands. With both relevant and other pairs, the mean probability is the share of relevant ones. Cost:
    milliseconds for ten thousand pairs.
    """
    names = list(found)
    table = np.stack([np.asarray(found[name], dtype=np.float64) for name in names], axis=1)
    mean, deviation = table.mean(axis=0), table.std(axis=0)
    table = (table - mean) / np.where(deviation < 1e-9, 1.0, deviation)  # a constant becomes 0, which gets no weight
    used = np.ones(len(names), dtype=np.bool_)
    while True:
        weights = np.zeros(len(names))
        weights[used], bias = _newton(table[:, used], relevant)
        if (weights >= 0).all():
            break
        used[int(weights.argmin())] = False
    weights /= np.where(deviation < 1e-9, 1.0, deviation)
    return Logistic(dict(zip(names, weights.tolist(), strict=True)), float(bias - weights @ mean))


def _newton(table: Float64Array, relevant: Mask) -> tuple[Float64Array, float]:
    """Return the weights (E,) and the bias that minimise the mean log loss, plus shrinkage of the weights."""
    table = np.column_stack((table, np.ones(len(table))))
    shrinkage = np.append(np.full(table.shape[1] - 1, _SHRINKAGE), 1e-9)  # the bias is free

    def loss_of(values: Float64Array) -> float:
        total = table @ values
        return float(np.mean(np.logaddexp(0.0, total) - relevant * total) + shrinkage @ values**2 / 2)

    values = np.zeros(table.shape[1])
    loss = loss_of(values)
    for _ in range(_NEWTON_STEPS):
        chances = 1.0 / (1.0 + np.exp(-(table @ values)))
        slope = table.T @ (chances - relevant) / len(table) + shrinkage * values
        bend = (table * (chances * (1.0 - chances))[:, None]).T @ table / len(table) + np.diag(shrinkage)
        step, size = np.linalg.solve(bend, slope), 1.0
        while loss_of(values - size * step) > loss and size > 1e-6:
            size /= 2
        values = values - size * step
        before, loss = loss, loss_of(values)
        if before - loss < 1e-12:
            break
    return values[:-1], float(values[-1])
