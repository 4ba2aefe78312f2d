"""The bids and prices of one file: read batch by batch, in one currency, with one mark of decimals a column."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.amounts import UNITS, Decimals, read_amounts
from intently.catalog.given import BID_MICROS
from intently.catalog.problems import RowCheck
from intently.catalog.records import as_amounts, to_json
from intently.errors import InputError

# Columns of the payload that are amounts.
PRICES = re.compile(rf"(^|_)(price|cost|msrp|rrp)($|_amount$|_value$|_(in_)?({'|'.join(UNITS)})$)")
_MICROS_FROM = 10_000  # hardly a click costs as much
_MAX_CURRENCIES = 20  # of a column, looked at


class FeedAmounts:
    """What is known of a file's bids and prices from the batches that were read so far."""

    def __init__(self, matched: Mapping[str, str], decimal: str, place: object) -> None:
        """`matched` leads from fields to columns; `decimal` is `point`, `comma` or "", as `Reading.decimal`."""
        self._matched, self._place = matched, place
        self._mark = {"point": ".", "comma": ",", "": ""}[decimal]
        self._decimals: dict[str, Decimals] = {}  # by column
        self._currencies: set[str] = set()  # of a column of them
        self._lowest_bids: list[float] = []  # of each batch
        self._as_text: set[str] = set()  # prices that stay text

    def read_bids(self, columns: dict[str, Any], check: RowCheck) -> None:
        """Replace the bids (N,) in `columns`, texts or micros, by numbers; reject rows whose bid is not understood."""
        for name in ("bid", BID_MICROS):
            if name in columns and pa.types.is_string(columns[name].type):
                columns[name] = read_amounts(columns[name], name, check, self._decimals_of(name))
        if BID_MICROS in columns:
            micros = pc.divide(pc.cast(columns.pop(BID_MICROS), pa.float64()), 1e6)
            columns["bid"] = pc.coalesce(columns["bid"], micros) if "bid" in columns else micros
        if "bid" in columns and (lowest := pc.min(columns["bid"].cast(pa.float64())).as_py()) is not None:
            self._lowest_bids.append(lowest)

    def look_at(self, currencies: pa.Array) -> None:
        """Note which currencies a column (N,) of them names."""
        if len(self._currencies) < _MAX_CURRENCIES:
            self._currencies |= {text for text in currencies.unique().to_pylist() if text and text.strip(' "')}

    def with_prices(self, rest: pa.Table, *, in_json: bool) -> pa.Table:
        """Return payload columns whose prices are numbers, with a column of their currency."""
        for name in rest.column_names:
            if not PRICES.search(name):
                continue
            texts = rest[name].combine_chunks()
            if in_json:
                texts = pc.replace_substring_regex(as_amounts(texts), r'^"(.*)"$', r"\1")
            state = self._decimals_of(name)
            check = RowCheck(self._place, np.arange(len(texts), dtype=np.int64))
            numbers = read_amounts(texts, name, check, state)
            if check.errors or name in self._as_text or len(state.currencies) > 1:
                self._as_text.add(name)
                continue
            shown = [None if v is None else f"{v:.10f}".rstrip("0").rstrip(".") for v in numbers.to_pylist()]
            rest = rest.set_column(rest.column_names.index(name), name, pa.array(shown, pa.string()))
            currency = next(iter(state.currencies), "")
            if len(currency) == 3 and "currency" not in rest.column_names:
                value = to_json(currency) if in_json else currency
                rest = rest.append_column("currency", pa.array([value] * rest.num_rows, pa.string()))
        return rest

    def check_currencies(self) -> None:
        """Raise `InputError` for bids in several currencies, which cannot be compared."""
        for name in ("bid", BID_MICROS):
            if name in self._decimals and len(found := self._decimals[name].currencies) > 1:
                told = ", ".join(f"{currency} ({number:,})" for currency, number in found.items())
                problem = f"'{self._matched.get(name, name)}' is in several currencies: {told}"
                raise InputError(problem, cure="convert bids to one", path=self._place, field="bid")

    def notes(self) -> Iterator[str]:
        """Yield how amounts were read."""
        for name, state in self._decimals.items():
            if state.was_seen:
                yield f"'{self._matched.get(name, name)}' has a comma before decimals"
            if len(state.currencies) == 1:
                yield f"'{self._matched.get(name, name)}' is in {next(iter(state.currencies))}"

    def warnings(self) -> Iterator[str]:
        """Yield which amounts are not used as their owner may think."""
        for name, state in self._decimals.items():
            if len(state.currencies) > 1:
                yield f"'{self._matched.get(name, name)}' is in several currencies: {', '.join(state.currencies)}"
        if self._lowest_bids and min(self._lowest_bids) >= _MICROS_FROM and "bid" in self._matched:
            name = self._matched["bid"]
            yield f'all bids are of {_MICROS_FROM:,} and more; if they are in micros, say --map "{name}={BID_MICROS}"'
        if self._lowest_bids and len(self._currencies) > 1:
            yield f"bids are compared as numbers, and 'currency' has {', '.join(sorted(self._currencies)[:5])}"
        for name in sorted(self._as_text):
            yield f"'{name}' stays text: not all of its values can be read as numbers in one way"

    def _decimals_of(self, name: str) -> Decimals:
        return self._decimals.setdefault(name, Decimals(self._mark))
