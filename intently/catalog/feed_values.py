"""The values of one file of ads: what its columns say of fields, batch by batch, and what is to be said about them."""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.feed_amounts import PRICES, FeedAmounts
from intently.catalog.feed_titles import FeedTitles, title_or_text
from intently.catalog.fields import Rows, fold_name
from intently.catalog.formats import Table
from intently.catalog.given import MATCH_TYPE, NEGATIVES
from intently.catalog.ids import NO_VALUE, read_ids
from intently.catalog.keywords import joined_negatives, read_keywords, with_types
from intently.catalog.lists import split_lists
from intently.catalog.payload import rest_of
from intently.catalog.problems import RowCheck
from intently.catalog.reading import Reading
from intently.catalog.records import to_json
from intently.catalog.serving import SERVING_NAMES, status_of


class FeedValues:
    """What is known of a file from the batches of it that were read so far."""

    def __init__(self, table: Table, matched: dict[str, str], reading: Reading) -> None:
        self.unfit: set[str] = set()  # columns of documents, which payloads do not keep
        self.held: Counter[tuple[str, str, str]] = Counter()  # column, value, status: why ads are not active
        self.amounts = FeedAmounts(matched, reading.decimal, table.place)
        self._matched, self._table, self._today = matched, table, reading.today or date.today()
        self._titles = FeedTitles()
        self._match_types: Counter[str] = Counter()
        self._num_negatives = self._num_unmarked_ids = 0
        self._no_values: Counter[str] = Counter()
        self._is_typed = table.format in ("jsonl", "json", "parquet")

    def read(self, rows: Rows, check: RowCheck) -> tuple[pa.Table, dict[str, Any]]:
        """Return the payload columns and the fields of a batch, whose status, bid and keywords have been read."""
        columns, rest = self._with_values(rows)
        if "ad_id" in columns:
            columns["ad_id"], num_changed = read_ids(columns["ad_id"], "ad_id", check)
            self._num_unmarked_ids += num_changed
        if self._matched.get("ad_id") == "_id":
            columns["title"] = title_or_text(columns)
        for name in SERVING_NAMES & columns.keys():
            column = fold_name(self._matched.get(name, name))
            rest.setdefault(self._table.reading.columns.get(column, column), self._shown(columns[name]))
        if "title" in columns:
            self._titles.check(columns["title"], check)
        status_of(columns, check, self._today, self._matched, self.held)
        self.amounts.read_bids(columns, check)
        negatives = self._read_keywords(columns, check)
        if negatives is not None:
            columns[NEGATIVES] = negatives
        if "currency" in rest:
            self.amounts.look_at(rest["currency"])
        table, unfit = rest_of(rest, len(rows.lines))
        self.unfit |= unfit
        return table, columns

    def _with_values(self, rows: Rows) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the columns of fields and the others, without what stands for no value: NULL, N/A, nan."""
        columns, rest = dict(rows.columns), dict(rows.rest)
        others = {"ad_id", "title", "status", *SERVING_NAMES}
        for kept, names in ((columns, columns.keys() - others), (rest, filter(PRICES.search, list(rest)))):
            for name in sorted(names):
                if not pa.types.is_string(kept[name].type):
                    continue
                is_none = pc.match_substring_regex(pc.utf8_trim_whitespace(kept[name]), NO_VALUE)
                if number := pc.sum(is_none).as_py():
                    kept[name] = pc.if_else(is_none, "", kept[name])
                    self._no_values[self._matched.get(name, name)] += number
        return columns, rest

    def _shown(self, values: Any) -> Any:
        if not self._is_typed:
            return values
        return pa.array(
            [None if v is None else v if v in ("true", "false") else to_json(v) for v in values.to_pylist()],
            pa.string(),
        )

    def _read_keywords(self, columns: dict[str, Any], check: RowCheck) -> Any:
        negatives, own = columns.pop(NEGATIVES, None), None
        if negatives is not None and pa.types.is_string(negatives.type):
            negatives = split_lists(negatives, "keywords")
        types = columns.pop(MATCH_TYPE, None)
        if types is not None and "keywords" in columns:
            columns["keywords"] = with_types(columns["keywords"], types, check)
        if "keywords" in columns:
            columns["keywords"], own = read_keywords(columns["keywords"], self._match_types)
        if negatives is None and own is None:
            return None
        joined = joined_negatives(negatives, own)
        self._num_negatives += sum(map(bool, joined.to_pylist()))
        return joined

    def notes(self) -> Iterator[str]:
        """Yield what is worth saying about how values were read."""
        for name, number in self._no_values.items():
            yield f"{number:,} cells of '{name}' that stand for no value (NULL, N/A, …) read as empty"
        if self._num_unmarked_ids:
            yield f"{self._num_unmarked_ids:,} ids without what a spreadsheet or data frame added to them (=, ', .0)"
        yield from self.amounts.notes()

    def warnings(self) -> Iterator[str]:
        """Yield what is in the file and is not used as its owner may think."""
        yield from self._titles.warnings()
        yield from self.amounts.warnings()
        if types := {name: number for name, number in self._match_types.items() if name not in ("", "negative")}:
            told = ", ".join(f"{number:,} {name}" for name, number in types.items())
            yield f"match types of keywords: {told}"
        if self._num_negatives:
            yield f"negative keywords of {self._num_negatives:,} ads"
