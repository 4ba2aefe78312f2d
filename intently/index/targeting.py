"""An index of boolean targeting: which of many conditions are true of one user.

The counting form of Whang et al. (Indexing Boolean Expressions, VLDB 2009): every different comparison has a list of
the conjunctions that contain it. A user's values say which comparisons are true, by a look-up for equality and by a
binary search for order; a conjunction holds if as many of its comparisons are true as it has. What has to be false
needs a known value, which counts as one more comparison, and strikes a conjunction out where it is true.

Shape letters: E conditions, C conjunctions, L different comparisons.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from intently.arrays import IntArray, Mask
from intently.filters import Compare, Expression, Has, IsMissing, OneOf
from intently.filters.expressions import Leaf
from intently.index.ragged import Ragged
from intently.rules.targeting import Conjunction, conjunctions, keyed, truth_of_leaf

_NO_CONDITION = (Conjunction(frozenset(), frozenset()),)


@dataclass
class _Values:
    """The comparisons with one value of the user, by number."""

    equal: dict[Any, list[int]] = field(default_factory=dict)  # value → comparisons that it makes true
    unequal: list[tuple[Leaf, int]] = field(default_factory=list)  # true for nearly every value; mostly few
    has: dict[Any, list[int]] = field(default_factory=dict)
    ordered: dict[tuple[str, str], list[tuple[Any, int]]] = field(default_factory=dict)  # by operator and kind
    known: int = -1
    missing: int = -1


@dataclass(frozen=True, eq=False)
class TargetingIndex:
    """E conditions. Of a conjunction, `sizes (C,)` comparisons have to be true; `owners (C,)` are their conditions."""

    num_conditions: int
    sizes: IntArray
    owners: IntArray
    needs: Ragged  # L rows of the conjunctions in which a comparison has to be true
    kills: Ragged  # L rows of those in which it has to be false
    values: Mapping[str, _Values]  # by name

    @classmethod
    def build(cls, conditions: Sequence[Expression | None]) -> "TargetingIndex":
        """Return the index of some conditions; None is true of everybody. Cost: about 20 µs each."""
        number_of: dict[Any, int] = {}
        values: dict[str, _Values] = {}
        needs: list[tuple[int, int]] = []
        kills: list[tuple[int, int]] = []
        sizes: list[int] = []
        owners: list[int] = []

        def number(leaf: Leaf) -> int:
            at = number_of.get(leaf)
            if at is None:
                at = number_of[leaf] = len(number_of)
                _add(values.setdefault(leaf.name, _Values()), leaf, at)
            return at

        def known(name: str) -> int:
            at = number_of.get(("known", name))
            if at is None:
                at = number_of["known", name] = len(number_of)
                values.setdefault(name, _Values()).known = at
            return at

        for owner, condition in enumerate(conditions):
            for each in _NO_CONDITION if condition is None else conjunctions(condition):
                at = len(sizes)
                true = [number(leaf) for leaf in each.true]
                true += [known(name) for name in {leaf.name for leaf in each.false if not isinstance(leaf, IsMissing)}]
                true += [known(leaf.name) for leaf in each.false if isinstance(leaf, IsMissing)]
                true = list(dict.fromkeys(true))
                needs += [(leaf, at) for leaf in true]
                kills += [(number(leaf), at) for leaf in each.false if not isinstance(leaf, IsMissing)]
                sizes.append(len(true))
                owners.append(owner)
        for its in values.values():
            for key, pairs in its.ordered.items():
                its.ordered[key] = sorted(pairs)
        num = len(number_of)
        return cls(
            len(conditions),
            np.array(sizes, dtype=np.int64),
            np.array(owners, dtype=np.int64),
            _rows(needs, num),
            _rows(kills, num),
            values,
        )

    def true_of(self, user: Mapping[str, Any]) -> Mask:
        """Return which conditions (E,) are true of a user, by the values that the user stated."""
        true = np.array(self._true(user), dtype=np.int64)
        counts = np.bincount(self.needs.values[self.needs.places(true)[0]], minlength=len(self.sizes))
        holds = counts == self.sizes
        holds[self.kills.values[self.kills.places(true)[0]]] = False
        admitted = np.zeros(self.num_conditions, dtype=np.bool_)
        admitted[self.owners[holds]] = True
        return admitted

    def _true(self, user: Mapping[str, Any]) -> list[int]:
        """Return the comparisons that are true of a user."""
        true: list[int] = []
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
                true += _in_order(its, value)
            true += [at for leaf, at in its.unequal if truth_of_leaf(leaf, user)]
        return true


def _add(values: _Values, leaf: Leaf, at: int) -> None:
    if isinstance(leaf, IsMissing):
        values.missing = at
    elif isinstance(leaf, Has):
        values.has.setdefault(keyed(leaf.value), []).append(at)
    elif isinstance(leaf, OneOf):
        for value in {keyed(one) for one in leaf.values}:
            values.equal.setdefault(value, []).append(at)
    elif isinstance(leaf, Compare) and leaf.operator == "==":
        values.equal.setdefault(keyed(leaf.value), []).append(at)
    elif isinstance(leaf, Compare) and leaf.operator == "!=":
        values.unequal.append((leaf, at))
    elif isinstance(leaf, Compare):
        values.ordered.setdefault((leaf.operator, keyed(leaf.value)[0]), []).append((leaf.value, at))


def _in_order(values: _Values, value: Any) -> list[int]:
    """Return the comparisons of order that a value makes true: of those with `<`, all with a higher bound."""
    kind = keyed(value)[0]
    true: list[int] = []
    for (operator, its_kind), pairs in values.ordered.items():
        if its_kind != kind:
            continue
        if operator in ("<", "<="):
            find = bisect_right if operator == "<" else bisect_left
            true += [at for _, at in pairs[find(pairs, value, key=_bound) :]]
        else:
            find = bisect_left if operator == ">" else bisect_right
            true += [at for _, at in pairs[: find(pairs, value, key=_bound)]]
    return true


def _bound(pair: tuple[Any, int]) -> Any:
    return pair[0]


def _rows(pairs: list[tuple[int, int]], num_rows: int) -> Ragged:
    """Return the second numbers of pairs as rows, by the first."""
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    order = np.argsort(table[:, 0], kind="stable")
    offsets = np.concatenate(([0], np.cumsum(np.bincount(table[:, 0], minlength=num_rows)))).astype(np.int64)
    return Ragged(offsets, table[order, 1])
