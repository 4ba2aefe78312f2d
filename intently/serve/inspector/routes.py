"""The inspector's addresses: the query page, the page of an ad, live figures, and the files they refer to."""

import asyncio
import base64
import binascii
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from intently.errors import ArtifactError, InputError, IntentlyError
from intently.serve.bodies import check_parameters
from intently.serve.inspector import drawings
from intently.serve.inspector.form import Form
from intently.serve.inspector.history import EVERY_S, History, Interval
from intently.serve.inspector.pages import page, static
from intently.serve.keys import Principal, Role
from intently.serve.problems import TITLES, Problem
from intently.serve.retrieval import refuse_scoped
from intently.serve.service import Service
from intently.types import MAX_QUERY_LENGTH, Channel

if TYPE_CHECKING:  # the engine loads everything that runs models
    from intently.engine.engine import Engine
    from intently.engine.inspection import Inspection

logger = logging.getLogger(__name__)

Handler = Callable[["Inspector", Request], Awaitable[Response]]
T = TypeVar("T")
_PREFIX = b"/ads/"
_MAX_WAITING = 8  # inspections at once, the running one included
_KEPT_S = 300.0  # that another generation stays in memory after it was last asked for
_EVERY = ("2", "5", "15", "60")  # seconds between refreshes of the live page, if asked for


@dataclass
class Inspector:
    """What the pages share: the service, its last minutes, and another generation beside the one that answers.

    Inspections run on one thread of their own, so that they hold up each other and nothing else.
    """

    service: Service
    history: History
    clock: Callable[[], float] = monotonic
    _other: "Engine | None" = None
    _other_used: float = 0.0
    _num_waiting: int = 0

    def __post_init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inspect")

    async def run(self) -> None:
        """Keep the last minutes, and forget another generation that nobody asks for, until cancelled."""
        try:
            while True:
                self.history.take()
                self.forget_unused()
                await asyncio.sleep(EVERY_S)
        finally:
            self._thread.shutdown(wait=True, cancel_futures=True)

    async def look(self, work: Callable[[], T]) -> T:
        """Return the result of work on the thread of inspections; raise `Problem` 503 if many wait for it."""
        if self._num_waiting >= _MAX_WAITING:
            self.service.metrics.shed.labels("inspections").inc()
            raise Problem(
                503, "overloaded", f"{self._num_waiting} inspections wait", cure="try again later",
                headers={"Retry-After": "5"},
            )  # fmt: skip
        self._num_waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._num_waiting -= 1

    def engine_of(self, generation: str) -> "Engine":
        """Return the engine of a generation: the one that answers, or another, as it was built. For `look` alone.

        One other generation stays in memory, until a third is asked for, or none for `_KEPT_S` seconds. Raises
        `InputError` for one that cannot be loaded. Cost: a load.
        """
        engine = self.service.engine
        if generation in ("", engine.generation):
            return engine
        self._other_used = self.clock()
        if self._other is None or self._other.generation != generation:
            from intently.engine.engine import Engine

            self._other = None  # before the next one is loaded: two of them at most
            try:
                self._other = Engine.load(self.service.directory, generation=generation)
            except (ArtifactError, InputError) as error:
                raise InputError(str(error), field="vs_generation") from None
        return self._other

    def forget_unused(self) -> None:
        """Let go of the other generation if nobody has asked for it for long."""
        if self._other is not None and self.clock() - self._other_used > _KEPT_S:
            self._other = None


@dataclass(frozen=True)
class Side:
    """One of the two answers of a query page: what was asked and what was found, or why nothing."""

    name: str
    told: str
    inspection: "Inspection | None" = None
    problem: str = ""
    spent_ms: float = 0.0

    @property
    def bump(self) -> drawings.Bump | None:
        """The chart of the fusion."""
        if self.inspection is None or self.inspection.request.channel is not Channel.FUSED:
            return None
        return drawings.bump(self.inspection.ranking, list(self.inspection.found), self.inspection.depth)

    @property
    def stages(self) -> tuple[drawings.Stage, ...]:
        """The time of each stage."""
        return () if self.inspection is None else drawings.waterfall(self.inspection.ranking.timings_ms)


async def query_page(inspector: Inspector, request: Request) -> Response:
    """Show the form and, beside each other, what became of one query or two."""
    from intently.engine.inspection import NUM_FOUND, NUM_LOOKED_AT

    service = inspector.service
    form = Form.of(request.query_params)
    generations = [each.id for each in await service.generations()]
    sides: list[Side] = []
    problem: InputError | None = None
    if form.q:
        try:
            query = form.request()
            sides.append(await _side(inspector, request, "a", form, query, partial(inspector.engine_of, "")))
            if form.compares:
                sides.append(await _other_side(inspector, request, form))
        except InputError as error:
            problem = error
    return page(
        "query.html",
        400 if problem else 200,
        form=form,
        problem=problem,
        sides=sides,
        channels=[*service.engine.channels, Channel.KEYWORD, Channel.FUSED],
        generations=generations,
        served=service.engine.generation,
        max_query=MAX_QUERY_LENGTH,
        num_found=NUM_FOUND,
        num_looked_at=NUM_LOOKED_AT,
        link=ad_link,
        nav="query",
    )


async def _other_side(inspector: Inspector, request: Request, form: Form) -> Side:
    query = form.other_request(form.request())

    def engine() -> "Engine":
        other = inspector.engine_of(form.vs_generation)
        settings, learned = form.other_settings(other.settings), form.vs_fusion != "reciprocal"
        try:
            return other.varied(settings, learned=learned, decoded=form.vs_reading == "decoded")
        except InputError as error:
            raise InputError(error.problem, cure=error.cure, field="vs_reading") from None

    try:
        return await _side(inspector, request, "b", form, query, engine)
    except InputError as error:
        if not error.field.startswith("vs_"):  # columns that the other generation's ads do not have
            return Side("b", _told(form, True), problem=str(error))
        raise


async def _side(
    inspector: Inspector, request: Request, name: str, form: Form, query: object, engine: Callable[[], "Engine"]
) -> Side:
    began = perf_counter()
    found = await inspector.look(lambda: engine().inspect(query))  # type: ignore[arg-type]
    spent_ms = (perf_counter() - began) * 1000
    _charge(request, spent_ms)
    return Side(name, _told(form, name == "b"), found, spent_ms=spent_ms)


def _told(form: Form, is_other: bool) -> str:
    """Return what distinguishes one answer from the other, in words."""
    channel = form.vs_channel if is_other and form.vs_channel else form.channel
    parts = ["All channels, fused" if channel in ("", Channel.FUSED) else f"Channel {channel}"]
    if is_other:
        if form.vs_generation:
            parts.append(f"generation {form.vs_generation} as it was built")
        if form.vs_beams:
            parts.append(f"{form.vs_beams} beams")
        if form.vs_fusion:
            parts.append("fused by reciprocal ranks")
        if form.vs_reading:
            parts.append("decoded by the student")
    return ", ".join(parts)


async def ad_page(inspector: Inspector, request: Request) -> Response:
    """Show an ad as the engine knows it and, for a query, why it is shown or why not."""
    from intently.engine.inspection import HEAD_DEPTH

    service, form, ad_id = inspector.service, Form.of(request.query_params), _ad_id(request)
    engine = service.engine
    began = perf_counter()
    known = await inspector.look(partial(engine.inspect_ad, ad_id))
    if known is None:
        raise Problem(404, "unknown_ad", f"there is no ad {ad_id!r}", field="ad_id")
    asked, problem = None, None
    if form.q:
        try:
            asked = await inspector.look(partial(engine.inspect, form.request(), [ad_id]))
        except InputError as error:
            problem = error
    _charge(request, (perf_counter() - began) * 1000)
    return page(
        "ad.html",
        400 if problem else 200,
        known=known,
        asked=asked,
        form=form,
        problem=problem,
        channels=[*engine.channels, Channel.KEYWORD, Channel.FUSED],
        depth=HEAD_DEPTH,
        max_query=MAX_QUERY_LENGTH,
        link=ad_link,
        nav="query",
    )


async def live_page(inspector: Inspector, request: Request) -> Response:
    """Show what the service does now and did in the last minutes."""
    service, history = inspector.service, inspector.history
    every = request.query_params.get("every", "")
    if every not in ("", *_EVERY):
        cure = f"use one of {', '.join(_EVERY)}"
        raise Problem(400, "invalid_value", f"every is {every[:20]!r}", field="every", cure=cure)
    now = history.take()
    intervals = history.intervals()[:-1] or history.intervals()
    return page(
        "live.html",
        every=every,
        choices=_EVERY,
        now=now,
        service=service,
        engine=service.engine,
        num_ads=int(service.engine.snapshot.alive.sum()),
        charts=[_chart(*each, intervals) for each in _CHARTS],
        minutes=max(1, round(len(intervals) * EVERY_S / 60)),
        nav="live",
    )


_CHARTS: tuple[tuple[str, str, Callable[[Interval], float | None]], ...] = (
    ("Queries", "a second", lambda each: each.queries_per_s),
    ("Half of the answers came within", "ms", lambda each: each.p50_ms),
    ("95% of the answers came within", "ms", lambda each: each.p95_ms),
    ("Answered from the query cache", "%", lambda each: None if each.cache_share is None else 100 * each.cache_share),
    ("Stages left out for a deadline", "% of queries",
     lambda each: None if each.degraded_share is None else 100 * each.degraded_share),
    ("Refused before any work", "a second", lambda each: each.refused_per_s),
    ("Changes of ads", "a second", lambda each: each.changes_per_s),
    ("Queries that wait", "", lambda each: each.queued),
)  # fmt: skip


@dataclass(frozen=True)
class Chart:
    """A small chart, and its figures in words."""

    name: str
    unit: str
    lines: tuple[str, ...]
    last: float | None
    least: float | None
    most: float | None


def _chart(name: str, unit: str, value: Callable[[Interval], float | None], intervals: tuple[Interval, ...]) -> Chart:
    values = [value(each) for each in intervals]
    known = [each for each in values if each is not None]
    return Chart(
        name, unit, drawings.spark(values), values[-1] if values else None, min(known, default=None),
        max(known, default=None),
    )  # fmt: skip


def ad_link(ad_id: str) -> str:
    """Return the address of an ad's page. Browsers would resolve `.` and `..` in a path."""
    return f"/ads/{quote(ad_id, safe='')}" if ad_id not in (".", "..") else f"/ads?ad_id={ad_id}"


def _ad_id(request: Request) -> str:
    """Return the id in an address: the parameter `ad_id`, or everything after `/ads/`, slashes included."""
    if "ad_id" in request.query_params:
        return request.query_params["ad_id"]
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    try:
        return unquote_to_bytes(raw.partition(b"?")[0][len(_PREFIX) :]).decode()
    except UnicodeDecodeError:
        cure = "write the id in UTF-8, percent-encoded"
        raise Problem(400, "invalid_utf8", "the address is not UTF-8", field="ad_id", cure=cure) from None


def _charge(request: Request, spent_ms: float) -> None:
    """Take the time of an inspection from the quota of the key, if it has one."""
    principal: Principal = request.state.principal
    if principal.bucket is not None:
        principal.bucket.use(spent_ms)


def _authorization(request: Request) -> str | None:
    """Return a key as programs send it. Browsers ask for a name and a password; the password is the key's secret."""
    stated = request.headers.get("authorization", "")
    scheme, _, told = stated.partition(" ")
    if scheme.lower() != "basic":
        return stated or None
    try:
        _, _, secret = base64.b64decode(told, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return f"Bearer {secret}"


_FORM = tuple(each.name for each in fields(Form))
_PAGES: tuple[tuple[str, str, Handler, tuple[str, ...]], ...] = (
    ("/", "GET /", query_page, _FORM),
    ("/ads", "GET /ads", ad_page, ("ad_id", *_FORM)),
    ("/ads/{ad_id:path}", "GET /ads/{ad_id}", ad_page, _FORM),
    ("/live", "GET /live", live_page, ("every",)),
)


def routes(inspector: Inspector, admit: Callable[[Role, Service, Request, str | None], None]) -> list[Route]:
    """Return the inspector's routes. `admit` checks the key that a header tells, and its quota."""

    async def answered(handler: Handler, name: str, known: tuple[str, ...], request: Request) -> Response:
        request.state.route = name
        try:
            admit(Role.READ, inspector.service, request, _authorization(request))
            refuse_scoped(request.state.principal)
            check_parameters(request, known)
            return await handler(inspector, request)
        except Problem as problem:
            headers = dict(problem.headers)
            if problem.status == 401:
                headers["WWW-Authenticate"] = 'Basic realm="Intently: any name, and a key as password", charset="UTF-8"'
            return page("problem.html", problem.status, headers=headers, problem=problem, titles=TITLES, nav="")
        except IntentlyError:
            logger.exception("a page of the inspector could not be made")
            told = Problem(500, "internal", "its log tells more", cure="give the request_id to its operator")
            return page("problem.html", 500, problem=told, titles=TITLES, nav="")

    async def asset(name: str, request: Request) -> Response:
        request.state.route = f"GET /{name}"
        return static(name)

    return [
        *(
            Route(path, partial(answered, handler, name, known), methods=["GET"])
            for path, name, handler, known in _PAGES
        ),
        *(Route(f"/{name}", partial(asset, name), methods=["GET"]) for name in ("inspector.css", "icon.svg")),
    ]
