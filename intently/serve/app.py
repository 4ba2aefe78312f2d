"""The ASGI application: routes, and the gate that every request passes."""

import asyncio
import contextlib
import logging
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from math import ceil
from time import perf_counter

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intently.errors import IntentlyError
from intently.serve.api import ENDPOINTS, Endpoint
from intently.serve.bodies import check_parameters
from intently.serve.inspector.history import History
from intently.serve.inspector.routes import Inspector, routes
from intently.serve.keys import Role
from intently.serve.openapi import description, page
from intently.serve.problems import CONTENT_TYPE, Problem
from intently.serve.retrieval import ClientGone, json_answer
from intently.serve.service import Service

logger = logging.getLogger(__name__)
access = logging.getLogger("intently.serve.access")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_TAIL = re.compile(r"\{(\w+)\}")  # what an address ends with, slashes included
_GONE = 499  # what logs and metrics say of a request whose client hung up


def make_app(service: Service) -> ASGIApp:
    """Return the application that serves a service."""

    inspector = Inspector(service, History(service.metrics))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await service.start()
        looking = asyncio.create_task(inspector.run())
        yield
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
        await service.stop()

    about = [Route("/openapi.json", _openapi, methods=["GET"]), Route("/docs", _docs, methods=["GET"])]
    handlers = {Problem: _told_problem, HTTPException: _told_http, Exception: _told_failure}
    app = Starlette(
        routes=[*_routes(), *about, *routes(inspector, _admit)], exception_handlers=handlers, lifespan=lifespan
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return Gate(app, service)


class Gate:
    """Gives every request an id, counts and logs it; ends connections while the service drains."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        metrics, began = self._service.metrics, perf_counter()
        stated = Headers(scope=scope).get("x-request-id", "")
        request_id = stated if _REQUEST_ID.fullmatch(stated) else secrets.token_hex(8)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        status = 500

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                if (principal := state.get("principal")) is not None:
                    headers.update(principal.headers())
                if self._service.draining:
                    headers["Connection"] = "close"
            await send(message)

        metrics.in_flight.inc()
        try:
            await self._app(scope, receive, tell)
        except ClientGone:
            status = _GONE
        finally:
            metrics.in_flight.dec()
            spent = perf_counter() - began
            route = state.get("route", "unknown")
            metrics.requests.labels(route, str(status)).observe(spent)
            told = {
                "request_id": request_id, "method": scope["method"], "route": route, "status": status,
                "spent_ms": round(spent * 1000, 1), "principal": getattr(state.get("principal"), "name", ""),
            }  # fmt: skip
            access.info("%s %s %d", told["method"], route, status, extra=told)


def _routes() -> list[Route]:
    """Return one route an address, so that a wrong method is told all the right ones."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return [
        Route(_TAIL.sub(r"{\1:path}", path), partial(_dispatched, methods), methods=list(methods))
        for path, methods in by_path.items()
    ]


async def _dispatched(methods: dict[str, Endpoint], request: Request) -> Response:
    return await _admitted(methods["GET" if request.method == "HEAD" else request.method], request)


async def _admitted(endpoint: Endpoint, request: Request) -> Response:
    """Check key, role and quota, then answer."""
    state, service = request.state, request.app.state.service
    state.route = f"{endpoint.method} {endpoint.path}"
    if endpoint.role is not None:
        _admit(endpoint.role, service, request, request.headers.get("authorization"))
    check_parameters(request, [each.name for each in endpoint.parameters if each.place == "query"])
    try:
        return await endpoint.handler(request)
    except ClientGone:
        raise
    except IntentlyError as error:
        logger.exception("refused by the engine where the service expected no refusal")
        raise Problem(500, "internal", str(error)) from error


def _admit(role: Role, service: Service, request: Request, authorization: str | None) -> None:
    """Note who asks; raise `Problem` unless the key may do what `role` may, and has some of its quota left."""
    principal = request.state.principal = service.keys.principal(authorization)
    principal.require(role)
    if principal.bucket is not None and principal.bucket.left_ms <= 0 and role is Role.READ:
        service.metrics.shed.labels("quota_dry_run" if principal.key.dry_run else "quota").inc()
        if not principal.key.dry_run:
            raise Problem(
                429, "over_quota", f"the key {principal.name!r} has used up its quota", cure="try again later",
                headers={"Retry-After": str(max(1, ceil(principal.bucket.wait_s)))},
            )  # fmt: skip


def _told_problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    body = problem.body(request.state.request_id)
    return Response(body, problem.status, problem.headers, CONTENT_TYPE)


def _told_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        problem = Problem(405, "wrong_method", f"{request.method} is not for this address", cure="see /openapi.json")
    else:
        problem = Problem(404, "unknown_path", "nothing is at this address", cure="see /openapi.json")
    problem.headers |= dict(error.headers or {})
    problem.status = error.status_code
    return _told_problem(request, problem)


def _told_failure(request: Request, error: Exception) -> Response:
    """Tell of a failure without its text, which may hold anything; the log has it, with the request's id."""
    told = Problem(
        500, "internal", "the service failed; its log tells more", cure="give the request_id to its operator"
    )
    return _told_problem(request, told)


async def _openapi(request: Request) -> Response:
    request.state.route = "GET /openapi.json"
    return json_answer(description())


async def _docs(request: Request) -> Response:
    request.state.route = "GET /docs"
    policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(page(), headers=policy)
