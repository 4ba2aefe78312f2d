"""Reading what a client sends, within limits."""

import asyncio
from collections.abc import AsyncIterator, Collection

from starlette.requests import Request
from starlette.types import Receive

from intently.serve.problems import Problem


async def read_body(request: Request, max_bytes: int, timeout_s: float) -> bytes:
    """Return a body whole; raise `Problem` if it is too large, too slow, or cut off."""
    stated = request.headers.get("content-length", "")
    if stated.isascii() and stated.isdigit() and int(stated) > max_bytes:
        raise too_large(max_bytes)
    parts, size = [], 0
    async for part in body_parts(request.receive, timeout_s):
        size += len(part)
        if size > max_bytes:
            raise too_large(max_bytes)
        parts.append(part)
    return b"".join(parts)


async def body_parts(receive: Receive, timeout_s: float) -> AsyncIterator[bytes]:
    """Yield the parts of a body as they arrive; raise `Problem` if it stops before its end."""
    more = True
    while more:
        try:
            async with asyncio.timeout(timeout_s):
                message = await receive()
        except TimeoutError:
            raise Problem(
                408, "body_incomplete", f"nothing arrived for {timeout_s:g} s", cure="send it again",
                headers={"Connection": "close"},
            ) from None  # fmt: skip
        if message["type"] == "http.disconnect":
            raise Problem(400, "body_incomplete", "the connection ended before the body", cure="send it again")
        more = message.get("more_body", False)
        if content := message.get("body", b""):
            yield content


def too_large(max_bytes: int) -> Problem:
    """Return the refusal of a body that is too large. The connection ends, as the rest of the body is not read."""
    return Problem(
        413, "body_too_large", f"over {max_bytes:,} bytes", cure="send less at once, or use /v1/ads:bulk",
        headers={"Connection": "close"},
    )  # fmt: skip


def require_type(request: Request, *allowed: str) -> None:
    """Raise `Problem` 415 for a body that says it is of another type; one that says nothing is taken as right."""
    stated = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if stated and stated not in allowed:
        raise Problem(
            415, "wrong_content_type", f"the body is {stated}", field="Content-Type", cure=f"send {allowed[0]}"
        )


def check_parameters(request: Request, known: Collection[str]) -> None:
    """Raise `Problem` for a parameter of an address that is unknown or given twice."""
    given = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            cure = f"use {', '.join(known)}" if known else "leave it out"
            raise Problem(400, "unknown_field", f"unknown parameter {name[:50]!r}", field=name[:50], cure=cure)
        if name in given:
            raise Problem(400, "invalid_value", "given twice", field=name, cure="give it once")
        given.add(name)
