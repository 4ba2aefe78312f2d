"""A service over the small engine, asked without a network."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from intently.engine.cache_server import CacheServer
from intently.engine.current import CurrentEngine
from intently.live.log import ChangeLog
from intently.serve.app import make_app
from intently.serve.keys import Keys
from intently.serve.service import Service
from intently.serve.settings import ServeSettings

ROOMY = ServeSettings(deadline_ms=10_000.0, refresh_s=3600.0)  # so that a busy machine changes no answer


class Served:
    """A service on an event loop of its own, with shortcuts to ask it."""

    def __init__(
        self,
        directory: Path,
        settings: ServeSettings = ROOMY,
        keys: Path | None = None,
        cache: CacheServer | None = None,
        log: ChangeLog | str | None = "memory",
    ) -> None:
        self.loop = asyncio.new_event_loop()
        # Several services of one process share the directory, and a log has one writer.
        self.service = Service(CurrentEngine(directory, log=log, cache=cache), directory, settings, Keys(keys))
        self.app = make_app(self.service)
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app), base_url="http://test")
        self.run(self.service.start())

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        if body is not None:
            more["content"] = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.run(self.http.request(method, path, **more))

    def post(self, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        return self.ask("POST", path, body, **more)

    def get(self, path: str, **more: Any) -> httpx2.Response:
        return self.ask("GET", path, **more)

    def together(self, *asks: Callable[[httpx2.AsyncClient], Any]) -> list[httpx2.Response]:
        async def everything() -> list[httpx2.Response]:
            return await asyncio.gather(*(ask(self.http) for ask in asks))

        return self.run(everything())

    def close(self) -> None:
        self.run(self.http.aclose())
        self.run(self.service.stop())
        self.service.current.close()
        self.loop.close()


def assert_problem(answer: httpx2.Response, status: int, code: str, field: str = "") -> dict[str, Any]:
    """Assert that an answer is a refusal as RFC 9457 has it, and return it."""
    told = answer.json()
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert (answer.status_code, told["status"], told["code"]) == (status, status, code), answer.text
    assert told.get("field", "") == field, answer.text
    assert told["title"] and told["detail"]
    assert told["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    return told


def query(text: str, **more: Any) -> Callable[[httpx2.AsyncClient], Any]:
    return lambda http: http.post("/v1/retrieve", json={"query": text, **more})
