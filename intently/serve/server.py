"""Running the service: uvicorn, and what a signal does.

SIGTERM and SIGINT drain: `/readyz` says 503 at once, so that a load balancer stops sending; every answer ends its
connection; after `drain_delay_s` the server stops listening, finishes what is under way, and exits with code 0. A
second signal skips the delay.
"""

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from intently.errors import InputError, SettingsError
from intently.serve.app import make_app
from intently.serve.keys import Keys
from intently.serve.logs import log_as_json
from intently.serve.protocol import BoundedProtocol
from intently.serve.service import Service
from intently.serve.settings import ServeSettings

logger = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """A server that drains on a signal, and then ends well: uvicorn's own raises the signal again at the end."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on SIGTERM and SIGINT while the block runs."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for each in signals:
            loop.add_signal_handler(each, self.drain)
        try:
            yield
        finally:
            for each in signals:
                loop.remove_signal_handler(each)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and tell people where."""
        await super().startup(sockets)
        for server in getattr(self, "servers", ()):
            for one in server.sockets:
                host, port = one.getsockname()[:2]
                shown = f"[{host}]" if ":" in host else host
                logger.info("people begin at http://%s:%d/, programs at /docs", shown, port)

    def drain(self) -> None:
        """Begin to drain; called again, stop listening at once."""
        delay = self._service.settings.drain_delay_s
        if self._service.draining:
            self.should_exit = True
            return
        self._service.draining = True
        logger.info("draining: the server stops listening in %g s", delay)
        asyncio.get_running_loop().call_later(delay, setattr, self, "should_exit", True)


def serve(
    directory: Path,
    host: str,
    port: int,
    settings: ServeSettings,
    keys: Path | None = None,
    num_threads: int | None = None,
    anybody: bool = False,
    log: str | None = None,
    cache: str | None = None,
) -> None:
    """Serve the engine in a directory, with its log of changes in `log` (`open_log`), until a signal comes.

    `cache` is the URL of a Valkey or Redis server in which processes share what queries were decoded to; without, each
    keeps that in its memory.

    Without keys, everybody who reaches the port may do everything. So only the machine itself may reach it, unless
    `anybody` says otherwise. Raises `InputError` for that, and `ArtifactError` if the engine cannot be loaded.
    """
    if keys is None and not anybody and not _is_loopback(host):
        raise InputError(
            f"{host} can be reached from other machines, and there are no keys",
            cure="name a file of keys with --keys, or say --anybody", field="--host",
        )  # fmt: skip
    if settings.read_threads < 1 or not 0 <= port <= 65_535:
        raise SettingsError(f"'port' is {port}; it takes 0 to 65535")
    log_as_json()
    valid_keys = Keys(keys)
    from intently.engine.cache_server import CacheServer  # with what loads everything that runs models
    from intently.engine.cache_store import CacheStore, MemoryStore
    from intently.engine.current import CurrentEngine

    store: CacheStore | None = None
    if cache:
        store = CacheServer(cache, timeout_ms=settings.cache_timeout_ms, keep_s=settings.cache_hours * 3600)
    elif settings.cache_queries:
        store = MemoryStore(settings.cache_queries)
    current = CurrentEngine(directory, log=log, cache=store, num_threads=num_threads)
    service = Service(current, directory, settings, valid_keys)
    config = uvicorn.Config(
        make_app(service), host, port, log_config=None, access_log=False, server_header=False, lifespan="on",
        http=BoundedProtocol, ws="none", timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout_s)),
    )  # fmt: skip
    with current:  # so that what was acknowledged is written, and another process may write
        DrainingServer(config, service).run()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
