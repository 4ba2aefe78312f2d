"""Click models: who looks at which position, and who clicks what they look at."""

from intently.market.clicks.cascade import Cascade, fit_cascade
from intently.market.clicks.dbn import DynamicBayesianNetwork, fit_dbn
from intently.market.clicks.position import PositionBased, fit_position_based
from intently.market.clicks.sessions import ClickModel, Sessions, log_likelihood, perplexity

__all__ = [
    "Cascade",
    "ClickModel",
    "DynamicBayesianNetwork",
    "PositionBased",
    "Sessions",
    "fit_cascade",
    "fit_dbn",
    "fit_position_based",
    "log_likelihood",
    "perplexity",
]
