"""Queries over HTTP are the engine's answers; every wrong query is refused by name."""

import json
from dataclasses import asdict, replace
from datetime import datetime

import httpx2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.serve.wire import MAX_K, MAX_QUERIES, QueryBody, UserBody
from intently.types import Channel, Ranking, Request, UserContext
from tests.engine.small_engine import QUERIES, SAY_NOTHING
from tests.serve.serving import ROOMY, assert_problem


def same(told: dict, ranking: Ranking) -> bool:
    told, ranking = dict(told), json.loads(msgspec.json.encode(ranking))
    del told["timings_ms"], ranking["timings_ms"]
    return told == ranking


USERS = [
    None,
    {"country": "cn"},
    {"country": "Germany", "language": "en-US", "device": "phone", "audiences": ["cooks"]},
    {"time": "2026-11-30T10:00:00", "time_zone": None},
    {"time": "2026-11-30T10:00:00+08:00", "time_zone": "Europe/Berlin"},
    {"country": "CN", "attributes": {"age": 20, "interests": ["跑步"], "vip": None}},
]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("channel", Channel)
@pytest.mark.parametrize("query", [*QUERIES, *SAY_NOTHING[:2]])
def test_answers_are_the_engines(served, query, channel, user):
    body = {"query": query, "k": 4, "channel": channel, "explain": True, "exclude": ["pan", "nobody"], "user": user}
    answer = served.post("/v1/retrieve", body)
    assert answer.status_code == 200, answer.text
    context = None
    if user:
        time = datetime.fromisoformat(user["time"]) if "time" in user else None
        context = UserContext(**user | {"time": time})
    request = Request(query, 4, context, channel, True, frozenset(("pan", "nobody")))
    assert same(answer.json(), served.service.engine.answer(request))


def test_a_list_is_answered_in_order_from_one_snapshot(served):
    answer = served.post("/v1/retrieve", [{"query": query, "k": at + 1} for at, query in enumerate(QUERIES)])
    rankings = answer.json()
    assert [ranking["query"] for ranking in rankings] == QUERIES
    for at, (told, query) in enumerate(zip(rankings, QUERIES, strict=True)):
        found = served.service.engine.answer(Request(query, at + 1))
        assert [ad["ad_id"] for ad in told["ads"]] == [ad.ad_id for ad in found.ads]
    assert len({(each["generation"], each["seq"]) for each in rankings}) == 1


def test_a_short_deadline_is_kept_by_words(served):
    answer = served.post("/v1/retrieve", {"query": "红色水壶 kettle", "deadline_ms": 0.001})
    assert answer.status_code == 200
    assert {"intentions_skipped", "dense_skipped"} <= set(answer.json()["degraded"])
    assert answer.json()["ads"]


WRONG = [
    (b"", "malformed_json", ""),
    (b"{", "malformed_json", ""),
    (b'{"query": "a", "k": NaN}', "malformed_json", ""),
    (b'{"query": "a"} {}', "malformed_json", ""),
    (b'\xef\xbb\xbf{"query": "a"}', "malformed_json", ""),
    (b'{"query": "\xff"}', "invalid_utf8", ""),
    (b'{"query": "\\ud800"}', "malformed_json", ""),
    (b"[" * 100_000, "invalid_value", "[0]"),
    (b'"a"', "invalid_value", ""),
    ([], "invalid_value", ""),
    ([{"query": "a"}] * (MAX_QUERIES + 1), "invalid_value", ""),
    ({}, "missing_field", "query"),
    ({"query": "a", "kk": 1}, "unknown_field", "kk"),
    ({"query": 1}, "invalid_value", "query"),
    ({"query": None}, "invalid_value", "query"),
    ({"query": ""}, "invalid_value", "query"),
    ({"query": "  "}, "invalid_value", "query"),
    ({"query": "长" * 2_001}, "invalid_value", "query"),
    ({"query": "a", "k": 0}, "invalid_value", "k"),
    ({"query": "a", "k": MAX_K + 1}, "invalid_value", "k"),
    ({"query": "a", "k": 2.5}, "invalid_value", "k"),
    ({"query": "a", "k": True}, "invalid_value", "k"),
    ({"query": "a", "k": "3"}, "invalid_value", "k"),
    ({"query": "a", "k": 10**40}, "invalid_value", "k"),
    (b'{"query": "a", "deadline_ms": 1e999}', "invalid_value", "deadline_ms"),
    ({"query": "a", "deadline_ms": 0}, "invalid_value", "deadline_ms"),
    ({"query": "a", "deadline_ms": 10_001}, "invalid_value", "deadline_ms"),
    ({"query": "a", "min_seq": -1}, "invalid_value", "min_seq"),
    ({"query": "a", "channel": "best"}, "invalid_value", "channel"),
    ({"query": "a", "explain": 1}, "invalid_value", "explain"),
    ({"query": "a", "exclude": "pan"}, "invalid_value", "exclude"),
    ({"query": "a", "exclude": [1]}, "invalid_value", "exclude[0]"),
    ({"query": "a", "exclude": ["x"] * 10_001}, "invalid_value", "exclude"),
    ({"query": "a", "user": "vip"}, "invalid_value", "user"),
    ({"query": "a", "user": {"town": "x"}}, "unknown_field", "user.town"),
    ({"query": "a", "user": {"country": "EU"}}, "invalid_value", "user.country"),
    ({"query": "a", "user": {"language": "klingon speech"}}, "invalid_value", "user.language"),
    ({"query": "a", "user": {"time": "noon"}}, "invalid_value", "user.time"),
    ({"query": "a", "user": {"time": "2026-01-01T10:00:00Z"}}, "invalid_value", "user.time"),
    ({"query": "a", "user": {"time": "0001-01-01T00:00:00+14:00", "time_zone": "UTC"}}, "invalid_value", "user.time"),
    ({"query": "a", "user": {"audiences": "vip"}}, "invalid_value", "user.audiences"),
    ([{"query": "a"}, {"query": "b", "k": 0}], "invalid_value", "[1].k"),
    ([{"query": "a"}, {"query": "b", "user": {"country": "XX"}}], "invalid_value", "[1].user.country"),
]


@pytest.mark.parametrize(("body", "code", "field"), WRONG)
def test_wrong_queries_name_the_field_and_the_cure(served, body, code, field):
    told = assert_problem(served.post("/v1/retrieve", body), 400, code, field)
    assert told["cure"]
    if code == "unknown_field":
        assert "country" in told["cure"] or "deadline_ms" in told["cure"]


def test_what_is_no_json_by_its_own_word(served):
    answer = served.post("/v1/retrieve", {"query": "a"}, headers={"Content-Type": "text/csv"})
    assert_problem(answer, 415, "wrong_content_type", "Content-Type")


def test_a_body_too_large(serve):
    served = serve(replace(ROOMY, max_body_bytes=100))
    assert served.post("/v1/retrieve", {"query": "a" * 80}).status_code == 200
    assert_problem(served.post("/v1/retrieve", {"query": "a" * 101}), 413, "body_too_large")

    async def endless():
        for _ in range(1_000_000):
            yield b" " * 60

    assert_problem(served.run(served.http.post("/v1/retrieve", content=endless())), 413, "body_too_large")


def test_unknown_addresses_methods_and_parameters(served):
    assert_problem(served.get("/v2/retrieve"), 404, "unknown_path")
    assert_problem(served.get("/v1/ads/"), 404, "unknown_ad", "ad_id")
    answer = served.get("/v1/retrieve")
    assert_problem(answer, 405, "wrong_method")
    assert "POST" in answer.headers["allow"]
    allowed = served.ask("OPTIONS", "/v1/ads/pan").headers["allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "PUT", "PATCH", "DELETE"}
    assert served.ask("HEAD", "/v1/ads/pan").status_code == 200
    assert_problem(served.post("/v1/retrieve?k=3", {"query": "a"}), 400, "unknown_field", "k")


def test_an_engine_that_fails_is_told_without_its_secrets(serve, monkeypatch):
    served = serve()

    def fails(*_, **__):
        raise RuntimeError("s3cret path")

    monkeypatch.setattr(served.service.engine, "answer_many", fails)
    answer = served.run(_raising(served))
    assert_problem(answer, 500, "internal")
    assert "s3cret" not in answer.text


async def _raising(served):
    transport = httpx2.ASGITransport(served.app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as http:
        return await http.post("/v1/retrieve", json={"query": "red pan"})


# Filters, payload, caps.


def test_filters_payload_and_caps_are_the_engines(served):
    for at, price in enumerate((5, 50, None, 7)):
        ad = {"title": f"红色 gizmo {at}", "category": "gizmos", "payload": {"price": price, "图片": ["a", {"b": at}]}}
        assert served.ask("PUT", f"/v1/ads/f{at}", ad).status_code == 201
    body = {"query": "红色 gizmo", "filters": 'price < 50 and category == "gizmos"', "payload": ["title", "price"]}
    told = served.post("/v1/retrieve", body | {"max_per": {"price": 1}}).json()
    request = Request("红色 gizmo", filters=body["filters"], payload=("title", "price"), max_per={"price": 1})
    assert same(told, served.service.engine.answer(request))
    assert {ad["ad_id"]: ad["payload"]["price"] for ad in told["ads"]} == {"f0": 5, "f3": 7}
    whole = served.post("/v1/retrieve", {"query": "gizmo 3", "k": 1, "payload": ["*"]}).json()["ads"][0]
    assert whole["payload"] == {"price": 7, "图片": ["a", {"b": 3}]} == served.get("/v1/ads/f3").json()["payload"]
    assert served.ask("PATCH", "/v1/ads/f3", {"payload": {"price": 8}}).status_code == 200
    assert served.get("/v1/ads/f3").json()["payload"] == {"price": 8}
    explained = served.post(
        "/v1/explain",
        {
            "query": "红色 gizmo",
            "filters": "price < 50",
            "max_per": {"category": 1},
            "ad_ids": ["f0", "f1", "f2", "f3"],
        },
    ).json()["verdicts"]
    assert sorted(one["stage"] for one in explained) == ["caps", "filters", "filters", "shown"]
    assert explained[1]["told"] == "it does not meet price < 50"
    for at in range(4):
        served.ask("DELETE", f"/v1/ads/f{at}")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"filters": "price <"}, "filters"),
        ({"filters": "nothing_has_this == 1"}, "filters"),
        ({"filters": 3}, "filters"),
        ({"payload": ["nothing_has_this"]}, "payload"),
        ({"payload": "title"}, "payload"),
        ({"max_per": {"advertiser": 0}}, "max_per"),
        ({"max_per": {"nothing_has_this": 1}}, "max_per"),
    ],
)
def test_wrong_filters_payload_and_caps(served, change, field):
    assert_problem(served.post("/v1/retrieve", {"query": "red"} | change), 400, "invalid_value", field)
    assert_problem(
        served.post("/v1/explain", {"query": "red", "ad_ids": ["pan"]} | change), 400, "invalid_value", field
    )


# Explaining.


def test_verdicts_are_the_engines(served):
    ad_ids = ["pan", "ended", "de-bits", "zh-robot", "nobody", "kettle"]
    body = {"query": "红色 red", "k": 2, "user": {"country": "FR"}, "exclude": ["kettle"], "ad_ids": ad_ids}
    told = served.post("/v1/explain", body).json()
    request = Request("红色 red", 2, UserContext(country="FR"), exclude=frozenset(["kettle"]))
    expected = served.service.engine.explain(request, ad_ids)
    assert told["verdicts"] == json.loads(msgspec.json.encode(expected))
    assert [one["stage"] for one in told["verdicts"]].count("unknown") == 1
    assert told["verdicts"][2]["told"] == "it wants countries DE; the user's country is FR"


@pytest.mark.parametrize(
    ("change", "field"),
    [({"ad_ids": []}, "ad_ids"), ({"ad_ids": ["x"] * 101}, "ad_ids"), ({"ad_ids": [1]}, "ad_ids[0]"), ({"k": 0}, "k")],
)
def test_wrong_explanations(served, change, field):
    body = {"query": "red", "ad_ids": ["pan"]} | change
    assert_problem(served.post("/v1/explain", body), 400, "invalid_value", field)
    assert_problem(served.post("/v1/explain", {"query": "red"}), 400, "missing_field", "ad_ids")


# Any body at all.

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_FIELDS = st.sampled_from(["query", "k", "user", "channel", "exclude", "explain", "deadline_ms", "min_seq", "ad_ids"])
_USER = st.dictionaries(
    st.sampled_from(["country", "language", "device", "time", "time_zone", "audiences"]), _JSON, max_size=4
)
_BODY = st.dictionaries(_FIELDS, _JSON | _USER, max_size=6).map(lambda body: {"query": "red"} | body)


@given(body=(_JSON | _BODY | st.lists(_BODY, max_size=3)))
@settings(max_examples=150)
def test_any_json_is_answered_or_refused(served, body):
    for path in ("/v1/retrieve", "/v1/explain"):
        answer = served.post(path, body)
        assert answer.status_code in (200, 400, 409), answer.text
        if answer.status_code == 400:
            assert answer.json()["code"]


@given(body=st.binary(max_size=200))
@settings(max_examples=100)
def test_any_bytes_are_refused(served, body):
    answer = served.post("/v1/retrieve", body)
    assert answer.status_code in (200, 400)


def test_every_field_of_a_request_has_a_place_in_the_body():
    assert set(asdict(Request("a"))) <= set(QueryBody.__struct_fields__)
    assert set(asdict(UserContext())) == set(UserBody.__struct_fields__)
