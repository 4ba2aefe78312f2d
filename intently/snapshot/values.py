"""The values of a column as filters compare them: numbers, texts, booleans and lists, each apart from the others.

Shape letter: E entries, which are rows or distinct values of rows.
"""

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from intently.arrays import Float64Array, IntArray, Mask
from intently.filters import Compare, Has, IsMissing, Literal, OneOf
from intently.filters.expressions import Leaf

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


class Kind(StrEnum):
    """What a column's values are; one of a payload may hold several kinds."""

    NUMBER = "numbers"
    TEXT = "texts"
    BOOLEAN = "true and false"
    LIST = "lists"
    OBJECT = "objects"


def kind_of(value: object) -> Kind:
    """Return the kind of a value of JSON that is not null."""
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, int | float):
        return Kind.NUMBER
    if isinstance(value, str):
        return Kind.TEXT
    return Kind.LIST if isinstance(value, list | tuple) else Kind.OBJECT


@dataclass(frozen=True, eq=False)
class Values:
    """The values of E entries. An entry has a value in one of the parts, or in none: then it is missing."""

    numbers: Float64Array | None = None  # (E,), NaN: not a number
    codes: NDArray[np.int32] | None = None  # (E,) into `texts`, −1: not a text
    texts: Sequence[str] = ()
    booleans: NDArray[np.int8] | None = None  # (E,), −1: neither
    items: Mapping[tuple[Kind, Literal], Sequence[int]] | None = None  # of lists: item → entries that have it
    present: Mask = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))  # (E,)
    kinds: frozenset[Kind] = frozenset()

    @classmethod
    def of_texts(cls, texts: pa.ChunkedArray | pa.Array) -> "Values":
        """Return texts (E,), of which empty ones are missing."""
        encoded = pc.dictionary_encode(texts)
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        if isinstance(encoded, pa.ChunkedArray):  # of no chunk
            encoded = pa.array([], pa.string()).dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
        distinct = encoded.dictionary.to_pylist()
        empty = distinct.index("") if "" in distinct else -2
        codes[codes == empty] = -1
        return cls(codes=codes, texts=distinct, present=codes >= 0, kinds=frozenset((Kind.TEXT,)))

    @classmethod
    def of_lists(cls, lists: Sequence[Sequence[str]]) -> "Values":
        """Return lists of texts (E,), of which empty ones are missing."""
        items: dict[tuple[Kind, Literal], list[int]] = {}
        for at, values in enumerate(lists):
            for value in dict.fromkeys(values):
                items.setdefault((Kind.TEXT, value), []).append(at)
        present = np.array([bool(values) for values in lists], dtype=np.bool_)
        return cls(items=items, present=present, kinds=frozenset((Kind.LIST,)))

    @classmethod
    def of_numbers(cls, numbers: Float64Array) -> "Values":
        """Return numbers (E,), of which NaN is missing."""
        return cls(numbers=numbers, present=~np.isnan(numbers), kinds=frozenset((Kind.NUMBER,)))

    @classmethod
    def of_json(cls, values: pa.Array) -> "Values":
        """Return values in JSON (E,), of which null is missing, as are an empty text and an empty list."""
        num = len(values)
        present = pc.is_valid(values).to_numpy(zero_copy_only=False).copy()
        first = pc.utf8_slice_codeunits(pc.fill_null(values, ""), 0, 1)
        is_text = pc.equal(first, '"').to_numpy(zero_copy_only=False)
        is_number = pc.match_substring_regex(first, "^[0-9-]").to_numpy(zero_copy_only=False)
        others = np.flatnonzero(present & ~is_text & ~is_number)
        numbers = codes = booleans = None
        texts: Sequence[str] = ()
        items: dict[tuple[Kind, Literal], list[int]] | None = None
        kinds: set[Kind] = set()
        if is_number.any():
            kinds.add(Kind.NUMBER)
            numbers = np.full(num, np.nan)
            numbers[is_number] = pc.cast(values.filter(pa.array(is_number)), pa.float64()).to_numpy()
        if is_text.any():
            kinds.add(Kind.TEXT)
            encoded = values.filter(pa.array(is_text)).dictionary_encode()
            texts = [json.loads(text) for text in encoded.dictionary.to_pylist()]
            codes = np.full(num, -1, dtype=np.int32)
            codes[is_text] = encoded.indices.to_numpy()
            if "" in texts:
                codes[codes == texts.index("")] = -1
                present &= ~is_text | (codes >= 0)
        for at in others.tolist():
            value = json.loads(values[at].as_py())
            kind = kind_of(value)
            kinds.add(kind)
            if kind is Kind.BOOLEAN:
                booleans = np.full(num, -1, dtype=np.int8) if booleans is None else booleans
                booleans[at] = value
            elif kind is Kind.LIST:
                items = {} if items is None else items
                present[at] = bool(value)
                for item in value:
                    if isinstance(item, bool | int | float | str):
                        entries = items.setdefault((kind_of(item), item), [])
                        if not entries or entries[-1] != at:
                            entries.append(at)
        return cls(numbers, codes, texts, booleans, items, present, frozenset(kinds))

    def holds(self, leaf: Leaf) -> Mask:
        """Return for which entries (E,) a condition on this column is true."""
        if isinstance(leaf, IsMissing):
            return ~self.present
        if isinstance(leaf, Has):
            return self._with_item(leaf.value)
        if isinstance(leaf, OneOf):
            return self._one_of(leaf.values)
        assert isinstance(leaf, Compare)
        return self._compared(leaf.operator, leaf.value)

    def _compared(self, name: str, value: Literal) -> Mask:
        compare, kind = _OPERATORS[name], kind_of(value)
        if kind is Kind.NUMBER and self.numbers is not None:
            mask: Mask = compare(self.numbers, float(value)) & ~np.isnan(self.numbers)
            return mask
        if kind is Kind.BOOLEAN and self.booleans is not None:
            return np.asarray(compare(self.booleans, int(value)) & (self.booleans >= 0))
        if kind is Kind.TEXT and self.codes is not None:
            if name == "==":
                return self._one_of((value,))
            holds = np.fromiter((compare(text, value) for text in self.texts), np.bool_, len(self.texts))
            return np.append(holds, False)[self.codes]
        return np.zeros(len(self.present), dtype=np.bool_)

    def _one_of(self, values: Sequence[Literal]) -> Mask:
        mask = np.zeros(len(self.present), dtype=np.bool_)
        numbers = [float(value) for value in values if kind_of(value) is Kind.NUMBER]
        if numbers and self.numbers is not None:
            mask |= np.isin(self.numbers, numbers)
        if self.codes is not None:
            wanted = [self._code_of[value] for value in values if isinstance(value, str) and value in self._code_of]
            if len(wanted) == 1:
                mask |= self.codes == wanted[0]
            elif wanted:
                chosen = np.zeros(len(self.texts) + 1, dtype=np.bool_)
                chosen[wanted] = True
                mask |= chosen[self.codes]
        if self.booleans is not None:
            mask |= np.isin(self.booleans, [int(value) for value in values if isinstance(value, bool)])
        return mask

    def _with_item(self, value: Literal) -> Mask:
        mask = np.zeros(len(self.present), dtype=np.bool_)
        entries: Sequence[int] | IntArray = (self.items or {}).get((kind_of(value), value), ())
        mask[np.asarray(entries, dtype=np.int64)] = True
        return mask

    @cached_property
    def _code_of(self) -> dict[str, int]:
        return {text: code for code, text in enumerate(self.texts) if text}
