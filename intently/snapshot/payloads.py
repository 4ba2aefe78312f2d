"""The payloads of all rows: what ads hold beside their fields. A change appends a payload and renumbers one row.

Payloads lie in a store that only grows and that snapshots share. So a change copies the rows' numbers, not payloads,
and what filters compare is computed once, and then only for what came since.

Shape letters: N rows, S payloads in the store.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from intently.arrays import IntArray, Mask
from intently.catalog.fields import PAYLOAD_TYPE
from intently.catalog.payload import flat, payload_column, payload_of
from intently.filters.expressions import IsMissing, Leaf
from intently.frozen import FrozenDict
from intently.snapshot.values import Kind, Values

_SPARE = 4096  # unused payloads that a store keeps before it forgets them


class _Part:
    """Some payloads of a store, and the values that filters have asked of them."""

    def __init__(self, payloads: pa.Array) -> None:
        self.payloads = payloads
        self.names = frozenset(pc.unique(flat(payloads)[0]).to_pylist())
        self._values: dict[str, Values] = {}

    def __len__(self) -> int:
        return len(self.payloads)

    def values(self, name: str) -> Values | None:
        """Return the values of one name, None if no payload has it. Two threads may compute the same ones."""
        if name not in self.names:
            return None
        found = self._values.get(name)
        if found is None:
            found = self._values[name] = Values.of_json(pc.map_lookup(self.payloads, pa.scalar(name), "first"))
        return found

    def holds(self, name: str, leaf: Leaf) -> Mask:
        """Return of which payloads a condition on a name is true."""
        values = self.values(name)
        return np.full(len(self), isinstance(leaf, IsMissing)) if values is None else values.holds(leaf)


class _Store:
    """Payloads in order of arrival, in parts: those as built, then later ones, each larger than all that follow it.

    One writer at a time appends. Readers take `parts` once; a payload keeps its number.
    """

    def __init__(self, chunks: Iterable[pa.Array]) -> None:
        self.parts = tuple(map(_Part, chunks))
        self._num_built = len(self.parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def append(self, payloads: pa.Array) -> int:
        """Append payloads and return the number of the first. Cost: each is copied as often as a logarithm of S."""
        first, parts, new = len(self), list(self.parts), payloads
        while len(parts) > self._num_built and len(parts[-1]) <= 2 * len(new):
            new = pa.concat_arrays([parts.pop().payloads, new])
        self.parts = (*parts, _Part(new))
        return first

    def payload(self, code: int) -> FrozenDict:
        """Return one payload."""
        parts = self.parts
        starts = [0, *accumulate(map(len, parts))]
        at = bisect_right(starts, code) - 1
        return payload_of(parts[at].payloads[code - starts[at]].as_py())


class PayloadColumn:
    """The payloads of N rows: row n holds number `codes[n]` of the store."""

    def __init__(self, codes: NDArray[np.int32], store: _Store) -> None:
        self.codes, self._store = codes, store

    @classmethod
    def build(cls, payloads: pa.ChunkedArray) -> "PayloadColumn":
        """Return the column of these payloads (N)."""
        return cls(np.arange(len(payloads), dtype=np.int32), _Store(payloads.chunks))

    @property
    def names(self) -> frozenset[str]:
        """The names that payloads have, or had lately."""
        return frozenset().union(*(part.names for part in self._store.parts))

    def kinds(self, name: str) -> frozenset[Kind]:
        """Return the kinds of the values of a name."""
        values = (part.values(name) for part in self._store.parts)
        return frozenset().union(*(each.kinds for each in values if each))

    def holds(self, name: str, leaf: Leaf) -> Mask:
        """Return of which rows (N,) a condition on a name is true."""
        parts = [part.holds(name, leaf) for part in self._store.parts]
        return np.concatenate(parts)[self.codes] if parts else np.zeros(0, dtype=np.bool_)

    def of(self, row: int) -> FrozenDict:
        """Return the payload of one row."""
        return self._store.payload(int(self.codes[row]))

    def column(self) -> pa.ChunkedArray:
        """Return the payloads of all rows (N) as a column of a catalog."""
        chunks = [part.payloads for part in self._store.parts]
        if sum(map(len, chunks)) == len(self.codes) and np.array_equal(self.codes, np.arange(len(self.codes))):
            return pa.chunked_array(chunks, PAYLOAD_TYPE)
        taken = pa.chunked_array(chunks, PAYLOAD_TYPE).take(pa.array(self.codes))
        return taken if isinstance(taken, pa.ChunkedArray) else pa.chunked_array([taken], PAYLOAD_TYPE)

    def changed(self, rows: IntArray, payloads: Sequence[FrozenDict]) -> "PayloadColumn":
        """Return this column with other payloads in some rows."""
        new = [(row, each) for row, each in zip(rows.tolist(), payloads, strict=True) if self.of(row) != each]
        if not new:
            return self
        first = self._store.append(payload_column(each for _, each in new))
        codes = self.codes.copy()
        codes[[row for row, _ in new]] = np.arange(first, first + len(new))
        return PayloadColumn(codes, self._store)._small()

    def concatenated(self, payloads: pa.ChunkedArray) -> "PayloadColumn":
        """Return this column with further rows after it."""
        codes: Iterator[NDArray[np.int32]] = (
            np.arange(len(chunk), dtype=np.int32) + np.int32(self._store.append(chunk)) for chunk in payloads.chunks
        )
        return PayloadColumn(np.concatenate((self.codes, *codes)), self._store)

    def kept(self, mask: Mask) -> "PayloadColumn":
        """Return the rows where `mask (N,)` holds."""
        return PayloadColumn(self.codes[mask], self._store)._small()

    def _small(self) -> "PayloadColumn":
        """Return this column, in a store of its own if most payloads of the store are of no row any more."""
        return PayloadColumn.build(self.column()) if len(self._store) > 2 * len(self.codes) + _SPARE else self
