"""The addresses that show and change ads."""

import base64
import binascii
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from intently.catalog.serving_words import STATUSES
from intently.live.log import Receipt
from intently.serve.bodies import body_parts, require_type
from intently.serve.bulk import Bulk
from intently.serve.conflicts import conflicts_of
from intently.serve.idempotency import Answer, fingerprint_of
from intently.serve.keys import Principal
from intently.serve.problems import Problem, decoded
from intently.serve.retrieval import JSON, json_answer, json_body
from intently.serve.service import Service
from intently.serve.wire import MAX_PAGE, AdAtPath, AdFields, AdPage, Changed, ad_of, kinds_of, patch_of
from intently.serve.writers import Applied, Keep, etag_of, kind_of
from intently.snapshot.listing import ads_after
from intently.types import Change, Delete, Patch, Put

audit = logging.getLogger("intently.serve.audit")
NDJSON = "application/x-ndjson"
_AD = msgspec.json.Decoder(AdAtPath)
_FIELDS = msgspec.json.Decoder(AdFields)
_PREFIX = b"/v1/ads/"


async def get_ad(request: Request) -> Response:
    """Show one ad as it is now."""
    service: Service = request.app.state.service
    principal: Principal = request.state.principal
    ad_id = _ad_id(request)
    ad = await service.run(partial(service.engine.ad, ad_id))
    if ad is None or principal.key.advertiser not in ("", ad.advertiser):
        raise Problem(404, "unknown_ad", f"there is no ad {ad_id!r}", field="ad_id")
    return json_answer(ad, headers={"ETag": etag_of(ad)})


async def list_ads(request: Request) -> Response:
    """Show ads page by page, in the order of their ids."""
    service: Service = request.app.state.service
    principal: Principal = request.state.principal
    given = request.query_params
    limit = given.get("limit", "100")
    if not (limit.isascii() and limit.isdigit() and len(limit) < 6 and 1 <= int(limit) <= MAX_PAGE):
        cure = f"name a whole number from 1 to {MAX_PAGE:,}"
        raise Problem(400, "invalid_value", f"limit is {limit[:20]!r}", field="limit", cure=cure)
    status, advertiser = given.get("status"), given.get("advertiser")
    if status is not None and status not in STATUSES:
        cure = f"use one of {', '.join(STATUSES)}"
        raise Problem(400, "invalid_value", f"unknown status {status[:20]!r}", field="status", cure=cure)
    if scope := principal.key.advertiser:
        if advertiser not in (None, scope):
            raise Problem(403, "forbidden", f"the key sees ads of {scope!r} only", field="advertiser")
        advertiser = scope
    after = _after(given["cursor"], status, advertiser) if "cursor" in given else ""
    engine = service.engine
    snapshot = engine.snapshot
    ads = await service.run(partial(ads_after, snapshot, after, limit=int(limit), status=status, advertiser=advertiser))
    following = _cursor(ads[-1].ad_id, status, advertiser) if len(ads) == int(limit) else None
    return json_answer(AdPage(ads, following, engine.generation, snapshot.seq))


async def put_ad(request: Request) -> Response:
    """Add an ad, or put it in the place of the one with its id."""
    ad_id, body = _ad_id(request), await json_body(request, request.app.state.service)
    told = decoded(_AD, body, kinds_of(AdAtPath))
    if told.ad_id is not msgspec.UNSET and told.ad_id != ad_id:
        cure = "leave it out, or give both the same id"
        raise Problem(400, "invalid_value", f"the address names the ad {ad_id!r}", field="ad_id", cure=cure)
    return await _changed(request, body, Put(ad_of(told, ad_id)))


async def patch_ad(request: Request) -> Response:
    """Change some fields of an ad."""
    ad_id, body = _ad_id(request), await json_body(request, request.app.state.service)
    fields = patch_of(decoded(_FIELDS, body, kinds_of(AdFields)))
    if not fields:
        raise Problem(400, "invalid_value", "no field to change", cure='send fields, such as {"bid": 0.5}')
    return await _changed(request, body, Patch(ad_id, fields))


async def delete_ad(request: Request) -> Response:
    """Remove an ad. An ad that is not there is no error."""
    return await _changed(request, b"", Delete(_ad_id(request)))


async def bulk(request: Request) -> Response:
    """Apply a stream of changes, line by line."""
    service: Service = request.app.state.service
    principal: Principal = request.state.principal
    require_type(request, NDJSON, "application/ndjson", "application/jsonl", "application/json-lines", "text/plain")
    on_error = request.query_params.get("on_error", "continue")
    if on_error not in ("continue", "stop"):
        cure = "use continue or stop"
        raise Problem(400, "invalid_value", f"on_error is {on_error[:20]!r}", field="on_error", cure=cure)
    if "idempotency-key" in request.headers:
        raise Problem(
            400, "invalid_value", "a bulk takes no key", field="Idempotency-Key",
            cure="leave it out: a bulk that is sent again ends in the same state",
        )  # fmt: skip
    if service.bulks >= service.settings.max_bulks:
        service.metrics.shed.labels("bulks").inc()
        raise Problem(
            503, "overloaded", f"{service.bulks} bulks are under way", cure="send it when one has ended",
            headers={"Retry-After": "1", "Connection": "close"},
        )  # fmt: skip
    settings = service.settings
    under_way = Bulk(
        service.writers, principal.key.advertiser, on_error == "stop", settings.bulk_chunk, settings.max_bulk_lines
    )
    service.bulks += 1
    try:
        await under_way.read(body_parts(request.receive, settings.body_timeout_s))
    except BaseException:
        under_way.close()
        raise
    finally:
        service.bulks -= 1
        audited(request, "bulk", f"{under_way.num_lines} lines", under_way.seq)
    headers = {"Intently-Failed": str(under_way.num_failed)}
    results = iterate_in_threadpool(under_way.results())
    return StreamingResponse(_until_closed(results, under_way), under_way.status, headers, NDJSON)


async def _until_closed(results: AsyncIterator[bytes], under_way: Bulk) -> AsyncIterator[bytes]:
    try:
        async for content in results:
            yield content
    finally:
        under_way.close()


async def _changed(request: Request, body: bytes, change: Change) -> Response:
    """Apply one change of an ad, or answer as the equal request before was answered."""
    service: Service = request.app.state.service
    principal: Principal = request.state.principal
    ad_id, if_match = _ad_id(request), request.headers.get("if-match")

    async def apply(receipt: Keep | None) -> Applied:
        advertiser = principal.key.advertiser
        applied = await service.writers.apply(change, if_match=if_match, advertiser=advertiser, receipt=receipt)
        audited(request, kind_of(change), ad_id, applied.seq)
        return applied

    useless = await service.run(partial(conflicts_of, change, service.engine))

    def told(applied: Applied) -> Answer:
        status = 201 if isinstance(change, Put) and not applied.existed else 200
        return Answer(status, msgspec.json.encode(Changed(ad_id, applied.seq, applied.existed, useless)))

    return await answered_once(request, body, apply, told)


async def answered_once(
    request: Request,
    body: bytes,
    apply: Callable[[Keep | None], Awaitable[Applied]],
    told: Callable[[Applied], Answer],
) -> Response:
    """Apply a change and tell what became of it; one with an `Idempotency-Key` once, whatever dies meanwhile.

    The log keeps the answer together with the change. So whoever sends the request again gets it, also from a process
    that started since.
    """
    service: Service = request.app.state.service
    key, sender = request.headers.get("idempotency-key"), request.state.principal.name
    if key is None:
        answer = told(await apply(None))
        return Response(answer.body, answer.status, media_type=JSON)
    sent = (request.method, request.scope["path"], request.headers.get("if-match", ""))
    fingerprint = fingerprint_of(*(each.encode() for each in sent), body)

    def keep(applied: Applied) -> Receipt:
        made = told(applied)
        return Receipt(sender, key, fingerprint, service.replays.until_ms(), made.status, made.body)

    kept = service.replays.begin(sender, key, fingerprint)
    if kept is None:
        try:
            kept = service.replays.of_receipt(await service.run(partial(service.receipt, sender, key)), fingerprint)
            answer = kept or told(await apply(keep))
        except BaseException:
            service.replays.give_up(sender, key)
            raise
        service.replays.end(sender, key, answer)
        if kept is None:
            return Response(answer.body, answer.status, media_type=JSON)
    return Response(kept.body, kept.status, {"Idempotency-Replayed": "true"}, JSON)


def audited(request: Request, kind: str, what: str, seq: int) -> None:
    """Log a change, with who made it."""
    told = {"request_id": request.state.request_id, "principal": request.state.principal.name, "kind": kind, "seq": seq}
    audit.info("%s %s by %s: seq %d", kind, what, told["principal"], seq, extra=told)


def _ad_id(request: Request) -> str:
    """Return the id in an address: everything after `/v1/ads/`, slashes included."""
    return address_tail(request, _PREFIX, "ad_id")


def address_tail(request: Request, prefix: bytes, field: str) -> str:
    """Return what an address names after a prefix; raise `Problem` naming `field` if it is not UTF-8."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    try:
        return unquote_to_bytes(raw.partition(b"?")[0][len(prefix) :]).decode()
    except UnicodeDecodeError:
        cure = f"write the {field.removeprefix('ad_')} in UTF-8, percent-encoded"
        raise Problem(400, "invalid_utf8", "the address is not UTF-8", field=field, cure=cure) from None


def _cursor(after: str, status: str | None, advertiser: str | None) -> str:
    return base64.urlsafe_b64encode(json.dumps([after, status, advertiser]).encode()).decode().rstrip("=")


def _after(cursor: str, status: str | None, advertiser: str | None) -> str:
    """Return the id that a page begins after."""
    wrong = Problem(
        400, "invalid_cursor", "not a cursor of this listing", field="cursor",
        cure="send `next` of the page before, with the same status and advertiser",
    )  # fmt: skip
    try:
        told = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise wrong from None
    if not (
        isinstance(told, list) and len(told) == 3 and isinstance(told[0], str) and told[1:] == [status, advertiser]
    ):
        raise wrong
    try:
        told[0].encode()
    except UnicodeEncodeError:
        raise wrong from None
    return told[0]
