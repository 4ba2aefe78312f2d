"""Estimators for whole rankings, which would need astronomically many answers without an assumption about users.

Both return the mean number of clicks (or whatever the rewards are) an answer. Source of both: Li, Abbasi-Yadkori,
Kveton, Muthukrishnan, Vinay and Wen, "Offline Evaluation of Ranking Policies with Click Models", KDD 2018; of the
second also McInerney et al., "Counterfactual Evaluation of Slate Recommendations with Sequential Reward Interactions",
KDD 2020.
"""

import numpy as np

from intently.arrays import Float64Array
from intently.errors import InputError
from intently.market.estimates.estimate import Estimate, estimated, weights_of


def position_based_ips(
    rewards: Float64Array,
    target_examination: Float64Array,
    logged_examination: Float64Array,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Return the estimate under the position-based model: a click depends on the ad and on whether its place is seen.

    `rewards` (N, K) are those of the shown ads. `target_examination` (N, K) is how probably each of these ads would
    have been looked at under the target: the sum over positions of the examination times the probability of standing
    there, 0 if the target would not show it. `logged_examination` is the same for the policy that was logged. Both
    policies may be deterministic: this is what position bias is good for. Ads that the log never shows are not counted,
    so a target that shows other ads is underestimated.
    """
    rewards, _, target, logged = _same_shape(rewards, rewards, target_examination, logged_examination)
    if (logged <= 0).any() or (target < 0).any():
        cure = "estimate examinations by a click model, and leave out positions that nobody sees"
        raise InputError("shown ads need an examination above 0", cure=cure, field="logged_examination")
    weights = target / logged
    return estimated(
        "position-based IPS",
        np.asarray((weights * rewards).sum(axis=1), np.float64),
        np.asarray(weights.mean(axis=1), np.float64),
        confidence=confidence,
    )


def cascade_ips(
    rewards: Float64Array, target: Float64Array, logged: Float64Array, *, confidence: float = 0.95
) -> Estimate:
    """Return the estimate under the cascade assumption: a reward depends on the ad and on those above, not below.

    `rewards` (N, K); `target` and `logged` (N, K) are the probabilities of each position's ad given those above it. A
    position's weight is the product of the ratios down to it, so that weights grow with the depth, less than those of
    whole rankings.
    """
    rewards, _, target, logged = _same_shape(rewards, rewards, target, logged)
    ratios = weights_of(target.ravel(), logged.ravel()).reshape(target.shape)
    weights = np.cumprod(ratios, axis=1)
    return estimated(
        "cascade IPS",
        np.asarray((weights * rewards).sum(axis=1), np.float64),
        np.asarray(weights[:, -1], np.float64),
        confidence=confidence,
    )


def _same_shape(*columns: Float64Array) -> tuple[Float64Array, ...]:
    arrays = tuple(np.asarray(column, np.float64) for column in columns)
    if any(array.shape != arrays[0].shape or array.ndim != 2 for array in arrays) or len(arrays[0]) < 2:
        told = f"got shapes {', '.join(str(array.shape) for array in arrays[1:])}"
        raise InputError(told, cure="pass arrays (answers, positions), at least 2 answers", field="rewards")
    if not all(np.isfinite(array).all() for array in arrays):
        raise InputError("not all numbers are finite", cure="leave out what is unknown", field="rewards")
    return arrays
