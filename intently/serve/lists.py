"""The addresses of lists that ads share: negative keywords by name, and what is blocked for everybody."""

from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from intently.serve.ads import address_tail, answered_once, audited
from intently.serve.idempotency import Answer
from intently.serve.keys import Principal
from intently.serve.problems import Problem, decoded
from intently.serve.retrieval import json_answer, json_body
from intently.serve.service import Service
from intently.serve.wire import ListBody, ListChanged, ListedLists, ListSize, ListTold, kinds_of
from intently.serve.writers import Applied, Keep, etag_of
from intently.types import PutList

_LIST = msgspec.json.Decoder(ListBody)
_PREFIX = b"/v1/lists/"


async def show_lists(request: Request) -> Response:
    """Show the names of all lists, and how many values each has."""
    service = _service(request)
    snapshot = service.engine.snapshot
    told = [ListSize(name, len(values)) for name, values in sorted(snapshot.lists.values.items())]
    return json_answer(ListedLists(told, snapshot.seq))


async def get_list(request: Request) -> Response:
    """Show the values of one list."""
    service = _service(request)
    name, snapshot = address_tail(request, _PREFIX, "name"), service.engine.snapshot
    values = snapshot.lists.values.get(name)
    if values is None:
        raise Problem(404, "unknown_list", f"there is no list {name!r}", field="name")
    return json_answer(ListTold(name, list(values), snapshot.seq), headers={"ETag": etag_of(values)})


async def put_list(request: Request) -> Response:
    """Give a list these values, in the place of those that it had."""
    service = _service(request)
    body = await json_body(request, service)
    values = [value for value in decoded(_LIST, body, kinds_of(ListBody)).values if value.strip()]
    if not values:
        cure = "give it values, or delete it"
        raise Problem(400, "invalid_value", "a list without values is none", field="values", cure=cure)
    return await _changed(request, body, values)


async def delete_list(request: Request) -> Response:
    """Remove a list. A list that is not there is no error."""
    _service(request)
    return await _changed(request, b"", ())


async def _changed(request: Request, body: bytes, values: Sequence[str]) -> Response:
    service = _service(request)
    name, if_match = address_tail(request, _PREFIX, "name"), request.headers.get("if-match")

    async def apply(receipt: Keep | None) -> Applied:
        applied = await service.writers.put_list(PutList(name, tuple(values)), if_match=if_match, receipt=receipt)
        audited(request, "list", name, applied.seq)
        return applied

    def told(applied: Applied) -> Answer:
        status = 200 if applied.existed or not values else 201
        return Answer(status, msgspec.json.encode(ListChanged(name, applied.seq, applied.existed)))

    return await answered_once(request, body, apply, told)


def _service(request: Request) -> Service:
    """Return the service; raise `Problem` for a key of one advertiser: lists count for the ads of all."""
    principal: Principal = request.state.principal
    if scope := principal.key.advertiser:
        told = f"the key sees ads of {scope!r} only, and lists count for all ads"
        raise Problem(403, "forbidden", told, cure="use a key for all ads")
    service: Service = request.app.state.service
    return service
