"""How well stated probabilities of relevance hold: by bins, as one error, and as a threshold to choose.

Shape letters: N ads that were returned, each with a probability and whether it is relevant.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intently.errors import InputError

Float64Array = npt.NDArray[np.float64]
NUM_BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """The ads whose probability lies in [low, high): how many, their mean probability, and the share relevant."""

    low: float
    high: float
    count: int
    stated: float
    observed: float


def reliability(
    probabilities: Float64Array, relevant: npt.NDArray[np.bool_], num_bins: int = NUM_BINS
) -> tuple[Bin, ...]:
    """Return the bins of equal width that hold an ad, for `probabilities (N,)` and whether ads are `relevant (N,)`.

    1 belongs to the last bin. Raises `InputError` for arrays that do not fit, and for what is not a probability.
    """
    if probabilities.shape != relevant.shape or probabilities.ndim != 1 or num_bins < 1:
        told = f"probabilities {probabilities.shape}, relevant {relevant.shape}, {num_bins} bins"
        raise InputError(f"these do not fit: {told}", cure="pass two arrays of equal length and at least one bin")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise InputError("not all values are probabilities", cure="pass values from 0 to 1")
    at = np.minimum((probabilities * num_bins).astype(np.int64), num_bins - 1)
    bins = []
    for number in np.unique(at).tolist():
        here = at == number
        stated, observed = float(probabilities[here].mean()), float(relevant[here].mean())
        bins.append(Bin(number / num_bins, (number + 1) / num_bins, int(here.sum()), stated, observed))
    return tuple(bins)


def expected_calibration_error(bins: tuple[Bin, ...]) -> float:
    """Return the mean distance of stated and observed over all ads, from 0 to 1 (Naeini et al., AAAI 2015).

    Raises `InputError` if there are no ads.
    """
    total = sum(each.count for each in bins)
    if not total:
        raise InputError("there are no ads", cure="measure at least one ad")
    return sum(each.count * abs(each.stated - each.observed) for each in bins) / total


def threshold_keeping(probabilities: Float64Array, share: float = 0.95) -> float:
    """Return the highest threshold that at least `share` of these probabilities (N,), those of good ads, reach."""
    if not len(probabilities):
        raise InputError("there are no good ads", cure="measure at least one")
    least_kept = int(np.ceil(round(share * len(probabilities), 9)))  # 0.95 · 20 is 19.000000000000004 in Python
    return float(np.sort(probabilities)[::-1][max(least_kept, 1) - 1])
