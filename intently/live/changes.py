"""Checks the changes that users bring and folds them into one effect an ad.

A batch is all or nothing, so every fault of it is found here, before anything happens.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from math import isfinite
from typing import Any

import pyarrow as pa

from intently.catalog import Catalog
from intently.catalog.ad_columns import columns_of
from intently.catalog.columns import AD_FIELDS, SCHEMA
from intently.catalog.payload import checked_payload, payload_of
from intently.errors import InputError
from intently.live.log.entries import LIST_PREFIX, attributes_of
from intently.rules.keyword import checked_negative
from intently.snapshot.attributes import ATTRIBUTE_FIELDS
from intently.snapshot.lists import BLOCKED_BY
from intently.types import Ad, Change, Delete, Patch, Put, PutList, Span

_KINDS = {field.name: field.kind for field in AD_FIELDS}
_FIELDS = tuple(field.name for field in fields(Ad) if field.name != "ad_id")


@dataclass(frozen=True)
class Full:
    """The effect of a put: the ad becomes this one, whether it was there before or not."""

    ad: Ad
    seq: int = 0

    @property
    def ad_id(self) -> str:
        """The id of the ad."""
        return self.ad.ad_id


@dataclass(frozen=True)
class Fields:
    """The effect of a patch: these fields of an ad get these values; the others stay."""

    ad_id: str
    values: Mapping[str, Any]
    seq: int = 0


@dataclass(frozen=True)
class Replaced(Fields):
    """The effect of a put of an ad whose text is there already: it sets all attributes, and no older put undoes it."""

    ad: Ad | None = None

    @classmethod
    def by(cls, ad: Ad, seq: int) -> "Replaced":
        """Return the effect of putting this ad."""
        return cls(ad.ad_id, attributes_of(ad), seq, ad)


@dataclass(frozen=True)
class Gone:
    """The effect of a delete: the ad is removed."""

    ad_id: str
    seq: int = 0


@dataclass(frozen=True)
class Listed:
    """The effect of a list that ads share: it has these values, or is gone without any."""

    name: str
    values: tuple[str, ...]
    seq: int = 0

    @property
    def ad_id(self) -> str:
        """What stands for the list among the ids of ads, none of which holds a line break."""
        return LIST_PREFIX + self.name


Effect = Full | Fields | Gone | Listed
MAX_LIST_NAME = 256  # characters
MAX_LISTED = 100_000  # values of one list


def checked_ads(ads: object, place: str = "ads", lines: Sequence[int] | None = None) -> list[Ad]:
    """Return ads with their values cleaned as in a catalog.

    Raises `InputError` naming `place` and the position of the first ad that is not valid or repeated. `lines` are the
    ads' positions, by default from 1.
    """
    try:
        wanted = list(ads)  # type: ignore[call-overload]
    except TypeError:
        raise InputError(
            f"expected a list of Ad, got {type(ads).__name__}", cure="pass a list, also for one ad"
        ) from None
    lines = lines or range(1, len(wanted) + 1)
    for line, ad in zip(lines, wanted, strict=True):
        if not isinstance(ad, Ad):
            told = type(ad).__name__
            raise InputError(f"expected an Ad, got {told}", cure="pass a list of Ad", path=place, line=line)
    try:
        catalog = Catalog.from_ads(wanted)
    except InputError as error:
        if error.line is None:
            raise
        line = lines[error.line - 1]
        raise InputError(error.problem, cure=error.cure, path=place, line=line, field=error.field) from None
    return ads_of(catalog)


def as_catalog(ads: Sequence[Ad]) -> Catalog:
    """Return ads whose values are clean already as a catalog, without another look at every value."""
    columns = columns_of(ads, 1)
    return Catalog(pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA))


def ads_of(catalog: Catalog) -> list[Ad]:
    """Return all ads of a catalog as records: far faster than one by one."""
    columns = {name: catalog.column(name).to_pylist() for name in _KINDS}
    for name, kind in _KINDS.items():
        if kind == "list":
            columns[name] = list(map(tuple, columns[name]))
    columns["payload"] = list(map(payload_of, columns["payload"]))
    spans = columns["landing_spans"]
    columns["landing_spans"] = [tuple(Span(**span) for span in each) for each in spans]
    return [Ad(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def checked_fields(values: Mapping[str, Any], line: int) -> dict[str, Any]:
    """Return the fields of a patch, cleaned; raise `InputError` for an unknown one or a wrong value."""
    if not isinstance(values, Mapping) or not values:
        raise InputError(
            f"expected fields to change, got {values!r}", cure="pass a mapping, such as {'bid': 0.5}",
            path="changes", line=line,
        )  # fmt: skip
    cleaned: dict[str, Any] = {}
    for name, value in values.items():
        if name not in _FIELDS:
            raise InputError(
                f"{name!r} is not a field of an ad", cure=f"use one of {', '.join(_FIELDS)}", path="changes", line=line
            )
        if name == "bid" and type(value) in (int, float) and isfinite(value) and value >= 0:
            cleaned[name] = float(value)
            continue
        try:
            if name == "payload":  # rarely twice the same
                cleaned[name] = checked_payload(value)
                continue
            hashable = tuple(value) if isinstance(value, list) else value
            cleaned[name] = _cleaned(name, hashable)
        except InputError as error:
            raise InputError(error.problem, cure=error.cure, path="changes", line=line, field=name) from None
        except TypeError:  # values of fields can be hashed, and this one cannot
            raise InputError(f"{value!r} is of the wrong kind", path="changes", line=line, field=name) from None
    return cleaned


@lru_cache(maxsize=4096)
def _cleaned(name: str, value: Any) -> Any:
    """Return one value as a catalog holds it. Cached, because the same few statuses and targets recur."""
    (ad,) = checked_ads([Ad(**({"ad_id": "x", "title": "x"} | {name: value}))])
    return getattr(ad, name)


def fold(changes: object) -> dict[str, Effect]:
    """Return one effect for each ad that a batch of changes touches, in order of the last change of each.

    A later change of an ad builds on the earlier ones. Effects are numbered by the position of the last change, from 1.
    Raises `InputError` naming the position of the first change that is not valid.
    """
    if isinstance(changes, Put | Patch | Delete | PutList):
        raise InputError(f"expected a list of changes, got one {type(changes).__name__}", cure="pass [change]")
    try:
        wanted: list[Change | PutList] = list(changes)  # type: ignore[call-overload]
    except TypeError:
        raise InputError(
            f"expected a list of changes, got {type(changes).__name__}", cure="pass a list of Put, Patch and Delete"
        ) from None
    for line, change in enumerate(wanted, start=1):
        if not isinstance(change, Put | Patch | Delete | PutList):
            raise InputError(
                f"expected Put, Patch, Delete or PutList, got {type(change).__name__}", path="changes", line=line,
                cure="wrap an Ad in Put",
            )  # fmt: skip
        if isinstance(change, Patch | Delete) and (not isinstance(change.ad_id, str) or not change.ad_id):
            raise InputError(
                f"expected the text of an ad_id, got {change.ad_id!r}", path="changes", line=line, field="ad_id"
            )
    effects: dict[str, Effect] = {}
    puts = iter(_put_ads(wanted))
    effect: Effect
    for line, change in enumerate(wanted, start=1):
        if isinstance(change, Put):
            ad = next(puts)
            ad_id, effect = ad.ad_id, Full(ad, line)
        elif isinstance(change, Delete):
            ad_id, effect = change.ad_id, Gone(change.ad_id, line)
        elif isinstance(change, PutList):
            effect = _checked_list(change, line)
            ad_id = effect.ad_id
        else:
            ad_id = change.ad_id
            effect = _patched(effects.get(ad_id), ad_id, checked_fields(change.fields, line), line)
        effects.pop(ad_id, None)
        effects[ad_id] = effect
    return effects


def _checked_list(change: PutList, line: int) -> Listed:
    """Return the effect of a list; raise `InputError` for a wrong name or value."""

    def refuse(problem: str, cure: str, field: str = "values") -> InputError:
        return InputError(problem[:300], cure=cure, path="changes", line=line, field=field)

    name, values = change.name, change.values
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_LIST_NAME or not name.isprintable():
        raise refuse(f"{name!r} is not the name of a list", f"write 1 to {MAX_LIST_NAME} characters", "name")
    if isinstance(values, str) or not isinstance(values, list | tuple | set | frozenset):
        raise refuse(f"expected a list of texts, got {values!r}", f"pass [{values!r}]")
    if len(values) > MAX_LISTED or not all(isinstance(value, str) for value in values):
        raise refuse(f"expected at most {MAX_LISTED:,} texts, got {len(values):,} values", "pass texts")
    kept = tuple(dict.fromkeys(text for value in values if (text := value.strip())))
    if name not in set(BLOCKED_BY):
        for text in kept:
            try:
                checked_negative(text)
            except InputError as error:
                raise refuse(error.problem, error.cure) from None
    return Listed(name, kept, line)


def _put_ads(changes: Iterable[Change | PutList]) -> list[Ad]:
    """Return the ads of all puts, checked together as far as each is put once: checking one takes as long as many."""
    checked: list[Ad] = []
    run: dict[str, tuple[int, Ad]] = {}  # by id
    for line, change in enumerate(changes, start=1):
        if not isinstance(change, Put):
            continue
        ad_id = str(getattr(change.ad, "ad_id", line)).strip()
        if ad_id in run:
            checked += _checked_run(run.values())
            run = {}
        run[ad_id] = line, change.ad
    return checked + (_checked_run(run.values()) if run else [])


def _checked_run(puts: Iterable[tuple[int, Ad]]) -> list[Ad]:
    lines, ads = zip(*puts, strict=True)
    return checked_ads(ads, "changes", lines)


def _patched(before: Effect | None, ad_id: str, values: dict[str, Any], line: int) -> Effect:
    """Return the effect of a patch on top of an earlier change of the same batch."""
    if isinstance(before, Gone):
        raise InputError(
            f"ad {ad_id!r} is deleted by an earlier change of this batch", cure="put it instead", path="changes",
            line=line,
        )  # fmt: skip
    if isinstance(before, Full):
        return Full(replace(before.ad, **values), line)
    return Fields(ad_id, {**before.values, **values} if isinstance(before, Fields) else values, line)


def is_attribute(name: str) -> bool:
    """Return whether a field may change without a model reading the ad again."""
    return name in ATTRIBUTE_FIELDS
