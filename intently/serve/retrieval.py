"""The addresses that answer queries."""

import asyncio
import contextlib
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from intently.errors import InputError
from intently.filters import Expression, as_expression, column
from intently.serve.bodies import read_body, require_type
from intently.serve.keys import Principal
from intently.serve.problems import Problem, decoded, of_input_error
from intently.serve.readers import Rankings
from intently.serve.service import Service
from intently.serve.wire import MAX_QUERIES, ExplainBody, Explained, QueryBody, kinds_of
from intently.types import Request as Query

_QUERIES = msgspec.json.Decoder(QueryBody | list[QueryBody])
_EXPLAIN = msgspec.json.Decoder(ExplainBody)
JSON = "application/json"


async def json_body(request: Request, service: Service) -> bytes:
    """Return a body that should be JSON."""
    require_type(request, JSON)
    return await read_body(request, service.settings.max_body_bytes, service.settings.body_timeout_s)


def json_answer(told: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return an answer in JSON."""
    return Response(msgspec.json.encode(told), status, headers, JSON)


async def retrieve(request: Request) -> Response:
    """Answer a query, or a list of queries from one snapshot."""
    service: Service = request.app.state.service
    principal: Principal = request.state.principal
    told = decoded(_QUERIES, await json_body(request, service), kinds_of(QueryBody))
    bodies: list[QueryBody] = told if isinstance(told, list) else [told]
    if not 1 <= len(bodies) <= MAX_QUERIES:
        raise Problem(
            400, "invalid_value", f"{len(bodies):,} queries in one list", cure=f"send 1 to {MAX_QUERIES} at once"
        )
    queries = [_query(body, f"[{at}]." if isinstance(told, list) else "") for at, body in enumerate(bodies)]
    if principal.key.advertiser:
        queries = [_scoped(query, principal.key.advertiser) for query in queries]
    deadline_ms = _deadline_ms(service, bodies, isinstance(told, list))
    deadline_ms = await service.until_seq(max(body.min_seq for body in bodies), deadline_ms)
    try:
        rankings = await _answered(request, service, queries, deadline_ms)
    except InputError as error:  # columns that the ads do not have: known only when a snapshot is looked at
        raise of_input_error(error) from None
    if principal.bucket is not None:
        principal.bucket.use(sum(sum(ranking.timings_ms.values()) for ranking in rankings))
    service.answers.add(rankings, request.state.request_id)
    return json_answer(rankings if isinstance(told, list) else rankings[0])


async def explain(request: Request) -> Response:
    """Say why ads are in the answer to a query, or why not."""
    service: Service = request.app.state.service
    principal: Principal = request.state.principal
    refuse_scoped(principal)
    body: ExplainBody = decoded(_EXPLAIN, await json_body(request, service), kinds_of(ExplainBody))
    query = _query(body, "")
    await service.until_seq(body.min_seq, _deadline_ms(service, [body], True))
    engine = service.engine
    seq = engine.snapshot.seq
    try:
        verdicts = await service.run(partial(engine.explain, query, body.ad_ids))
    except InputError as error:
        raise of_input_error(error) from None
    return json_answer(Explained(list(verdicts), engine.generation, seq))


def _scoped(query: Query, advertiser: str) -> Query:
    """Return a query that finds ads of one advertiser only."""
    own: Expression = column("advertiser") == advertiser
    return replace(query, filters=own if query.filters is None else own & as_expression(query.filters))


def refuse_scoped(principal: Principal) -> None:
    """Raise `Problem` for a key that may see one advertiser's ads only: verdicts tell of everybody's."""
    if principal.key.advertiser:
        raise Problem(
            403, "forbidden", f"the key sees ads of {principal.key.advertiser!r} only", cure="use a key for all ads"
        )


def _query(body: QueryBody, place: str) -> Query:
    try:
        return body.request()
    except InputError as error:
        problem = of_input_error(error)
        problem.field = place + (f"user.{problem.field}" if problem.field in _USER_FIELDS else problem.field)
        raise problem from None


_USER_FIELDS = ("country", "language", "device", "time", "time_zone", "audiences", "attributes")


def _deadline_ms(service: Service, bodies: list[QueryBody], is_list: bool) -> float:
    """Return the deadline of a query; of a list, the longest that one of its queries names."""
    settings = service.settings
    named = [body.deadline_ms for body in bodies if body.deadline_ms is not None]
    if not named:
        return settings.max_deadline_ms if is_list else min(settings.deadline_ms, settings.max_deadline_ms)
    if max(named) > settings.max_deadline_ms:
        raise Problem(
            400, "invalid_value", f"deadline_ms is {max(named):g}", field="deadline_ms",
            cure=f"name at most {settings.max_deadline_ms:g}",
        )  # fmt: skip
    return max(named)


async def _answered(request: Request, service: Service, queries: list[Query], deadline_ms: float) -> Rankings:
    """Return the rankings of queries, or give up when the client has gone."""
    queries = [replace(query, deadline_ms=None) for query in queries]
    answering = asyncio.ensure_future(service.readers.answer(queries, deadline_ms))
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            answering.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await answering
            raise ClientGone
        return answering.result()
    finally:
        gone.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class ClientGone(Exception):
    """Whoever asked has hung up; nobody reads an answer."""
