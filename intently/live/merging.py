"""Chooses which segments to merge: few segments keep queries fast, few merges keep changes cheap.

The first segment is large and merged with the others only when many rows have come or gone. The others are tiers. Each
merge joins the youngest ones that are of about the same size. So an ad is copied once a tier, and the number of
segments grows with the logarithm of the number of ads that came (O'Neil et al., "The log-structured merge-tree", 1996).
"""

from collections.abc import Sequence
from dataclasses import dataclass

TINY_ROWS = 64  # segments up to this size are merged at once, as that takes less than a millisecond
FAN = 4  # segments of a tier that are merged
MIN_LOOSE = 4096  # rows that may be added or removed before a small first segment is merged
LOOSE_SHARE = 0.02  # this share of its rows in addition, before a large one is merged


@dataclass(frozen=True)
class Merge:
    """A merge of the segments from `first` to before `last` into one, at once or in the background."""

    first: int
    last: int
    at_once: bool


def next_merge(num_rows: Sequence[int], num_removed: int) -> Merge | None:
    """Return the next merge that segments of these sizes need, or None. `num_removed` rows are masked."""
    base, tail = num_rows[0], num_rows[1:]
    if sum(tail) + num_removed > MIN_LOOSE + LOOSE_SHARE * base:
        return Merge(0, len(num_rows), at_once=False)
    if len(tail) > 1 and tail[-1] + tail[-2] <= TINY_ROWS:
        return Merge(len(num_rows) - 2, len(num_rows), at_once=True)
    total, first = 0, len(num_rows)
    while first > 1 and (first == len(num_rows) or num_rows[first - 1] <= FAN * total):
        first -= 1
        total += num_rows[first]
    if len(num_rows) - first > FAN:
        return Merge(first, len(num_rows), at_once=False)
    return None
