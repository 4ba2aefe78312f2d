"""Many comparisons at once: p-values that take into account how many there are."""

import numpy as np
import numpy.typing as npt

from intently.arrays import Float64Array
from intently.errors import InputError


def holm(p_values: npt.ArrayLike) -> Float64Array:
    """Return p-values (M,) adjusted by Holm: one false alarm in all comparisons is as rare as alpha.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    p, order = _ordered(p_values)
    factors = np.arange(len(p), 0, -1)
    return _back(np.minimum(np.maximum.accumulate(p[order] * factors), 1.0), order)


def benjamini_hochberg(p_values: npt.ArrayLike) -> Float64Array:
    """Return p-values (M,) adjusted by Benjamini and Hochberg: of what is significant, a share of alpha is false.

    Source: Benjamini and Hochberg, "Controlling the False Discovery Rate", 1995.
    """
    p, order = _ordered(p_values)
    raised = p[order] * len(p) / np.arange(1, len(p) + 1)
    return _back(np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1.0), order)


def _ordered(p_values: npt.ArrayLike) -> tuple[Float64Array, npt.NDArray[np.intp]]:
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise InputError("not all are from 0 to 1", cure="pass a list of p-values", field="p_values")
    return p, np.argsort(p, kind="stable")


def _back(adjusted: Float64Array, order: npt.NDArray[np.intp]) -> Float64Array:
    result = np.empty(len(adjusted))
    result[order] = adjusted
    return result
