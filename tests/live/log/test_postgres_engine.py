"""An engine whose log is in a PostgreSQL that really runs."""

import pytest

from intently.engine.current import CurrentEngine
from intently.errors import LogBusyError, LogError, MissingDependencyError
from intently.live.log import LOG_FILE
from intently.types import Ad, Delete, Patch, Put, Request
from tests.engine.small_engine import make_engine, save


def test_changes_in_a_server(make_student, tmp_path, postgres):
    save(make_engine(make_student(3)), tmp_path)
    writer = CurrentEngine(tmp_path, log=postgres, follow_s=None)
    follower = CurrentEngine(tmp_path, log=postgres, follow_s=None)
    seq = writer.apply([Put(Ad("新", "红色 小玩意")), Patch("pan", {"bid": 0.5}), Delete("kettle")])
    assert follower.answer(Request("红色", min_seq=seq)).seq == seq
    assert (follower.ad("新").title, follower.ad("pan").bid, follower.ad("kettle")) == ("红色 小玩意", 0.5, None)
    with pytest.raises(LogBusyError):
        follower.apply([Delete("新")])
    writer.close()
    assert follower.apply([Delete("新")]) == seq + 1
    follower.close()
    with CurrentEngine(tmp_path, log=postgres) as again:
        assert (again.seq, again.ad("新")) == (seq + 1, None)
    assert not list(tmp_path.glob(f"{LOG_FILE}*"))


def test_a_connection_that_breaks(make_student, tmp_path, postgres):
    import psycopg

    save(make_engine(make_student(3)), tmp_path)
    current = CurrentEngine(tmp_path, log=postgres, follow_s=None)
    seq = current.apply([Patch("pan", {"bid": 0.5})])
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    for _ in range(2):  # it lost the right to write with the connection, and does not take it back in silence
        with pytest.raises(LogError, match="the server does not answer"):
            current.apply([Patch("pan", {"bid": 0.75})])
    assert (current.seq, current.ad("pan").bid) == (seq, 0.5)
    assert len(current.answer(Request("red pan"))) == 10
    current.close()
    assert current.apply([Patch("pan", {"bid": 1.0})]) == seq + 1
    current.close()


def test_a_server_that_is_not_there(make_student, tmp_path):
    pytest.importorskip("psycopg")
    save(make_engine(make_student(3)), tmp_path)
    with pytest.raises(LogError, match=r"postgresql://me@127\.0\.0\.1:9/none: the server does not answer"):
        CurrentEngine(tmp_path, log="postgresql://me:secret@127.0.0.1:9/none")


def test_without_psycopg(monkeypatch, make_student, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)
    save(make_engine(make_student(3)), tmp_path)
    with pytest.raises(MissingDependencyError, match=r"needs psycopg; run: pip install 'intently\[postgres\]'"):
        CurrentEngine(tmp_path, log="postgresql://host/base")
