"""The distributions of test statistics, from SciPy, which is loaded when the first of them is asked for."""

from statistics import NormalDist
from types import ModuleType

from intently.errors import MissingDependencyError, install_hint

NORMAL = NormalDist()


def student_p_value(statistic: float, degrees: float) -> float:
    """Return the two-sided p-value of a t statistic."""
    return float(2 * _special().stdtr(degrees, -abs(statistic)))


def student_quantile(probability: float, degrees: float) -> float:
    """Return the t below which a share of the distribution lies."""
    return float(_special().stdtrit(degrees, probability))


def chi_square_p_value(statistic: float, degrees: int) -> float:
    """Return the probability of a chi-square statistic at least as large."""
    return float(_special().chdtrc(degrees, statistic))


def binomial_p_value(successes: int, trials: int) -> float:
    """Return the two-sided p-value of a fair coin, exactly."""
    fewer = min(successes, trials - successes)
    return float(min(1.0, 2 * _special().bdtr(fewer, trials, 0.5)))


def _special() -> ModuleType:
    try:
        from scipy import special
    except ImportError:
        raise MissingDependencyError(f"comparing experiments needs SciPy; {install_hint('market')}") from None
    return special  # type: ignore[no-any-return]
