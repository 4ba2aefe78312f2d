"""Caps: at most so many ads of one value, such as one of a group of variants and two of an advertiser."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from intently.arrays import Float64Array, IntArray, Mask
from intently.filters import Literal, OneOf
from intently.filters.expressions import MAX_VALUES
from intently.snapshot.columns import matching, values_of
from intently.snapshot.snapshot import Snapshot
from intently.snapshot.values import Kind, kind_of

_Value = tuple[str, Kind, Literal]  # of a column; 1, 1.0 and true are equal in Python, and true is not 1 here


@dataclass(eq=False)
class Caps:
    """The caps of one request, and what they have left of its ranking. An ad without a value is not capped."""

    max_per: Mapping[str, int]
    snapshot: Snapshot
    _values: dict[int, tuple[_Value, ...]] = field(default_factory=dict)  # of the rows looked at
    _full: set[_Value] = field(default_factory=set)

    def kept(self, rows: IntArray, scores: Float64Array, most: int) -> tuple[IntArray, Float64Array]:
        """Return the first `most` rows, best first, that are not beyond a cap, and their scores.

        An ad counts only if it is kept. So the first rows kept do not depend on how many follow. Cost: a look at each
        row until there are enough.
        """
        if not self.max_per:
            return rows[:most], scores[:most]
        counts: Counter[_Value] = Counter()
        keep: list[int] = []
        for at, row in enumerate(rows.tolist()):
            if len(keep) == most:
                break
            values = self._values_of(row)
            if all(counts[value] < self.max_per[value[0]] for value in values):
                keep.append(at)
                counts.update(values)
        self._full = {value for value, count in counts.items() if count >= self.max_per[value[0]]}
        return rows[keep], scores[keep]

    def admitting(self, eligible: Mask) -> Mask:
        """Return the eligible rows (N,) that have no value of which enough ads are kept: where to look for more."""
        for name in self.max_per:
            full = tuple(value for each, _, value in self._full if each == name)
            for start in range(0, len(full), MAX_VALUES):
                eligible = eligible & ~matching(OneOf(name, full[start : start + MAX_VALUES]), self.snapshot)
        return eligible

    def _values_of(self, row: int) -> tuple[_Value, ...]:
        found = self._values.get(row)
        if found is None:
            values = values_of(row, tuple(self.max_per), self.snapshot)
            found = tuple((name, kind_of(value), value) for name, value in values.items() if value is not None)
            self._values[row] = found
        return found
