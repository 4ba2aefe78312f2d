"""Indexes over the distinct sets of a column, which only grow: of those that came together, in tiers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

Texts = tuple[str, ...]
T = TypeVar("T")
_RATIO = 8  # a tier is at least so many times as large as the next; so there are few, and each set is seldom read again


class _Column(Protocol):
    @property
    def source(self) -> object: ...

    @property
    def num_sets(self) -> int: ...

    def sets(self, start: int, stop: int) -> Sequence[Texts]: ...


@dataclass(frozen=True, eq=False)
class Tiers(Generic[T]):
    """An index for each tier: `parts[i]` is of the sets `bounds[i]` to `bounds[i + 1]`."""

    make: Callable[[Sequence[Texts]], T]
    source: object = None  # what holds the sets
    bounds: tuple[int, ...] = (0,)
    parts: tuple[T, ...] = ()

    def following(self, column: _Column) -> "Tiers[T]":
        """Return the indexes of all sets of a column, reusing those that are here already."""
        if column.source is not self.source:
            return replace(self, source=column.source, bounds=(0,), parts=())._grown(column)
        return self if column.num_sets == self.bounds[-1] else self._grown(column)

    def _grown(self, column: _Column) -> "Tiers[T]":
        end = column.num_sets
        bounds, parts = list(self.bounds), list(self.parts)
        start = bounds[-1]
        while parts and bounds[-1] - bounds[-2] < _RATIO * (end - start):
            start = bounds[-2]
            bounds.pop()
            parts.pop()
        made = self.make(column.sets(start, end))
        return replace(self, bounds=(*bounds, end), parts=(*parts, made))
