"""The addresses for those who run the service."""

from dataclasses import asdict

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from intently.catalog.columns import MAX_LENGTHS, MAX_LIST_LENGTH
from intently.errors import ArtifactError, InputError
from intently.generation import Listed
from intently.live.changes import MAX_LISTED
from intently.serve import metrics
from intently.serve.ads import audit
from intently.serve.problems import Problem, decoded
from intently.serve.retrieval import json_answer, json_body
from intently.serve.service import Service
from intently.serve.wire import (
    MAX_EXPLAINED,
    MAX_K,
    MAX_PAGE,
    MAX_QUERIES,
    Alive,
    GenerationBody,
    Generations,
    GenerationTold,
    Limits,
    Ready,
    kinds_of,
)
from intently.types import MAX_EXCLUDED, MAX_QUERY_LENGTH

_GENERATION = msgspec.json.Decoder(GenerationBody)


async def livez(request: Request) -> Response:
    """Say that the process answers."""
    return json_answer(Alive("alive"))


async def readyz(request: Request) -> Response:
    """Say whether the service takes requests, and what its answers show."""
    service: Service = request.app.state.service
    engine = service.engine
    told = Ready(
        "draining" if service.draining else "ready",
        engine.generation,
        service.seq,
        service.refresh_problem,
        engine.merge_failure,
        service.cache_problem,
        service.log_version,
        service.log_problem,
    )
    return json_answer(told, 503 if service.draining else 200)


async def show_metrics(request: Request) -> Response:
    """Show all metrics as Prometheus reads them."""
    service: Service = request.app.state.service
    return Response(await service.run(service.metrics.exposition), media_type=metrics.CONTENT_TYPE)


async def limits(request: Request) -> Response:
    """Show what one request may ask for."""
    settings = request.app.state.service.settings
    return json_answer(
        Limits(
            MAX_K,
            MAX_QUERIES,
            MAX_QUERY_LENGTH,
            MAX_EXCLUDED,
            MAX_EXPLAINED,
            MAX_PAGE,
            settings.max_body_bytes,
            settings.max_bulk_lines,
            settings.bulk_chunk,
            settings.deadline_ms,
            settings.max_deadline_ms,
            settings.idempotency_hours,
            MAX_LENGTHS,
            MAX_LIST_LENGTH,
            MAX_LISTED,
        )
    )


async def generations(request: Request) -> Response:
    """List the generations on disk, newest first."""
    return await _listed(request.app.state.service)


async def go_to_generation(request: Request) -> Response:
    """Make a generation current and go over to it: the one named, or the one before the current one."""
    service: Service = request.app.state.service
    body: GenerationBody = decoded(_GENERATION, await json_body(request, service), kinds_of(GenerationBody))
    known = [each.id for each in await service.generations()]
    if body.generation is not None and body.generation not in known:
        cure = f"use one of {', '.join(known)}"
        raise Problem(400, "invalid_value", "there is no such generation", field="generation", cure=cure)
    try:
        chosen = await service.go_to(body.generation)
    except (ArtifactError, InputError) as error:
        raise Problem(409, "unusable_generation", str(error), field="generation") from None
    told = {"request_id": request.state.request_id, "principal": request.state.principal.name, "kind": "generation"}
    audit.info("went over to generation %s, as %s asked", chosen, told["principal"], extra=told | {"seq": service.seq})
    return await _listed(service)


async def _listed(service: Service) -> Response:
    served = service.engine.generation
    return json_answer(Generations([_told(each, served) for each in await service.generations()], served))


def _told(listed: Listed, served: str) -> GenerationTold:
    values = asdict(listed)
    values.pop("is_pinned")
    return GenerationTold(**values, is_served=listed.id == served)
