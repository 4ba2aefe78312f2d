"""Every request to the service, and how its answer is read, without any network.

`Client` and `AsyncClient` send what this module makes, so that the two cannot differ.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from intently.errors import ServiceError
from intently.serve.problems import ProblemBody
from intently.serve.wire import (
    AdPage,
    BulkEnd,
    Changed,
    Explained,
    Generations,
    Limits,
    LineResult,
    ListChanged,
    ListedLists,
    ListTold,
)
from intently.types import Ad, Change, Delete, Put, PutList, Ranking, Request, Verdict

T = TypeVar("T")
BULK_LINES = 1_000  # that one request sends: as many as the service applies at once


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and how its answer is read. Every call may be sent again."""

    method: str
    path: str
    read: Callable[[bytes], T]
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""  # the code of a refusal that means: there is none

    def result(self, status: int, content: bytes) -> T:
        """Return what an answer tells; raise `ServiceError` if it refuses."""
        try:
            if status >= 400:
                refused = refusal(status, content)
                if not self.missing or refused.code != self.missing:
                    raise refused
                content = b"null"
            return self.read(content)
        except msgspec.DecodeError as error:
            cure = "is it the address of an Intently service of this version?"
            raise ServiceError(
                f"the answer to {self.path} cannot be read ({error})", cure=cure, status=status
            ) from error


def refusal(status: int, content: bytes) -> ServiceError:
    """Return what an answer with an error says."""
    try:
        told = msgspec.json.decode(content, type=ProblemBody)
    except msgspec.DecodeError:
        return ServiceError(f"the service answered with status {status}", status=status)
    return ServiceError(
        told.detail, cure=told.cure, status=status, code=told.code, field=told.field, request_id=told.request_id
    )


_JSON = {"Content-Type": "application/json"}


def _reader(kind: type[T]) -> Callable[[bytes], T]:
    decoder = msgspec.json.Decoder(kind)
    return decoder.decode


_ranking, _rankings = _reader(Ranking), _reader(list[Ranking])
_ad: Callable[[bytes], Ad | None] = msgspec.json.Decoder(Ad | None).decode
_explained, _page, _changed = _reader(Explained), _reader(AdPage), _reader(Changed)
_lists, _list_changed = _reader(ListedLists), _reader(ListChanged)
_list_told: Callable[[bytes], ListTold | None] = msgspec.json.Decoder(ListTold | None).decode
_generations, _limits = _reader(Generations), _reader(Limits)


def _query(request: Request, min_seq: int) -> dict[str, Any]:
    user = None if request.user is None else asdict(request.user)
    if user and user["audiences"] is not None:
        user["audiences"] = sorted(user["audiences"])
    if user:
        user["attributes"] = {name: _listed(value) for name, value in user["attributes"].items()}
    told = {each.name: getattr(request, each.name) for each in fields(request)}
    filters = None if request.filters is None else str(request.filters)
    return told | {
        "user": user,
        "filters": filters,
        "exclude": sorted(request.exclude),
        "min_seq": max(min_seq, request.min_seq),
    }


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, set | frozenset | tuple) else value


def answer(request: Request, min_seq: int = 0) -> Call[Ranking]:
    """Return the call for one query."""
    return Call("POST", "/v1/retrieve", _ranking, msgspec.json.encode(_query(request, min_seq)), _JSON)


def answer_many(requests: Sequence[Request], min_seq: int = 0) -> Call[list[Ranking]]:
    """Return the call for a list of queries, answered from one snapshot."""
    told = [_query(request, min_seq) for request in requests]
    return Call("POST", "/v1/retrieve", _rankings, msgspec.json.encode(told), _JSON)


def explain(request: Request, ad_ids: Sequence[str], min_seq: int = 0) -> Call[list[Verdict]]:
    """Return the call that says why ads are in an answer, or why not."""
    told = _query(request, min_seq) | {"ad_ids": list(ad_ids)}
    return Call("POST", "/v1/explain", lambda content: _explained(content).verdicts, msgspec.json.encode(told), _JSON)


def ad(ad_id: str) -> Call[Ad | None]:
    """Return the call for one ad, None if it is not there."""
    return Call("GET", _path(ad_id), _ad, missing="unknown_ad")


def page(cursor: str | None, limit: int, status: str | None, advertiser: str | None) -> Call[AdPage]:
    """Return the call for one page of ads."""
    given = {"cursor": cursor, "limit": str(limit), "status": status, "advertiser": advertiser}
    return Call("GET", "/v1/ads", _page, params={name: value for name, value in given.items() if value is not None})


def apply(change: Change, if_match: str | None = None) -> Call[Changed]:
    """Return the call for one change. It has an idempotency key of its own, so that sending it again is safe."""
    headers = {**_JSON, "Idempotency-Key": str(uuid.uuid4())}
    if if_match is not None:
        headers["If-Match"] = if_match
    if isinstance(change, Put):
        content = msgspec.json.encode(change.ad)
        return Call("PUT", _path(change.ad.ad_id), _changed, content, headers)
    if isinstance(change, Delete):
        del headers["Content-Type"]
        return Call("DELETE", _path(change.ad_id), _changed, b"", headers)
    return Call("PATCH", _path(change.ad_id), _changed, msgspec.json.encode(dict(change.fields)), headers)


def lists() -> Call[dict[str, int]]:
    """Return the call for the names of all lists, with how many values each has."""
    return Call("GET", "/v1/lists", lambda content: {each.name: each.num_values for each in _lists(content).lists})


def list_values(name: str) -> Call[tuple[str, ...]]:
    """Return the call for the values of one list, none if it is not there."""

    def read(content: bytes) -> tuple[str, ...]:
        told = _list_told(content)
        return () if told is None else tuple(told.values)

    return Call("GET", f"/v1/lists/{quote(name, safe='')}", read, missing="unknown_list")


def put_list(change: PutList, if_match: str | None = None) -> Call[ListChanged]:
    """Return the call that gives a list other values, or removes it. It has an idempotency key of its own."""
    path, headers = f"/v1/lists/{quote(change.name, safe='')}", {"Idempotency-Key": str(uuid.uuid4())}
    if if_match is not None:
        headers["If-Match"] = if_match
    if not change.values:
        return Call("DELETE", path, _list_changed, b"", headers)
    content = msgspec.json.encode({"values": change.values})
    return Call("PUT", path, _list_changed, content, _JSON | headers)


def generations() -> Call[Generations]:
    """Return the call for the list of generations."""
    return Call("GET", "/v1/generations", _generations)


def go_to(generation: str | None) -> Call[Generations]:
    """Return the call that makes a generation current."""
    return Call("POST", "/v1/generations", _generations, msgspec.json.encode({"generation": generation}), _JSON)


def limits() -> Call[Limits]:
    """Return the call for the limits."""
    return Call("GET", "/v1/limits", _limits)


def _path(ad_id: str) -> str:
    return f"/v1/ads/{quote(ad_id, safe='')}"


# Bulks.


@dataclass
class BulkDone:
    """What became of a bulk: `errors` are its refused lines, counted from 1."""

    succeeded: int = 0
    failed: int = 0
    seq: int = 0
    errors: list[LineResult] = field(default_factory=list)

    def take(self, results: list[LineResult], num_before: int) -> None:
        """Add the results of one request; so many lines were sent before it."""
        for each in results:
            if each.error is None:
                self.succeeded += 1
                self.seq = max(self.seq, each.seq or 0)
            else:
                self.failed += 1
                each.line += num_before
                self.errors.append(each)


def bulks(changes: Iterable[Change], lines: int = BULK_LINES) -> Iterator[tuple[int, Call[list[LineResult]]]]:
    """Yield how many changes a call holds, and the call, by the thousand. Sent again, each ends in the same state."""
    left = iter(changes)
    while chunk := list(islice(left, lines)):
        content = b"".join(msgspec.json.encode(_line(change)) + b"\n" for change in chunk)
        yield len(chunk), Call("POST", "/v1/ads:bulk", _results, content, {"Content-Type": "application/x-ndjson"})


def _line(change: Change) -> dict[str, Any]:
    if isinstance(change, Put):
        return {"op": "put", "ad": change.ad}
    if isinstance(change, Delete):
        return {"op": "delete", "ad_id": change.ad_id}
    return {"op": "patch", "ad_id": change.ad_id, "fields": dict(change.fields)}


_line_result, _bulk_end = _reader(LineResult), _reader(BulkEnd)


def _results(content: bytes) -> list[LineResult]:
    *lines, last = content.splitlines()
    _bulk_end(last)  # without it, the answer is not whole
    return [_line_result(line) for line in lines]
