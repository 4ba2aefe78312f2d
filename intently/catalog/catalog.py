"""The catalog: all ads, as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from intently.catalog.ad_columns import columns_of
from intently.catalog.cleaning import clean_ads
from intently.catalog.columns import SCHEMA, concat_ads
from intently.catalog.fields import BATCH_ROWS
from intently.catalog.payload import payload_of
from intently.catalog.problems import Problems, RowCheck
from intently.errors import ArtifactError, InputError
from intently.files import atomic_write
from intently.rules.keyword import bare
from intently.types import Ad, Span

_VERSION = b"3"  # with negative keywords, targeting, labels and instants
_VERSION_KEY = b"intently.catalog"


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """All ads as columns; `ad_row` counts from 0. A catalog of N ads holds no Python object per ad.

    `table` (N, 22) has the schema `intently.catalog.columns.SCHEMA`, every `ad_id` once. Make one with `read_ads`,
    `Catalog.load` or `Catalog.from_ads`, which check this.
    """

    table: pa.Table

    def __post_init__(self) -> None:
        if not self.table.schema.equals(SCHEMA):
            raise InputError("the table does not have the columns of a catalog", cure="make it with read_ads")

    @classmethod
    def from_ads(cls, ads: Iterable[Ad]) -> Catalog:
        """Build a catalog of `ads`.

        Raises InputError for ads that are not valid, naming position (from 1), field and cure of the first.
        """
        if isinstance(ads, Ad | str) or not isinstance(ads, Iterable):
            raise InputError(f"expected a list of Ad, got {type(ads).__name__}", cure="write [Ad(...)]", field="ads")
        remaining, num_rows = iter(ads), 0
        tables: list[pa.Table] = []
        while batch := list(islice(remaining, BATCH_ROWS)):
            check = RowCheck("ads", np.arange(num_rows + 1, num_rows + len(batch) + 1, dtype=np.int64))
            columns = columns_of(batch, num_rows + 1)
            tables.append(clean_ads(columns, check))
            problems = Problems(skip_bad=False)
            problems.settle(check.errors)
            problems.finish()
            num_rows += len(batch)
        table = concat_ads(tables)
        again, first = find_duplicates(table["ad_id"])
        if len(again):
            raise duplicate_error(table["ad_id"][int(again[0])].as_py(), "ads", int(again[0]) + 1, int(first[0]) + 1)
        return cls(table)

    @property
    def num_ads(self) -> int:
        """The number of ads, N."""
        return int(self.table.num_rows)

    def __len__(self) -> int:
        return self.num_ads

    def column(self, name: str) -> pa.ChunkedArray:
        """Return the column `name` (N,)."""
        return self.table.column(name)

    def bare_keywords(self) -> list[list[str]]:
        """Return the bid keywords of each ad (N) without marks: what they say, not what they match."""
        return [list(map(bare, each)) for each in self.table.column("keywords").to_pylist()]

    def strings(self, name: str, start: int = 0, stop: int | None = None) -> list[str]:
        """Return the text column `name` of the ad rows from `start` to before `stop`."""
        length = None if stop is None else max(0, stop - start)
        texts: list[str] = self.table.column(name).slice(start, length).to_pylist()
        return texts

    def iter_text(self, *names: str, separator: str = " ", batch_size: int = 8192) -> Iterator[list[str]]:
        """Yield the text of all ads in order, in batches of at most `batch_size`.

        The text of an ad is its columns `names` that are not empty, joined by `separator`. Columns are of text or lists
        of text, such as `keywords`.
        """
        for batch in self.table.select(list(dict.fromkeys(names))).to_batches(max_chunksize=batch_size):
            texts = [_joined(batch.column(name), separator) for name in names]
            # Not by Arrow's element-wise join, which drops the rows that are null in every column.
            yield [
                separator.join(filter(None, parts)) for parts in zip(*(text.to_pylist() for text in texts), strict=True)
            ]

    def ad(self, ad_row: int) -> Ad:
        """Return one row as an `Ad`. Raises IndexError when `ad_row` is not in 0 … N−1."""
        if not 0 <= ad_row < self.num_ads:
            raise IndexError(f"ad_row {ad_row} is not in 0 … {self.num_ads - 1}")
        fields: dict[str, Any] = {}
        for name in SCHEMA.names:
            value = self.table.column(name)[ad_row].as_py()
            fields[name] = tuple(value) if isinstance(value, list) else value
        fields["payload"] = payload_of(fields["payload"])
        fields["landing_spans"] = tuple(Span(**span) for span in fields["landing_spans"])
        return Ad(**fields)

    def ad_id(self, ad_row: int) -> str:
        """Return the id of one row. Raises IndexError when `ad_row` is not in 0 … N−1."""
        if not 0 <= ad_row < self.num_ads:
            raise IndexError(f"ad_row {ad_row} is not in 0 … {self.num_ads - 1}")
        return str(self.table.column("ad_id")[ad_row].as_py())

    def ad_rows(self, ad_ids: Sequence[str] | pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """Return the row of each of `ad_ids` (M,), −1 for an unknown one.

        Cost: one pass over the catalog, whatever M is, so look up many ids in one call.
        """
        wanted = ad_ids if isinstance(ad_ids, pa.Array | pa.ChunkedArray) else pa.array(ad_ids, pa.string())
        found = pc.fill_null(pc.index_in(wanted, self.table.column("ad_id")), -1)
        rows: npt.NDArray[np.int64] = found.to_numpy(zero_copy_only=False).astype(np.int64)
        return rows

    def save(self, path: str | Path) -> None:
        """Write the catalog to `path` as an Arrow IPC file, whole or not at all."""
        schema = SCHEMA.with_metadata({_VERSION_KEY: _VERSION})
        with atomic_write(Path(path)) as file, pa.ipc.new_file(file, schema) as writer:
            writer.write_table(self.table.cast(schema))

    @classmethod
    def load(cls, path: str | Path) -> Catalog:
        """Load the catalog saved at `path`, memory-mapped.

        Raises ArtifactError when it is missing, torn or of another version.
        """
        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            table.validate()
        except FileNotFoundError:
            raise ArtifactError(f"{path}: no such file; build the catalog again") from None
        except (pa.ArrowException, OSError) as error:
            raise ArtifactError(f"{path}: torn or no catalog ({error}); build it again") from None
        version = (table.schema.metadata or {}).get(_VERSION_KEY)
        if version != _VERSION or not table.schema.equals(SCHEMA):
            raise ArtifactError(f"{path}: not a catalog of version {_VERSION.decode()}; build it again")
        return cls(table.replace_schema_metadata(None))


def find_duplicates(ad_ids: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows whose id an earlier row has, in order, and for each of them the first row with that id."""
    encoded = pc.dictionary_encode(ad_ids)
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks] or [np.zeros(0, np.int32)])
    num_distinct = len(encoded.chunk(0).dictionary) if encoded.num_chunks else 0
    if num_distinct == len(codes):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    rows = np.arange(len(codes))
    first = np.full(num_distinct, len(codes))
    np.minimum.at(first, codes, rows)
    again = np.flatnonzero(first[codes] < rows)
    return again, first[codes[again]]


def duplicate_error(ad_id: str, path: object, line: int, first_line: int) -> InputError:
    """Return the error of a second ad with the same id."""
    problem = f"ad {ad_id!r} is on line {first_line} already"
    return InputError(problem, cure="give every ad an id of its own", path=path, line=line, field="ad_id")


def _joined(column: pa.Array, separator: str) -> pa.Array:
    return pc.binary_join(column, separator) if pa.types.is_list(column.type) else column
