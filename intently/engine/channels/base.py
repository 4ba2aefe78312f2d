"""The protocol of channels: a search, scores of any rows, and evidence of why.

Shape letters: N rows of a snapshot, C rows found or asked about.
"""

from dataclasses import dataclass
from typing import Protocol

from intently.arrays import Float32Array, IntArray, Mask
from intently.engine.settings import RetrievalSettings
from intently.engine.understand import Understood
from intently.index.intentions import IntentionIndex
from intently.snapshot.segment import Segment
from intently.snapshot.snapshot import Snapshot
from intently.text.query_text import QueryText
from intently.types import Channel

Evidence = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Hits:
    """The best eligible rows (C,) of one channel, best first, and their scores (C,)."""

    rows: IntArray
    scores: Float32Array


@dataclass(frozen=True)
class Question:
    """One query as channels search it: its text, the models' reading of it, and one snapshot."""

    text: QueryText
    understood: Understood
    snapshot: Snapshot
    intentions: IntentionIndex
    settings: RetrievalSettings


class ChannelHits(Protocol):
    """The hits of one channel for one query."""

    @property
    def hits(self) -> Hits:
        """The best eligible rows."""
        ...

    def scores_of(self, ad_rows: IntArray) -> Float32Array:
        """Return the scores (C,) of any rows, whether they were found or not."""
        ...

    def evidence(self, ad_row: int, score: float) -> Evidence:
        """Return the parts of the score of a row that was found, the largest first."""
        ...


class ChannelSearch(Protocol):
    """A way from a query to ads. Holds no state; safe to share by threads."""

    @property
    def name(self) -> Channel:
        """The name of the channel."""
        ...

    def searches(self, segment: Segment) -> bool:
        """Return whether a segment, and so its engine, has the parts that the channel searches."""
        ...

    def search(self, question: Question, eligible: Mask, depth: int) -> ChannelHits:
        """Return the best `depth` of the `eligible` rows (N,)."""
        ...

    def weight(self, settings: RetrievalSettings) -> float:
        """Return how much the channel counts in reciprocal rank fusion."""
        ...
