"""Estimators for one choice an answer: which ad stood in a slot, or which of several rankings was shown.

All take rewards (N,), the probability `target` (N,) with which the target policy would have made the logged choice, and
the probability `logged` (N,) with which it was made. They return the target's mean reward an answer.
"""

import numpy as np

from intently.arrays import Float64Array
from intently.errors import InputError
from intently.market.estimates.estimate import Estimate, estimated, mean_weight_warnings, weights_of


def ips(rewards: Float64Array, target: Float64Array, logged: Float64Array, *, confidence: float = 0.95) -> Estimate:
    """Return the estimate by inverse propensities: mean(w r). Unbiased. Source: Horvitz and Thompson, 1952."""
    weights = weights_of(target, logged)
    told = mean_weight_warnings(weights)
    return estimated("IPS", weights * _checked(rewards, weights), weights, confidence=confidence, warnings=told)


def snips(rewards: Float64Array, target: Float64Array, logged: Float64Array, *, confidence: float = 0.95) -> Estimate:
    """Return the self-normalized estimate: sum(w r) / sum(w). A little bias, less variance than IPS.

    The interval linearizes the ratio. Raises `InputError` if all weights are 0. Source: Swaminathan and Joachims,
    NeurIPS 2015.
    """
    weights = weights_of(target, logged)
    rewards = _checked(rewards, weights)
    if not weights.any():
        cure = "the log tells nothing about this target"
        raise InputError("the target makes none of the logged choices", cure=cure, field="target")
    value = float(weights @ rewards / weights.sum())
    terms = value + weights / weights.mean() * (rewards - value)
    told = mean_weight_warnings(weights)
    return estimated("SNIPS", terms, weights, confidence=confidence, value=value, warnings=told)


def clipped_ips(
    rewards: Float64Array, target: Float64Array, logged: Float64Array, *, most: float = 10.0, confidence: float = 0.95
) -> Estimate:
    """Return the estimate with weights of at most `most`: mean(min(w, most) r).

    Biased downwards for rewards of at least 0, by as much as was clipped; a warning tells how much weight that is.
    Source: Ionides, "Truncated Importance Sampling", 2008; Bottou et al., JMLR 2013.
    """
    weights = weights_of(target, logged)
    clipped = np.minimum(weights, most)
    told = mean_weight_warnings(weights)
    if lost := float(1 - clipped.sum() / weights.sum()) if weights.any() else 0.0:
        told += (f"{lost:.1%} of the weight was clipped: the estimate is too low",)
    return estimated("clipped IPS", clipped * _checked(rewards, weights), clipped, confidence=confidence, warnings=told)


def doubly_robust(
    rewards: Float64Array,
    target: Float64Array,
    logged: Float64Array,
    *,
    predicted: Float64Array,
    predicted_target: Float64Array,
    confidence: float = 0.95,
) -> Estimate:
    """Return the doubly robust estimate: mean(v + w (r - q)).

    `predicted` (N,) is q, a model's reward for the logged choice; `predicted_target` (N,) is v, its mean reward over
    the target's choices. Unbiased if either the propensities or the model is right; the better the model, the narrower
    the interval. The model must not have learned from these answers. Source: Dudik, Langford and Li, ICML 2011.
    """
    weights = weights_of(target, logged)
    rewards, q = _checked(rewards, weights), _checked(predicted, weights)
    terms = _checked(predicted_target, weights) + weights * (rewards - q)
    told = mean_weight_warnings(weights)
    return estimated("doubly robust", terms, weights, confidence=confidence, warnings=told)


def _checked(values: Float64Array, weights: Float64Array) -> Float64Array:
    column = np.asarray(values, np.float64)
    if column.shape != weights.shape or not np.isfinite(column).all():
        told = f"expected {len(weights)} finite numbers, got shape {column.shape}"
        raise InputError(told, cure="pass one number an answer", field="rewards")
    return column
