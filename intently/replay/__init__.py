"""Replaying a log of queries against two engines or settings: what changed, for whom, and why."""

from intently.replay.differences import Case, Group, Reach, Replay, ShownAd, Side
from intently.replay.replay import replay

__all__ = ["Case", "Group", "Reach", "Replay", "ShownAd", "Side", "replay"]
