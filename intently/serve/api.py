"""All addresses of the service: the routes and the OpenAPI description are made from this one table."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from intently.catalog.serving_words import STATUSES
from intently.live.changes import MAX_LIST_NAME
from intently.serve import ads, lists, operation, retrieval
from intently.serve.keys import Role
from intently.serve.wire import (
    MAX_PAGE,
    AdAtPath,
    AdFields,
    AdPage,
    Alive,
    BulkEnd,
    BulkLine,
    Changed,
    ExplainBody,
    Explained,
    GenerationBody,
    Generations,
    Limits,
    LineResult,
    ListBody,
    ListChanged,
    ListedLists,
    ListTold,
    QueryBody,
    Ready,
)
from intently.types import Ad, Ranking

Handler = Callable[[Request], Awaitable[Response]]
JSON, NDJSON, TEXT = "application/json", "application/x-ndjson", "text/plain"


@dataclass(frozen=True)
class Parameter:
    """A parameter of an address or a header."""

    name: str
    told: str
    schema: Mapping[str, Any]
    place: str = "query"


@dataclass(frozen=True)
class Endpoint:
    """One method of one address. `answers` are the types of good answers, a tuple for those of lines."""

    method: str
    path: str
    handler: Handler
    role: Role | None  # None: needs no key
    answers: Mapping[int, Any]
    problems: tuple[int, ...] = (400,)
    body: Any = None
    body_type: str = JSON
    answer_type: str = JSON
    parameters: tuple[Parameter, ...] = ()
    example: Any = field(default=None)  # of the body

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        return (self.handler.__doc__ or "").split("\n")[0]


_TEXT = {"type": "string"}
_ID = Parameter("ad_id", "The ad's id, percent-encoded.", _TEXT | {"minLength": 1}, "path")
_NAME = Parameter(
    "name", "The list's name, percent-encoded.", _TEXT | {"minLength": 1, "maxLength": MAX_LIST_NAME}, "path"
)
_KEY = Parameter("Idempotency-Key", "Sent again with this key, a request is not applied again.", _TEXT, "header")
_MATCH = Parameter("If-Match", "Change it only if its ETag is this one.", _TEXT, "header")
_READS, _WRITES = (400, 408, 409, 413, 415, 503), (400, 404, 408, 409, 412, 413, 415, 422, 503, 507)

ENDPOINTS = (
    Endpoint(
        "POST", "/v1/retrieve", retrieval.retrieve, Role.READ, {200: Ranking | list[Ranking]}, _READS,
        body=QueryBody | list[QueryBody],
        example={"query": "red robot vacuum", "k": 3, "user": {"country": "DE", "language": "de"}, "explain": True},
    ),
    Endpoint(
        "POST", "/v1/explain", retrieval.explain, Role.READ, {200: Explained}, _READS, body=ExplainBody,
        example={"query": "扫地机器人", "ad_ids": ["zh-robot", "pan"], "user": {"country": "CN"}},
    ),
    Endpoint(
        "GET", "/v1/ads", ads.list_ads, Role.READ, {200: AdPage},
        parameters=(
            Parameter("limit", "Ads on a page.", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE}),
            Parameter("status", "Only ads with this status.", {"enum": list(STATUSES)}),
            Parameter("advertiser", "Only ads of this advertiser.", _TEXT),
            Parameter("cursor", "`next` of the page before.", _TEXT),
        ),
    ),
    Endpoint("GET", "/v1/ads/{ad_id}", ads.get_ad, Role.READ, {200: Ad}, (400, 404), parameters=(_ID,)),
    Endpoint(
        "PUT", "/v1/ads/{ad_id}", ads.put_ad, Role.WRITE, {200: Changed, 201: Changed}, _WRITES, body=AdAtPath,
        parameters=(_ID, _KEY, _MATCH), example={"title": "红色扫地机器人", "bid": 0.4, "countries": ["CN"]},
    ),
    Endpoint(
        "PATCH", "/v1/ads/{ad_id}", ads.patch_ad, Role.WRITE, {200: Changed}, _WRITES, body=AdFields,
        parameters=(_ID, _KEY, _MATCH), example={"bid": 0.5, "status": "paused"},
    ),
    Endpoint(
        "DELETE", "/v1/ads/{ad_id}", ads.delete_ad, Role.WRITE, {200: Changed}, (400, 404, 409, 412, 422, 503, 507),
        parameters=(_ID, _KEY, _MATCH),
    ),
    Endpoint(
        "POST", "/v1/ads:bulk", ads.bulk, Role.WRITE, {200: (LineResult, BulkEnd), 207: (LineResult, BulkEnd)},
        (400, 408, 415, 503), body=BulkLine, body_type=NDJSON, answer_type=NDJSON,
        parameters=(Parameter("on_error", "What to do after a wrong line.", {"enum": ["continue", "stop"]}),),
        example={"op": "put", "ad": {"ad_id": "pan", "title": "Red pan"}},
    ),
    Endpoint("GET", "/v1/lists", lists.show_lists, Role.READ, {200: ListedLists}),
    Endpoint("GET", "/v1/lists/{name}", lists.get_list, Role.READ, {200: ListTold}, (400, 404), parameters=(_NAME,)),
    Endpoint(
        "PUT", "/v1/lists/{name}", lists.put_list, Role.WRITE, {200: ListChanged, 201: ListChanged},
        (400, 404, 408, 409, 412, 413, 415, 422, 503, 507), body=ListBody, parameters=(_NAME, _KEY, _MATCH),
        example={"values": ["free", '"for rent"', "[二手]"]},
    ),
    Endpoint(
        "DELETE", "/v1/lists/{name}", lists.delete_list, Role.WRITE, {200: ListChanged},
        (400, 404, 409, 412, 422, 503, 507), parameters=(_NAME, _KEY, _MATCH),
    ),
    Endpoint("GET", "/v1/generations", operation.generations, Role.READ, {200: Generations}),
    Endpoint(
        "POST", "/v1/generations", operation.go_to_generation, Role.ADMIN, {200: Generations},
        (400, 408, 409, 413, 415), body=GenerationBody, example={"generation": None},
    ),
    Endpoint("GET", "/v1/limits", operation.limits, Role.READ, {200: Limits}),
    Endpoint("GET", "/metrics", operation.show_metrics, Role.READ, {200: str}, answer_type=TEXT),
    Endpoint("GET", "/livez", operation.livez, None, {200: Alive}),
    Endpoint("GET", "/readyz", operation.readyz, None, {200: Ready, 503: Ready}),
)  # fmt: skip
