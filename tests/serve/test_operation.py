"""Health, metrics, limits, generations, the description: what operators see."""

import asyncio
import json
import logging
import re
import time
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from intently.engine.cache_server import CacheServer
from intently.engine.current import CurrentEngine
from intently.serve.api import ENDPOINTS
from intently.serve.logs import JsonFormatter
from intently.serve.openapi import description
from intently.serve.settings import ServeSettings
from tests.engine.small_engine import SETTINGS, make_engine, save
from tests.engine.valkey_server import started, until
from tests.serve.serving import ROOMY, Served, assert_problem


def test_health(served):
    assert served.get("/livez").json() == {"status": "alive"}
    told = served.get("/readyz")
    assert told.status_code == 200
    assert told.json()["generation"] == served.service.engine.generation
    assert told.json()["seq"] == served.service.seq


def test_a_service_that_drains_says_so_and_answers(serve):
    served = serve()
    served.service.draining = True
    assert (served.get("/readyz").status_code, served.get("/livez").status_code) == (503, 200)
    answer = served.post("/v1/retrieve", {"query": "red"})
    assert answer.status_code == 200
    assert answer.headers["connection"] == "close"


def test_request_ids(served):
    assert served.get("/livez", headers={"X-Request-Id": "front-7.a_B"}).headers["x-request-id"] == "front-7.a_B"
    for wrong in ("a b", "x" * 65, "{}"):
        given = served.get("/livez", headers={"X-Request-Id": wrong}).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{16}", given)


def test_limits_are_those_that_refuse(served):
    told = served.get("/v1/limits").json()
    assert served.post("/v1/retrieve", {"query": "a" * told["max_query_length"], "k": told["max_k"]}).status_code == 200
    assert served.post("/v1/retrieve", {"query": "a", "k": told["max_k"] + 1}).status_code == 400
    assert served.get("/v1/ads", params={"limit": told["max_page"]}).status_code == 200
    assert served.get("/v1/ads", params={"limit": told["max_page"] + 1}).status_code == 400


# Metrics.


def families(served):
    return {each.name: each for each in text_string_to_metric_families(served.get("/metrics").text)}


def num_series(served):
    return {name: len(family.samples) for name, family in families(served).items()}


def test_metrics_are_named_as_prometheus_wants(served):
    served.post("/v1/retrieve", {"query": "红色 red"})
    served.post("/v1/retrieve", {"query": "red", "deadline_ms": 0.001})
    served.ask("PUT", "/v1/ads/metric", {"title": "x"})
    served.get("/nothing")
    found = families(served)
    for name, family in found.items():
        assert re.fullmatch(r"intently_[a-z_]+", name)
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert set(sample.labels) <= {"route", "code", "stage", "queue", "reason", "kind", "result", "channel",
                                          "generation", "le"}  # fmt: skip
    assert {
        "intently_request_duration_seconds", "intently_stage_duration_seconds", "intently_degraded", "intently_shed",
        "intently_queue_wait_seconds", "intently_inflight_requests", "intently_event_loop_lag_seconds",
        "intently_changes", "intently_visible_seq", "intently_segments", "intently_loose_ads",
        "intently_generation_info",
        "intently_cache_requests", "intently_zero_result", "intently_batch_size_queries",
    } <= set(found)  # fmt: skip
    routes = {sample.labels["route"] for sample in found["intently_request_duration_seconds"].samples}
    assert {"POST /v1/retrieve", "PUT /v1/ads/{ad_id}", "unknown"} <= routes


def test_metrics_do_not_grow_with_queries_and_ads(served):
    def some(at):
        served.post("/v1/retrieve", {"query": f"query {at}", "user": {"audiences": [f"a{at}"]}})
        served.ask("PUT", f"/v1/ads/grow{at}", {"title": f"title {at}"})
        served.get(f"/v1/ads/grow{at}")
        served.get(f"/unknown/{at}")

    some(0)
    before = num_series(served)
    for at in range(1, 60):
        some(at)
    assert num_series(served) == before


# The shared cache.


def test_a_shared_cache_is_counted_and_told(serve):
    with started() as server:
        cache = CacheServer(server.url, timeout_ms=10_000.0)
        until(lambda: not cache.problem, "the cache reaches the server")
        served = serve(cache=cache)
        assert served.get("/readyz").json()["cache_problem"] == ""
        assert not served.post("/v1/retrieve", {"query": "红色 pan"}).json()["cached"]
        until(lambda: served.post("/v1/retrieve", {"query": "红色 pan"}).json()["cached"], "it is found")
        told = {
            sample.labels["result"]: sample.value
            for sample in families(served)["intently_runtime_cache_queries"].samples
        }
        assert told["hit"] >= 1
        assert told["miss"] >= 1
        assert "intently_shared_cache_down 0.0" in served.get("/metrics").text
        server.kill()
        assert served.post("/v1/retrieve", {"query": "another pan"}).status_code == 200
        until(lambda: served.get("/readyz").json()["cache_problem"], "the fault is told")
        assert served.get("/readyz").status_code == 200
        assert "intently_shared_cache_down 1.0" in served.get("/metrics").text


def test_without_a_shared_cache_none_is_told(served):
    assert served.get("/readyz").json()["cache_problem"] == ""
    assert "intently_shared_cache_down 0.0" in served.get("/metrics").text


# Generations.


@pytest.fixture(scope="module")
def two_engines(make_student):
    return make_engine(make_student(3)), make_engine(make_student(4), replace(SETTINGS, intention_weight=3.0))


def test_generations_are_listed_published_and_rolled_back(two_engines, tmp_path):
    save(two_engines[0], tmp_path)
    served = Served(tmp_path)
    try:
        first = served.service.engine.generation
        served.ask("PUT", "/v1/ads/stays", {"title": "Red gizmo"})
        save(two_engines[1], tmp_path)
        listed = served.get("/v1/generations").json()
        second = listed["generations"][0]["id"]
        assert [each["is_served"] for each in listed["generations"]] == [False, True]
        assert [each["is_current"] for each in listed["generations"]] == [True, False]
        for body, expected in (({"generation": second}, second), ({}, first), ({"generation": second}, second)):
            told = served.post("/v1/generations", body)
            assert told.json()["served"] == expected
            assert served.post("/v1/retrieve", {"query": "red"}).json()["generation"] == expected
            assert served.get("/v1/ads/stays").status_code == 200
        assert f'generation="{second}"' in served.get("/metrics").text
        unknown = served.post("/v1/generations", {"generation": "20200101T000000Z-00000000"})
        assert_problem(unknown, 400, "invalid_value", "generation")
        assert_problem(served.post("/v1/generations", {"id": first}), 400, "unknown_field", "id")
        served.post("/v1/generations", {"generation": first})
        assert_problem(served.post("/v1/generations", {}), 409, "unusable_generation", "generation")
    finally:
        served.close()


def test_a_new_generation_is_taken_over_by_itself_and_a_broken_one_is_not(two_engines, tmp_path, caplog):
    save(two_engines[0], tmp_path)
    served = Served(tmp_path, replace(ROOMY, refresh_s=0.02))

    async def until(condition):
        for _ in range(500):
            if condition():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("did not happen")

    try:
        first = served.service.engine.generation
        save(two_engines[1], tmp_path)
        served.run(until(lambda: served.service.engine.generation != first))
        second = served.service.engine.generation
        for file in save(two_engines[0], tmp_path):
            file.write_bytes(b"")
        served.run(until(lambda: served.service.refresh_problem))
        assert served.service.engine.generation == second
        assert served.get("/readyz").json()["refresh_problem"]
        assert served.post("/v1/retrieve", {"query": "red"}).json()["generation"] == second
        assert len([record for record in caplog.records if "kept generation" in record.message]) == 1
    finally:
        served.close()


def test_queries_and_changes_go_on_while_generations_come_and_go(two_engines, tmp_path):
    """No request fails, no answer is mixed, no change is lost, whoever reads after a write sees it."""
    save(two_engines[0], tmp_path)
    served = Served(tmp_path, replace(ROOMY, refresh_s=0.01, read_threads=2))
    scores: dict[str, set] = {}

    async def ask(stop):
        while not stop.is_set():
            answer = await served.http.post("/v1/retrieve", json={"query": "robot vacuum", "k": 3})
            assert answer.status_code == 200, answer.text
            told = answer.json()
            scores.setdefault(told["generation"], set()).add(tuple(round(ad["score"], 6) for ad in told["ads"]))

    async def change(name):
        for at in range(15):
            ad_id = f"{name}{at}"
            put = await served.http.put(f"/v1/ads/{ad_id}", json={"title": "electric gizmo", "audiences": [ad_id]})
            assert put.status_code == 201, put.text
            body = {"query": "gizmo", "k": 500, "user": {"audiences": [ad_id]}, "min_seq": put.json()["seq"]}
            seen = (await served.http.post("/v1/retrieve", json=body)).json()
            assert ad_id in [ad["ad_id"] for ad in seen["ads"]]
            assert (await served.http.patch(f"/v1/ads/{ad_id}", json={"bid": at})).status_code == 200

    async def story():
        stop = asyncio.Event()
        asking = [asyncio.create_task(ask(stop)) for _ in range(3)]
        changing = [asyncio.create_task(change(name)) for name in "ab"]
        for number in range(4):
            await asyncio.to_thread(save, two_engines[1 - number % 2], tmp_path)
            await asyncio.sleep(0.1)
        await asyncio.gather(*changing)
        stop.set()
        await asyncio.gather(*asking)

    try:
        served.run(story())
        assert len(scores) > 1
        assert all(len(each) == 1 for each in scores.values())
        for name in "ab":
            assert [served.service.engine.ad(f"{name}{at}").bid for at in range(15)] == list(range(15))
    finally:
        served.close()


def test_a_change_that_is_not_visible_yet_is_waited_for(serve):
    served = serve()
    seq = served.service.seq
    answer = served.post("/v1/retrieve", {"query": "red", "min_seq": seq + 1, "deadline_ms": 20})
    assert assert_problem(answer, 409, "behind", "min_seq")["seq"] == seq
    waiting = {"query": "red", "min_seq": seq + 1, "deadline_ms": 10_000}

    async def put_later(http):
        await asyncio.sleep(0.05)
        return await http.put("/v1/ads/later", json={"title": "Red pan"})

    answer, _ = served.together(lambda http: http.post("/v1/retrieve", json=waiting), put_later)
    assert answer.json()["seq"] == seq + 1


# The loop, and what comes in slowly.


def test_the_loop_is_free_while_models_read(serve, monkeypatch):
    served = serve()
    applied = CurrentEngine.apply

    def slow(self, changes, **named):
        time.sleep(0.3)
        return applied(self, changes, **named)

    monkeypatch.setattr(CurrentEngine, "apply", slow)

    async def story():
        put = asyncio.create_task(served.http.put("/v1/ads/slow", json={"title": "Red pan"}))
        await asyncio.sleep(0.05)
        began = time.perf_counter()
        await served.http.get("/livez")
        spent = time.perf_counter() - began
        assert not put.done()
        await put
        return spent

    assert served.run(story()) < 0.2


def test_changes_that_would_wait_too_long_are_refused(serve, monkeypatch):
    served = serve(replace(ROOMY, max_write_wait_ms=100.0))
    served.service.writers._cost_ms = 1_000.0
    served.service.writers.num_pending = 5
    answer = served.ask("DELETE", "/v1/ads/none")
    assert_problem(answer, 503, "overloaded")
    assert answer.headers["retry-after"] == "2"
    served.service.writers.num_pending = 0


def test_a_body_that_stops_is_given_up(serve):
    served = serve(replace(ROOMY, body_timeout_s=0.05))

    async def stops():
        yield b'{"query": '
        await asyncio.sleep(5)

    answer = served.run(served.http.post("/v1/retrieve", content=stops()))
    assert_problem(answer, 408, "body_incomplete")


# The description.


def test_every_example_of_the_description_works(serve):
    served = serve()
    served.ask("PUT", "/v1/lists/account", {"values": ["free"]})
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace("{ad_id}", "pan").replace("{name}", "account")
        more = {"headers": {"Content-Type": endpoint.body_type}} if endpoint.body else {}
        answer = served.ask(endpoint.method, path, endpoint.example if endpoint.body else None, **more)
        if endpoint.path == "/v1/generations" and endpoint.method == "POST":
            assert_problem(answer, 409, "unusable_generation", "generation")  # there is one only
            continue
        assert answer.status_code in endpoint.answers, (endpoint.path, answer.text)
        assert answer.headers["content-type"].startswith(endpoint.answer_type)


def test_the_description_is_made_from_the_types(served):
    told = served.get("/openapi.json").json()
    assert told == json.loads(json.dumps(description()))
    query = told["components"]["schemas"]["QueryBody"]
    assert query["properties"]["k"] == {"type": "integer", "minimum": 1, "maximum": 500, "default": 10}
    assert query["additionalProperties"] is False
    references = re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(told))
    assert set(references) <= set(told["components"]["schemas"])
    assert len({each["operationId"] for path in told["paths"].values() for each in path.values()}) == len(ENDPOINTS)


def test_the_page_needs_no_network_and_no_script(served):
    answer = served.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "<script" not in answer.text
    assert not re.search(r"(src|href)=[\"']?https?:", answer.text)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    for endpoint in ENDPOINTS:
        assert endpoint.path in answer.text


def test_logs_are_one_json_object_a_line():
    record = logging.makeLogRecord({"name": "intently.x", "msg": "%s\nzwei", "args": ("eins",), "request_id": "r"})
    line = JsonFormatter().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert (told["message"], told["request_id"], told["logger"]) == ("eins\nzwei", "r", "intently.x")


@pytest.mark.parametrize("wrong", [{"read_threads": 0}, {"deadline_ms": 0.0}, {"bulk_chunk": 0}, {"refresh_s": -1.0}])
def test_wrong_settings(wrong):
    from intently.errors import SettingsError

    with pytest.raises(SettingsError, match=next(iter(wrong))):
        ServeSettings(**wrong)
