"""Entries of the log: what one change did to one ad, as plain values that any later version can read.

A put holds the whole ad, a patch the attributes that it set, a delete nothing. An entry does not depend on what was
there before, so replaying it twice equals replaying it once.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from typing import Any

from intently.errors import LogError
from intently.snapshot.attributes import ATTRIBUTE_FIELDS
from intently.snapshot.segment import CONTENT_FIELDS
from intently.types import Ad, Span

LIST_PREFIX = "list\n"  # of what stands for a list among the ids of ads, none of which holds a line break
_DIGEST_BYTES = 16
_DEFAULTS = {field.name: field.default for field in fields(Ad) if field.default is not MISSING}
_FIELDS = tuple(field.name for field in fields(Ad) if field.name != "ad_id")


class Kind(StrEnum):
    """What an entry did to its ad."""

    PUT = "put"
    PATCH = "patch"
    DELETE = "delete"
    LIST = "list"  # which ads share; its `ad_id` is the list's


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log. Entries of the same `batch` are applied together or not at all."""

    seq: int  # its number: 1 more than that of the entry before
    batch: int  # the number of the last entry of its batch
    at_ms: int  # when, in milliseconds since 1970, by a clock that may jump; order comes from `seq`
    ad_id: str
    kind: Kind
    content: bytes | None = None  # of a put: the digest of its text, under which what models read in it is kept
    body: str = ""  # the fields as JSON: of a put all that differ from the default, of a patch those that it set
    new_to: str = ""  # of a put whose text models had to read: the generation that it was new to

    @property
    def fields(self) -> dict[str, Any]:
        """The fields that a patch set, or those of a put that differ from their default."""
        told = json.loads(self.body) if self.body and self.kind is not Kind.LIST else {}
        if unknown := [name for name in told if name not in _FIELDS]:
            raise LogError(
                f"change {self.seq} sets {unknown[0]!r}, which this version does not know",
                cure="open the log with the version of Intently that wrote it, or a later one",
            )
        return {name: _loaded(name, value) for name, value in told.items()}

    @property
    def ad(self) -> Ad:
        """The ad of a put."""
        return Ad(self.ad_id, **self.fields)

    @property
    def name(self) -> str:
        """The id of the ad, or the name of the list."""
        return self.ad_id.removeprefix(LIST_PREFIX)

    @property
    def values(self) -> tuple[str, ...]:
        """The values of a list."""
        return tuple(json.loads(self.body))

    @property
    def is_essential(self) -> bool:
        """Whether this takes ads out of circulation, as block lists do; that goes on when the disk is nearly full."""
        if self.kind is Kind.PATCH:
            told = self.fields
            return set(told) == {"status"} and told["status"] != "active"
        return self.kind in (Kind.DELETE, Kind.LIST)

    @property
    def checksum(self) -> int:
        """The CRC-32 of all fields, which tells damage."""
        told = [self.seq, self.batch, self.at_ms, self.ad_id, str(self.kind), (self.content or b"").hex(), self.body]
        return zlib.crc32(json.dumps([*told, self.new_to]).encode())

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as plain values, ready for JSON."""
        told: dict[str, Any] = {"seq": self.seq, "batch": self.batch, "at_ms": self.at_ms, "kind": str(self.kind)}
        named = {"list": self.name} if self.kind is Kind.LIST else {"ad_id": self.ad_id}
        return told | named | {"fields": json.loads(self.body) if self.body else {}}


def body_of_ad(ad: Ad) -> str:
    """Return the body of a put: the fields that differ from their default."""
    values = {name: getattr(ad, name) for name in _FIELDS}
    return body_of({name: value for name, value in values.items() if name not in _DEFAULTS or value != _DEFAULTS[name]})


def body_of(values: Mapping[str, Any]) -> str:
    """Return fields of an ad as JSON."""
    return json.dumps({name: _plain(value) for name, value in values.items()}, separators=(",", ":"))


def attributes_of(ad: Ad) -> dict[str, Any]:
    """Return the attributes of an ad by name."""
    return {name: getattr(ad, name) for name in ATTRIBUTE_FIELDS}


def digest_of_content(ad: Ad) -> bytes:
    """Return a digest of the text of an ad, which decides what models read in it."""
    told = json.dumps([_plain(getattr(ad, name)) for name in CONTENT_FIELDS])
    return hashlib.blake2b(told.encode(), digest_size=_DIGEST_BYTES).digest()


def _plain(value: Any) -> Any:
    if isinstance(value, Span):
        return [value.text, value.confidence]
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


def _loaded(name: str, value: Any) -> Any:
    if name == "landing_spans":
        return tuple(Span(text, confidence) for text, confidence in value)
    return tuple(value) if isinstance(value, list) else value
