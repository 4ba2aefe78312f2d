"""CUPED: what a unit did before the experiment explains part of what it does in it, and need not count as noise."""

from collections.abc import Mapping

import numpy as np

from intently.arrays import Float64Array
from intently.errors import InputError
from intently.market.experiments.comparison import Sample


def adjusted_samples(
    values: Mapping[str, Float64Array], before: Mapping[str, Float64Array]
) -> tuple[dict[str, Sample], float]:
    """Return each variant's sample, adjusted by a covariate from before the experiment, and the share of variance left.

    `values` and `before` hold one number a unit (N,) for each variant. One slope for all variants, so the adjustment
    moves no expectation: y - slope (x - mean of x over all). Units without a past take part with any constant, say 0.
    A covariate without variance changes nothing. Source: Deng, Xu, Kohavi and Walker, "Improving the Sensitivity of
    Online Controlled Experiments by Utilizing Pre-Experiment Data", WSDM 2013.
    """
    if values.keys() != before.keys() or not values:
        told = f"got variants {sorted(values)} and {sorted(before)}"
        raise InputError(told, cure="pass both for each variant", field="before")
    pairs = {name: (np.asarray(values[name], np.float64), np.asarray(before[name], np.float64)) for name in values}
    for name, (y, x) in pairs.items():
        if y.shape != x.shape or len(y) < 2:
            told = f"variant {name!r} has {y.shape} values and {x.shape} before"
            raise InputError(told, cure="pass one of each a unit, for at least 2 units", field="before")
    every_y, every_x = (np.concatenate(column) for column in zip(*pairs.values(), strict=True))
    center = float(every_x.mean())
    spread = float(((every_x - center) ** 2).sum())
    slope = float((every_y - every_y.mean()) @ (every_x - center)) / spread if spread > 0 else 0.0
    samples, left, whole = {}, 0.0, 0.0
    for name, (y, x) in pairs.items():
        adjusted = y - slope * (x - center)
        (_, shared), (_, own) = np.cov(adjusted, y, ddof=1).tolist()
        samples[name] = Sample(
            len(y), float(adjusted.mean()), float(adjusted.var(ddof=1)), float(y.mean()), float(own), float(shared)
        )
        left, whole = left + float(adjusted.var()) * len(y), whole + float(y.var()) * len(y)
    return samples, left / whole if whole > 0 else 1.0
