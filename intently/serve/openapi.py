"""The OpenAPI description of the service, and a page of it for people that needs no network and no script."""

import html
import json
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import msgspec

from intently.serve.api import ENDPOINTS, NDJSON, Endpoint, Parameter
from intently.serve.problems import CONTENT_TYPE, TITLES, ProblemBody

_REFERENCE = "#/components/schemas/{name}"
_STATUSES = {
    200: "Done.", 201: "Added.", 207: "Some lines were refused.", 400: "Something is wrong with the request.",
    401: "No valid key.", 403: "The key may not do this.", 404: "There is no such ad, or list.",
    408: "The body did not arrive.", 409: "Not possible now.", 412: "The ad, or the list, is another one by now.",
    413: "The body is too large.", 415: "The body is of another type.",
    422: "The idempotency key belongs to another request.", 429: "The quota is used up.",
    500: "The service failed.", 503: "The service takes no such request now.",
    507: "The disk of the log is full; deletes and pauses are taken all the same.",
}  # fmt: skip


@lru_cache(maxsize=1)
def description() -> dict[str, Any]:
    """Return the description, made from the types that requests are read with."""
    told = [each for endpoint in ENDPOINTS for each in (endpoint.body, *endpoint.answers.values())]
    kinds = [kind for each in told for kind in _kinds(each)]
    schemas, components = msgspec.json.schema_components([*kinds, ProblemBody], ref_template=_REFERENCE)
    schema_of = dict(zip(map(repr, [*kinds, ProblemBody]), schemas, strict=True))
    paths: dict[str, Any] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Intently", "version": version("intently"), "summary": "Ad retrieval by intention."},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(endpoint: Endpoint, schema_of: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, kind in endpoint.answers.items():
        found = [schema_of[repr(each)] for each in _kinds(kind)]
        content = {} if kind is str else {"schema": found[0] if len(found) == 1 else _lines({"anyOf": found})}
        answers[str(status)] = {"description": _STATUSES[status], "content": {endpoint.answer_type: content}}
    refusals = {*endpoint.problems, 500, *((401, 403, 429) if endpoint.role else ())} - set(endpoint.answers)
    for status in sorted(refusals):
        problem = {"schema": {"$ref": _REFERENCE.format(name=ProblemBody.__name__)}}
        answers[str(status)] = {"description": _STATUSES[status], "content": {CONTENT_TYPE: problem}}
    told: dict[str, Any] = {"operationId": endpoint.handler.__name__, "summary": endpoint.summary, "responses": answers}
    if endpoint.parameters:
        told["parameters"] = [_parameter(each) for each in endpoint.parameters]
    if endpoint.body is not None:
        schema = schema_of[repr(endpoint.body)]
        if endpoint.body_type == NDJSON:
            schema = _lines(schema)
        content = {"schema": schema}
        if endpoint.body_type != NDJSON:
            content["example"] = endpoint.example
        told["requestBody"] = {"required": True, "content": {endpoint.body_type: content}}
    if endpoint.role is not None:
        told["security"] = [{"key": []}]
        told["x-role"] = str(endpoint.role)
    return told


def _kinds(told: Any) -> tuple[Any, ...]:
    return told if isinstance(told, tuple) else () if told is None else (told,)


def _lines(schema: Any) -> dict[str, Any]:
    return {"description": "One JSON object a line, each as `x-line-schema` tells.", "x-line-schema": schema}


def _parameter(each: Parameter) -> dict[str, Any]:
    told = {"name": each.name, "in": each.place, "description": each.told, "schema": dict(each.schema)}
    return told | {"required": True} if each.place == "path" else told


@lru_cache(maxsize=1)
def page() -> str:
    """Return the description as HTML."""
    told = description()
    rows = []
    for endpoint in ENDPOINTS:
        operation = told["paths"][endpoint.path][endpoint.method.lower()]
        parts = [
            f"<h2 id='{endpoint.handler.__name__}'>{endpoint.method} <code>{html.escape(endpoint.path)}</code></h2>"
        ]
        parts.append(f"<p>{html.escape(endpoint.summary)} <small>{_role(endpoint)}</small></p>")
        for each in endpoint.parameters:
            parts.append(f"<p><code>{html.escape(each.name)}</code> ({each.place}): {html.escape(each.told)}</p>")
        if endpoint.example is not None:
            example = json.dumps(endpoint.example, ensure_ascii=False, indent=1)
            parts.append(f"<pre>{html.escape(example)}</pre>")
        statuses = ", ".join(f"{status} {each['description']}" for status, each in operation["responses"].items())
        rows.append("".join([*parts, f"<p><small>{html.escape(statuses)}</small></p>"]))
    schemas = json.dumps(told["components"]["schemas"], ensure_ascii=False, indent=1)
    problems = "".join(f"<dt id='{code}'>{code}</dt><dd>{html.escape(title)}</dd>" for code, title in TITLES.items())
    return _PAGE.format("".join(rows), problems, html.escape(schemas))


def _role(endpoint: Endpoint) -> str:
    return f"role {endpoint.role}" if endpoint.role else "no key"


_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Intently: the service</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
:root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui,sans-serif;
max-width:52rem;margin:2rem auto;padding:0 1rem}}
pre{{overflow:auto;padding:.7rem;border:1px solid #8886;border-radius:.3rem}}h2{{font-size:1.1rem;margin-top:2rem}}
dt{{font-family:monospace}}</style>
<h1>Intently: the service</h1><p>For programs: <a href="/openapi.json">/openapi.json</a>.</p>{}
<h1>Problems</h1><dl>{}</dl><h1>Types</h1><pre>{}</pre></html>"""
