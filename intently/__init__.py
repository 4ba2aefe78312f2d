"""Intently: ad retrieval by commercial intention.

`Engine` answers queries; it is loaded on first use, so that reading catalogues and evaluating need no PyTorch.
"""

from typing import TYPE_CHECKING, Any

from intently.errors import IntentlyError
from intently.types import Ad, Channel, Intention, Ranking, Reason, ScoredAd, UserContext

if TYPE_CHECKING:
    from intently.engine.engine import Engine

__all__ = ["Ad", "Channel", "Engine", "Intention", "IntentlyError", "Ranking", "Reason", "ScoredAd", "UserContext"]


def __getattr__(name: str) -> Any:
    if name == "Engine":
        from intently.engine.engine import Engine

        return Engine
    raise AttributeError(f"module 'intently' has no attribute '{name}'")
