"""The augmentation of a catalog: generated queries and extracted keywords, and their file of JSON lines."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intently.catalog import Catalog
from intently.catalog.jsonl import read_values
from intently.catalog.lines import open_output
from intently.errors import InputError

_FIELDS = ("ad_id", "queries", "keywords")
_CURE = 'write {"ad_id": "…", "queries": ["…"], "keywords": ["…"]} on a line'


@dataclass(frozen=True)
class Augmentation:
    """Row by row the catalog's ads: queries a language model wrote for each, and keywords extracted from each."""

    queries: tuple[tuple[str, ...], ...]
    keywords: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(self.queries) != len(self.keywords):
            raise InputError(f"queries of {len(self.queries)} ads, keywords of {len(self.keywords)}")

    def __len__(self) -> int:
        return len(self.queries)

    def save(self, path: Path, catalog: Catalog) -> None:
        """Write one JSON line an ad that has queries or keywords, whole or not at all; compressed as `path` says."""
        _check_rows(self, catalog)
        with open_output(path) as file:
            rows = zip(catalog.strings("ad_id"), self.queries, self.keywords, strict=True)
            for ad_id, queries, keywords in rows:
                if queries or keywords:
                    record = {"ad_id": ad_id, "queries": queries, "keywords": keywords}
                    file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")

    @classmethod
    def load(cls, path: Path, catalog: Catalog) -> "Augmentation":
        """Read what `save` wrote, in the order of `catalog`; an ad without a line has nothing, an ad gone is left out.

        Raises `InputError` naming the line that is no such record or names an ad again, and for a file in which no
        line names an ad of a catalog that has any.
        """
        line_of: dict[str, int] = {}
        found: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
        for number, value in read_values(path, _CURE):
            ad_id, queries, keywords = _record(value, path, number)
            if line_of.setdefault(ad_id, number) != number:
                problem = f"ad {ad_id!r} is on line {line_of[ad_id]} already"
                raise InputError(problem, cure="give every ad one line", path=path, line=number, field="ad_id")
            found.append((ad_id, queries, keywords))
        rows = catalog.ad_rows([ad_id for ad_id, _, _ in found]).tolist()
        if found and len(catalog) and max(rows) < 0:
            raise InputError("no line names an ad of the catalog", cure="check that the ids are the same", path=path)
        of_queries: list[tuple[str, ...]] = [()] * len(catalog)
        of_keywords = list(of_queries)
        for row, (_, queries, keywords) in zip(rows, found, strict=True):
            if row >= 0:
                of_queries[row], of_keywords[row] = queries, keywords
        return cls(tuple(of_queries), tuple(of_keywords))


def _check_rows(augmentation: Augmentation, catalog: Catalog) -> None:
    if len(augmentation) != len(catalog):
        raise InputError(f"the augmentation is of {len(augmentation)} ads, the catalog has {len(catalog)}")


def _record(value: Any, path: Path, line: int) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    if not isinstance(value, dict):
        raise InputError("no JSON object", cure=_CURE, path=path, line=line)
    for name in (*value, *_FIELDS):
        if name not in _FIELDS or name not in value:
            problem = "no such field" if name in value else "missing"
            raise InputError(problem, cure=_CURE, path=path, line=line, field=name)
    if not isinstance(value["ad_id"], str):
        raise InputError("not a text", cure=_CURE, path=path, line=line, field="ad_id")
    for name in _FIELDS[1:]:
        if not isinstance(value[name], list) or not all(isinstance(one, str) for one in value[name]):
            raise InputError("no list of texts", cure=_CURE, path=path, line=line, field=name)
    return value["ad_id"], tuple(value["queries"]), tuple(value["keywords"])
