"""An index of boolean targeting: which of many conditions are true of one user.

The counting form of Whang et al. (Indexing Boolean Expressions, VLDB 2009): every different comparison has a list of
the conjunctions that contain it. A user's values say which comparisons are true, by a look-up for equality and by a
binary search for order; a conjunction holds if as many of its comparisons are true as it has. What has to be false
needs a known value, which counts as one more comparison, and strikes a conjunction out where it is true. Comparisons
of order are numbered by their bounds, so that those that a value makes true, and their lists, lie side by side.

Shape letters: E conditions, C conjunctions, L different comparisons.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intently.arrays import IntArray, Mask
from intently.filters import Compare, Expression, Has, IsMissing, OneOf
from intently.filters.expressions import Leaf
from intently.index.ragged import Ragged
from intently.rules.targeting import Conjunction, conjunctions, keyed, truth_of_leaf

_NO_CONDITION = (Conjunction(frozenset(), frozenset()),)


_Run = tuple[int, int]  # comparisons from a number to before another


@dataclass
class _Values:
    """The comparisons with one value of the user, by number."""

    equal: dict[Any, list[int]] = field(default_factory=dict)  # value → comparisons that it makes true
    unequal: list[tuple[Leaf, int]] = field(default_factory=list)  # true for nearly every value; mostly few
    has: dict[Any, list[int]] = field(default_factory=dict)
    ordered: dict[tuple[str, str], tuple[int, list[Any]]] = field(default_factory=dict)  # by operator and kind: the
    # number of the first, and the bounds, ascending
    known: int = -1
    missing: int = -1


@dataclass(frozen=True, eq=False)
class TargetingIndex:
    """E conditions. Of a conjunction, `sizes (C,)` comparisons have to be true; `owners (C,)` are their conditions."""

    num_conditions: int
    sizes: NDArray[np.int16]
    owners: NDArray[np.int32]
    needs: Ragged  # L rows of the conjunctions in which a comparison has to be true
    kills: Ragged  # L rows of those in which it has to be false
    values: Mapping[str, _Values]  # by name

    @classmethod
    def build(cls, conditions: Sequence[Expression | None]) -> "TargetingIndex":
        """Return the index of some conditions; None is true of everybody. Cost: about 20 µs each."""
        number_of: dict[_Comparison, int] = {}
        needs: list[tuple[int, int]] = []
        kills: list[tuple[int, int]] = []
        sizes: list[int] = []
        owners: list[int] = []

        def number(comparison: _Comparison) -> int:
            if isinstance(comparison, OneOf):  # which lists its values in any order
                values = {keyed(value): value for value in comparison.values}
                comparison = OneOf(comparison.name, tuple(values[key] for key in sorted(values)))
            return number_of.setdefault(comparison, len(number_of))

        for owner, condition in enumerate(conditions):
            for each in _NO_CONDITION if condition is None else conjunctions(condition):
                at = len(sizes)
                true = [number(leaf) for leaf in each.true]
                true += [number(("known", leaf.name)) for leaf in each.false]
                true = list(dict.fromkeys(true))
                needs += [(leaf, at) for leaf in true]
                kills += [(number(leaf), at) for leaf in each.false if not isinstance(leaf, IsMissing)]
                sizes.append(len(true))
                owners.append(owner)
        comparisons = sorted(number_of, key=_place)
        values: dict[str, _Values] = {}
        renumbered = np.empty(len(comparisons), dtype=np.int64)
        for at, comparison in enumerate(comparisons):
            renumbered[number_of[comparison]] = at
            name = comparison[1] if isinstance(comparison, tuple) else comparison.name
            _add(values.setdefault(name, _Values()), comparison, at)
        return cls(
            len(conditions),
            np.array(sizes, dtype=np.int16),
            np.array(owners, dtype=np.int32),
            _rows(needs, renumbered),
            _rows(kills, renumbered),
            values,
        )

    def true_of(self, user: Mapping[str, Any]) -> Mask:
        """Return which conditions (E,) are true of a user, by the values that the user stated."""
        runs, single = self._true(user)
        counts = np.bincount(_values_of(self.needs, runs, single), minlength=len(self.sizes))
        holds = counts == self.sizes
        holds[_values_of(self.kills, runs, single)] = False
        admitted = np.zeros(self.num_conditions, dtype=np.bool_)
        admitted[self.owners[np.flatnonzero(holds)]] = True
        return admitted

    def _true(self, user: Mapping[str, Any]) -> tuple[list[_Run], IntArray]:
        """Return the comparisons that are true of a user: those of order as runs, and all others one by one."""
        true: list[int] = []
        runs: list[_Run] = []
        for name, its in self.values.items():
            value = user.get(name)
            if value is None:
                if its.missing >= 0:
                    true.append(its.missing)
                continue
            if its.known >= 0:
                true.append(its.known)
            if isinstance(value, frozenset):
                for item in value:
                    true += its.has.get(keyed(item), ())
            else:
                true += its.equal.get(keyed(value), ())
                runs += _in_order(its, value)
            true += [at for leaf, at in its.unequal if truth_of_leaf(leaf, user)]
        return runs, np.array(true, dtype=np.int64)


_Comparison = Leaf | tuple[str, str]  # or that a value is known: ("known", its name)


def _place(comparison: _Comparison) -> tuple[Any, ...]:
    """Return by what comparisons are numbered: those of one name, operator and kind by their bounds."""
    if isinstance(comparison, Compare) and comparison.operator not in ("==", "!="):
        return 0, comparison.name, comparison.operator, *keyed(comparison.value)
    return (1,)


def _add(values: _Values, comparison: _Comparison, at: int) -> None:
    if isinstance(comparison, tuple):
        values.known = at
    elif isinstance(comparison, IsMissing):
        values.missing = at
    elif isinstance(comparison, Has):
        values.has.setdefault(keyed(comparison.value), []).append(at)
    elif isinstance(comparison, OneOf):
        for value in {keyed(one) for one in comparison.values}:
            values.equal.setdefault(value, []).append(at)
    elif isinstance(comparison, Compare) and comparison.operator == "==":
        values.equal.setdefault(keyed(comparison.value), []).append(at)
    elif isinstance(comparison, Compare) and comparison.operator == "!=":
        values.unequal.append((comparison, at))
    elif isinstance(comparison, Compare):
        kind = keyed(comparison.value)[0]
        values.ordered.setdefault((comparison.operator, kind), (at, []))[1].append(comparison.value)


def _in_order(values: _Values, value: Any) -> list[_Run]:
    """Return the comparisons of order that a value makes true: of those with `<`, all with a higher bound."""
    kind = keyed(value)[0]
    runs: list[_Run] = []
    for (operator, its_kind), (first, bounds) in values.ordered.items():
        if its_kind != kind:
            continue
        if operator in ("<", "<="):
            find = bisect_right if operator == "<" else bisect_left
            runs.append((first + find(bounds, value), first + len(bounds)))
        else:
            find = bisect_left if operator == ">" else bisect_right
            runs.append((first, first + find(bounds, value)))
    return runs


def _values_of(rows: Ragged, runs: Sequence[_Run], single: IntArray) -> NDArray[Any]:
    """Return the values of all rows of some runs, and of single rows."""
    offsets = rows.offsets
    parts = [rows.values[offsets[first] : offsets[end]] for first, end in runs]
    return np.concatenate((*parts, rows.values[rows.places(single)[0]]))


def _rows(pairs: list[tuple[int, int]], renumbered: IntArray) -> Ragged:
    """Return the second numbers of pairs as rows, by the first, renumbered."""
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    rows = renumbered[table[:, 0]]
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=len(renumbered))
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    return Ragged(offsets, table[order, 1].astype(np.int32))
