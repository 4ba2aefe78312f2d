import sqlite3
from contextlib import contextmanager

import pytest

from intently.live.log import LOG_FILE
from tests.live.log.server import started


@pytest.fixture(scope="session")
def server():
    with started() as url:
        yield url


@pytest.fixture
def postgres(server):
    """The URL of an empty schema of a server that really runs."""
    import secrets

    import psycopg

    schema = f"s{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    return f"{server}?options=-csearch_path%3D{schema}"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path):
    """Where a log on disk lies, of each kind."""
    return request.getfixturevalue("postgres") if request.param == "postgres" else str(tmp_path / LOG_FILE)


@pytest.fixture
def altered():
    """Runs SQL in the tables of a log behind its back."""

    @contextmanager
    def open_place(place):
        if "://" in place:
            import psycopg

            with psycopg.connect(place) as connection:
                yield connection
        else:
            connection = sqlite3.connect(place)
            try:
                yield connection
                connection.commit()
            finally:
                connection.close()

    def run(place, sql):
        with open_place(place) as connection:
            connection.execute(sql)

    return run
