"""The two clients: one that waits, and one for asyncio. Both send the calls of `intently.client.calls`."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import httpx2

from intently.client import calls
from intently.client.calls import BulkDone, Call
from intently.client.retry import Retry
from intently.errors import InputError, ServiceError
from intently.serve.wire import Changed, Generations, Limits, ListChanged
from intently.types import Ad, Change, PutList, Ranking, Request, Verdict

T = TypeVar("T")
_TIMEOUT_S = 60.0


class Client:
    """Asks a service, with the words of `Engine`. Threads may share it; close it, or use it in a `with` block.

    `key` is the secret of a key. Raises `ServiceError` for what the service refuses, after the retries that `retry`
    allows, or if the service cannot be reached.
    """

    def __init__(
        self,
        address: str,
        *,
        key: str | None = None,
        retry: Retry | None = None,
        timeout_s: float = _TIMEOUT_S,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._retry = retry or Retry()
        self._http = httpx2.Client(**_options(address, key, timeout_s), transport=transport)

    def answer(self, request: Request, *, min_seq: int = 0) -> Ranking:
        """Return the ranking of a request; with `min_seq`, one that shows this change."""
        return self._send(calls.answer(request, min_seq))

    def answer_many(self, requests: Sequence[Request], *, min_seq: int = 0) -> list[Ranking]:
        """Return the rankings of requests, all from one snapshot."""
        return self._send(calls.answer_many(requests, min_seq))

    def explain(self, request: Request, ad_ids: Sequence[str], *, min_seq: int = 0) -> list[Verdict]:
        """Return for each ad why it is in the answer to a request, or why not."""
        return self._send(calls.explain(request, ad_ids, min_seq))

    def ad(self, ad_id: str) -> Ad | None:
        """Return an ad as it is now, None if it is not there."""
        return self._send(calls.ad(ad_id))

    def ads(self, *, status: str | None = None, advertiser: str | None = None, limit: int = 1_000) -> Iterator[Ad]:
        """Yield all ads in the order of their ids, so many in one request."""
        cursor, is_first = None, True
        while is_first or cursor is not None:
            page = self._send(calls.page(cursor, limit, status, advertiser))
            cursor, is_first = page.next, False
            yield from page.ads

    def apply(self, change: Change, *, if_match: str | None = None) -> Changed:
        """Apply one change; every answer from then on shows it. Sent again, it is not applied again."""
        return self._send(calls.apply(change, if_match))

    def bulk(self, changes: Iterable[Change], *, progress: Callable[[int], None] | None = None) -> BulkDone:
        """Apply any number of changes, each on its own; `progress` is called with the number done so far."""
        done, num_done = BulkDone(), 0
        for size, call in calls.bulks(changes):
            done.take(self._send(call), num_done)
            num_done += size
            if progress is not None:
                progress(num_done)
        return done

    def lists(self) -> dict[str, int]:
        """Return the names of the lists that ads share, with how many values each has."""
        return self._send(calls.lists())

    def list_values(self, name: str) -> tuple[str, ...]:
        """Return the values of a list, none if it is not there."""
        return self._send(calls.list_values(name))

    def put_list(self, change: PutList, *, if_match: str | None = None) -> ListChanged:
        """Give a list other values; without values it is removed. Sent again, the change is not applied again."""
        return self._send(calls.put_list(change, if_match))

    def generations(self) -> Generations:
        """Return the generations on the service's disk, newest first."""
        return self._send(calls.generations())

    def go_to(self, generation: str | None = None) -> Generations:
        """Make a generation current, by default the one before the current one."""
        return self._send(calls.go_to(generation))

    def limits(self) -> Limits:
        """Return what one request may ask for."""
        return self._send(calls.limits())

    def _send(self, call: Call[T]) -> T:
        exchange = _Exchange(call, self._retry, str(self._http.base_url))
        wait_s: float | None = 0.0
        while wait_s is not None:
            time.sleep(wait_s)
            try:
                response = self._http.request(call.method, call.path, **exchange.parts)
                wait_s = exchange.take(response.status_code, response.headers, response.content)
            except httpx2.TransportError as error:
                wait_s = exchange.take_failure(error)
        return exchange.result()

    def close(self) -> None:
        """End all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


class AsyncClient:
    """`Client` for asyncio: the same methods, to be awaited."""

    def __init__(
        self,
        address: str,
        *,
        key: str | None = None,
        retry: Retry | None = None,
        timeout_s: float = _TIMEOUT_S,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._retry = retry or Retry()
        self._http = httpx2.AsyncClient(**_options(address, key, timeout_s), transport=transport)

    async def answer(self, request: Request, *, min_seq: int = 0) -> Ranking:
        """Return the ranking of a request; with `min_seq`, one that shows this change."""
        return await self._send(calls.answer(request, min_seq))

    async def answer_many(self, requests: Sequence[Request], *, min_seq: int = 0) -> list[Ranking]:
        """Return the rankings of requests, all from one snapshot."""
        return await self._send(calls.answer_many(requests, min_seq))

    async def explain(self, request: Request, ad_ids: Sequence[str], *, min_seq: int = 0) -> list[Verdict]:
        """Return for each ad why it is in the answer to a request, or why not."""
        return await self._send(calls.explain(request, ad_ids, min_seq))

    async def ad(self, ad_id: str) -> Ad | None:
        """Return an ad as it is now, None if it is not there."""
        return await self._send(calls.ad(ad_id))

    async def ads(
        self, *, status: str | None = None, advertiser: str | None = None, limit: int = 1_000
    ) -> AsyncIterator[Ad]:
        """Yield all ads in the order of their ids, so many in one request."""
        cursor, is_first = None, True
        while is_first or cursor is not None:
            page = await self._send(calls.page(cursor, limit, status, advertiser))
            cursor, is_first = page.next, False
            for ad in page.ads:
                yield ad

    async def apply(self, change: Change, *, if_match: str | None = None) -> Changed:
        """Apply one change; every answer from then on shows it. Sent again, it is not applied again."""
        return await self._send(calls.apply(change, if_match))

    async def bulk(self, changes: Iterable[Change], *, progress: Callable[[int], None] | None = None) -> BulkDone:
        """Apply any number of changes, each on its own; `progress` is called with the number done so far."""
        done, num_done = BulkDone(), 0
        for size, call in calls.bulks(changes):
            done.take(await self._send(call), num_done)
            num_done += size
            if progress is not None:
                progress(num_done)
        return done

    async def lists(self) -> dict[str, int]:
        """Return the names of the lists that ads share, with how many values each has."""
        return await self._send(calls.lists())

    async def list_values(self, name: str) -> tuple[str, ...]:
        """Return the values of a list, none if it is not there."""
        return await self._send(calls.list_values(name))

    async def put_list(self, change: PutList, *, if_match: str | None = None) -> ListChanged:
        """Give a list other values; without values it is removed. Sent again, the change is not applied again."""
        return await self._send(calls.put_list(change, if_match))

    async def generations(self) -> Generations:
        """Return the generations on the service's disk, newest first."""
        return await self._send(calls.generations())

    async def go_to(self, generation: str | None = None) -> Generations:
        """Make a generation current, by default the one before the current one."""
        return await self._send(calls.go_to(generation))

    async def limits(self) -> Limits:
        """Return what one request may ask for."""
        return await self._send(calls.limits())

    async def _send(self, call: Call[T]) -> T:
        exchange = _Exchange(call, self._retry, str(self._http.base_url))
        wait_s: float | None = 0.0
        while wait_s is not None:
            await asyncio.sleep(wait_s)
            try:
                response = await self._http.request(call.method, call.path, **exchange.parts)
                wait_s = exchange.take(response.status_code, response.headers, response.content)
            except httpx2.TransportError as error:
                wait_s = exchange.take_failure(error)
        return exchange.result()

    async def close(self) -> None:
        """End all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()


def _options(address: str, key: str | None, timeout_s: float) -> dict[str, Any]:
    if not address.startswith(("http://", "https://")):
        raise InputError(f"{address!r} is not an address", cure="write http://host:port", field="address")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return {"base_url": address.rstrip("/"), "headers": headers, "timeout": timeout_s}


class _Exchange(Generic[T]):
    """One call, sent until it is answered or given up."""

    def __init__(self, call: Call[T], retry: Retry, address: str) -> None:
        self._call, self._retry, self._address = call, retry, address
        self._attempt, self._status, self._content = 0, 0, b""
        self._failure: httpx2.TransportError | None = None
        self.parts: dict[str, Any] = {
            "content": call.content,
            "headers": dict(call.headers),
            "params": dict(call.params) or None,
        }

    def take(self, status: int, headers: Mapping[str, str], content: bytes) -> float | None:
        """Take in an answer; return the seconds to wait before the call is sent again, None to end."""
        self._attempt, self._status, self._content, self._failure = self._attempt + 1, status, content, None
        return None if status < 400 else self._retry.wait_s(self._attempt, status, headers)

    def take_failure(self, failure: httpx2.TransportError) -> float | None:
        """Take in that there was no answer; return the seconds to wait, None to end."""
        self._attempt, self._failure = self._attempt + 1, failure
        return self._retry.wait_s(self._attempt, 0, {})

    def result(self) -> T:
        """Return what the last answer tells; raise `ServiceError` if it refuses, or if there was none."""
        if self._failure is not None:
            told = str(self._failure) or type(self._failure).__name__
            cure = "is the service running at this address?"
            raise ServiceError(f"{self._address} cannot be reached ({told})", cure=cure) from self._failure
        return self._call.result(self._status, self._content)
