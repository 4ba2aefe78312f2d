"""Who may see which ad: status and targeting, as one mask over the catalogue."""

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from intently.arrays import Mask
from intently.catalog import Catalog, parse_day_parts
from intently.types import UserContext

_FIELDS = ("countries", "languages", "devices", "audiences")


class Targeting:
    """Answers which ads are eligible for a user; masks of single values are computed once and kept."""

    def __init__(self, catalog: Catalog) -> None:
        self._num_ads = catalog.num_ads
        self.active: Mask = pc.equal(catalog.column("status"), "active").to_numpy(zero_copy_only=False)
        # Per field: ad rows sorted by the value they want, so that one value is one slice.
        self._wanted = {name: _Inverted(catalog.column(name)) for name in _FIELDS}
        self._day_parts = _Inverted(catalog.column("day_parts"))
        self._hours = {text: parse_day_parts([text]) for text in self._day_parts.values}
        self._mask = lru_cache(maxsize=1024)(self._compute)

    def eligible(self, user: UserContext | None) -> Mask:
        """Return which ads (N,) may be shown: active, and wanting this user in every field the user states."""
        mask = self.active
        if user is None:
            return mask
        stated: list[tuple[str, str | int | frozenset[str]]] = []
        if user.country is not None:
            stated.append(("countries", user.country.upper()))
        if user.language is not None:
            stated.append(("languages", user.language.lower()))
        if user.device is not None:
            stated.append(("devices", user.device.lower()))
        if user.audiences is not None:
            stated.append(("audiences", frozenset(user.audiences)))
        if user.time is not None:
            stated.append(("day_parts", user.time.weekday() * 24 + user.time.hour))
        for name, value in stated:
            mask = mask & self._mask(name, value)
        return mask

    def _compute(self, name: str, value: str | int | frozenset[str]) -> Mask:
        if isinstance(value, int):
            inverted, admitted = self._day_parts, [text for text, hours in self._hours.items() if hours[value]]
        else:
            inverted = self._wanted[name]
            admitted = [value] if isinstance(value, str) else sorted(value)
        mask = inverted.untargeted.copy()
        for wanted in admitted:
            mask[inverted.rows_of(wanted)] = True
        return mask


class _Inverted:
    """A list column turned round: from a value to the ads that list it, and the ads that list nothing."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        lists = column.combine_chunks()
        self.untargeted: Mask = pc.equal(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        encoded = pc.dictionary_encode(pc.list_flatten(lists))
        codes = encoded.indices.to_numpy()
        rows = pc.list_parent_indices(lists).to_numpy()
        order = np.argsort(codes, kind="stable")
        self.values: list[str] = encoded.dictionary.to_pylist()
        self._codes = {value: code for code, value in enumerate(self.values)}
        self._bounds = np.searchsorted(codes[order], np.arange(len(self.values) + 1))
        self._rows = rows[order]

    def rows_of(self, value: str) -> NDArray[np.integer]:
        code = self._codes.get(value)
        rows: NDArray[np.integer] = self._rows[:0]
        return self._rows[self._bounds[code] : self._bounds[code + 1]] if code is not None else rows
