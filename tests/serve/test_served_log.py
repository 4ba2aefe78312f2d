"""What operators and clients are told of the log: its version, damage, a full disk, a flush that failed."""

import sqlite3

import pytest

from intently.engine.current import CurrentEngine
from intently.errors import LogError
from intently.live.log import LOG_FILE, open_log
from intently.types import Ad, Delete, Patch, Put
from tests.engine.small_engine import make_engine, save
from tests.serve.serving import Served, assert_problem


@pytest.fixture
def directory(make_student, tmp_path):
    save(make_engine(make_student(3)), tmp_path)
    return tmp_path


@pytest.fixture
def served(directory):
    made = []

    def make(log=None):
        made.append(Served(directory, log=log))
        return made[-1]

    yield make
    for each in made:
        each.close()
        each.service.current.close()


def metric(served, name):
    (line,) = [line for line in served.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


def test_a_whole_log(served):
    one = served()
    seq = one.ask("PUT", "/v1/ads/new", {"title": "Red gizmo"}).json()["seq"]
    told = one.get("/readyz").json()
    assert (told["log_version"], told["log_problem"]) == (sqlite3.sqlite_version, "")
    assert metric(one, "intently_log_seq") == metric(one, "intently_visible_seq") == seq
    assert metric(one, "intently_log_bytes") > 4_000
    assert metric(one, "intently_log_failed") == metric(one, "intently_log_repaired") == 0


def test_a_log_that_was_damaged_is_served_and_told(served, directory):
    with CurrentEngine(directory, follow_s=None) as current:
        for number in range(60):
            current.apply([Put(Ad(f"x{number}", f"Red gizmo {number}"))])
        current.apply([Patch("x2", {"bid": 2.0}), Delete("kettle")])
    path = directory / LOG_FILE
    path.write_bytes(path.read_bytes()[:20_000])
    one = served()
    one.service.current.own()
    told = one.get("/readyz")
    assert told.status_code == 200
    kept = one.service.current.log.recovered.num_kept
    assert f"{kept} changes were saved" in told.json()["log_problem"]
    assert str(directory) not in told.text  # whoever may ask this may not know where files lie
    assert metric(one, "intently_log_repaired") == 1
    assert one.post("/v1/retrieve", {"query": "red pan"}).json()["ads"]
    assert one.ask("PUT", "/v1/ads/after", {"title": "Blue gizmo"}).status_code == 201


def test_a_full_disk(served, directory):
    one = served(open_log(directory, reserve_bytes=1 << 62))
    problem = assert_problem(one.ask("PUT", "/v1/ads/new", {"title": "Red gizmo"}), 507, "log_full")
    assert "bytes left" in problem["detail"]
    assert problem["cure"]
    for method, path, body in (
        ("PATCH", "/v1/ads/pan", {"bid": 1}),
        ("PATCH", "/v1/ads/pan", {"status": "active"}),
    ):
        assert_problem(one.ask(method, path, body), 507, "log_full")
    assert one.ask("PATCH", "/v1/ads/pan", {"status": "paused"}).status_code == 200
    assert one.ask("DELETE", "/v1/ads/kettle").json()["existed"] is True
    assert one.ask("PUT", "/v1/lists/blocked%20ads", {"values": ["robot"]}).status_code == 201
    assert one.service.current.log.position().last == 3
    assert one.post("/v1/retrieve", {"query": "red robot"}).status_code == 200


def test_a_flush_that_failed_ends_changes_and_not_answers(served, monkeypatch):
    one = served()
    assert one.ask("PUT", "/v1/ads/new", {"title": "Red gizmo"}).status_code == 201
    log = one.service.current.log
    store = type(log._committer._store)

    def fails(self):
        raise LogError("disk I/O error")

    monkeypatch.setattr(store, "transaction", fails)
    assert one.ask("PUT", "/v1/ads/lost", {"title": "Red gizmo"}).status_code == 503
    monkeypatch.undo()
    assert one.ask("DELETE", "/v1/ads/new").status_code == 503
    told = one.get("/readyz")
    assert (told.status_code, told.json()["log_problem"]) == (200, "disk I/O error")
    assert metric(one, "intently_log_failed") == 1
    assert one.get("/v1/ads/new").status_code == 200
    assert one.get("/v1/ads/lost").status_code == 404
    assert "new" in [ad["ad_id"] for ad in one.post("/v1/retrieve", {"query": "gizmo"}).json()["ads"]]
