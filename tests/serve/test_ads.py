"""Changes of ads over HTTP: one by one, by the thousand, conditionally, once only; and listing them."""

import asyncio
import json
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.serve.bulk import lines_of
from tests.engine.small_engine import ADS
from tests.serve.serving import ROOMY, assert_problem

IDS = ["plain", "红色-1", "a/b", "with blank", "50%", "a?b#c", "...", "\U0001f98a"]


@pytest.mark.parametrize("ad_id", IDS)
def test_an_ad_comes_changes_and_goes(served, ad_id):
    path = f"/v1/ads/{quote(ad_id, safe='')}"
    put = served.ask("PUT", path, {"title": "Red gizmo 红色", "keywords": ["gizmo"], "bid": 0.25, "countries": ["de"]})
    assert (put.status_code, put.json()["existed"]) == (201, False)
    shown = served.get(path)
    assert shown.json()["ad_id"] == ad_id
    assert shown.json()["countries"] == ["DE"]
    found = served.post("/v1/retrieve", {"query": "gizmo", "min_seq": put.json()["seq"]}).json()
    assert found["ads"][0]["ad_id"] == ad_id
    patch = served.ask("PATCH", path, {"bid": None, "status": "Paused", "audiences": ["vip"]})
    assert patch.json() == {"ad_id": ad_id, "seq": put.json()["seq"] + 1, "existed": True}
    now = served.get(path).json()
    assert (now["bid"], now["status"], now["audiences"]) == (None, "paused", ["vip"])
    assert ad_id not in [ad["ad_id"] for ad in served.post("/v1/retrieve", {"query": "gizmo"}).json()["ads"]]
    again = served.ask("PUT", path, now | {"title": "Blue gizmo"})
    assert (again.status_code, again.json()["existed"]) == (200, True)
    assert served.get(path).json() == now | {"title": "Blue gizmo"}
    assert served.ask("DELETE", path).json()["existed"] is True
    gone = served.ask("DELETE", path)
    assert (gone.status_code, gone.json()["existed"]) == (200, False)
    assert_problem(served.get(path), 404, "unknown_ad", "ad_id")
    assert_problem(served.ask("PATCH", path, {"bid": 1}), 404, "unknown_ad", "ad_id")


def test_keywords_that_an_ads_own_negatives_make_useless_are_told(served):
    ad = {"title": "Red hose", "keywords": ["[free hose]", "hose", '"免费水管"'], "negative_keywords": ["free", "免费"]}
    useless = [{"keyword": "[free hose]", "negative": "free"}, {"keyword": '"免费水管"', "negative": "免费"}]
    assert served.ask("PUT", "/v1/ads/useless", ad).json()["conflicts"] == useless
    assert "conflicts" not in served.ask("PATCH", "/v1/ads/useless", {"bid": 1}).json()
    assert "conflicts" not in served.ask("PATCH", "/v1/ads/useless", {"negative_keywords": ["[free]"]}).json()
    patched = served.ask("PATCH", "/v1/ads/useless", {"keywords": ["[free]", "red"]}).json()
    assert patched["conflicts"] == [{"keyword": "[free]", "negative": "[free]"}]
    many = [f"number {at}" for at in range(1_000)]
    told = served.ask("PUT", "/v1/ads/useless", ad | {"keywords": many, "negative_keywords": many[::100]}).json()
    assert [each["keyword"] for each in told["conflicts"]] == many[::100]
    assert "conflicts" not in served.ask("DELETE", "/v1/ads/useless").json()


WRONG_PUTS = [
    ({}, "missing_field", "title"),
    ({"title": ""}, "invalid_value", "title"),
    ({"title": " "}, "invalid_value", "title"),
    ({"title": "x", "colour": "red"}, "unknown_field", "colour"),
    ({"title": "x", "ad_id": "other"}, "invalid_value", "ad_id"),
    ({"title": "x", "bid": -1}, "invalid_value", "bid"),
    (b'{"title": "x", "bid": 1e999}', "invalid_value", "bid"),
    ({"title": "x", "bid": "0.5"}, "invalid_value", "bid"),
    ({"title": "x", "status": "asleep"}, "invalid_value", "status"),
    ({"title": "x", "countries": ["EU"]}, "invalid_value", "countries"),
    ({"title": "x", "countries": "DE"}, "invalid_value", "countries"),
    ({"title": "x", "day_parts": ["always"]}, "invalid_value", "day_parts"),
    ({"title": "x", "keywords": ["k"] * 1_001}, "invalid_value", "keywords"),
    ({"title": "x\u0000"}, "invalid_value", "title"),
    ({"title": "长" * 10_001}, "invalid_value", "title"),
    ({"title": "x", "payload": {"": 1}}, "invalid_value", "payload"),
    ({"title": "x", "payload": {"title": 1}}, "invalid_value", "payload"),
    ({"title": "x", "payload": [1]}, "invalid_value", "payload"),
    ({"title": "x", "landing_spans": [{"text": "t", "confidence": 2}]}, "invalid_value", "landing_spans[0].confidence"),
    ({"title": "x", "landing_spans": [{"text": "t", "sure": 1}]}, "unknown_field", "landing_spans[0].sure"),
]


@pytest.mark.parametrize(("body", "code", "field"), WRONG_PUTS)
def test_wrong_ads_change_nothing(served, body, code, field):
    seq = served.service.seq
    assert assert_problem(served.ask("PUT", "/v1/ads/wrong", body), 400, code, field)["cure"]
    assert served.service.engine.ad("wrong") is None
    assert served.service.seq == seq


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "invalid_value", ""),
        ({"title": None}, "invalid_value", "title"),
        ({"ad_id": "x"}, "unknown_field", "ad_id"),
        ({"bid": -1}, "invalid_value", "bid"),
        ({"payload": {" ": 1}}, "invalid_value", "payload"),
        ({"languages": ["xx-yy-zz-q"]}, "invalid_value", "languages"),
    ],
)
def test_wrong_patches_change_nothing(served, body, code, field):
    before = served.service.engine.ad("pan")
    assert_problem(served.ask("PATCH", "/v1/ads/pan", body), 400, code, field)
    assert served.service.engine.ad("pan") == before


@pytest.mark.parametrize("ad_id", ["a%09b", "%E2%90%A3", "x" * 257])
def test_wrong_ids(served, ad_id):
    assert_problem(served.ask("PUT", f"/v1/ads/{ad_id}", {"title": "x"}), 400, "invalid_value", "ad_id")


def test_an_address_that_is_no_utf8(served):
    async def put(path: bytes):
        sent, scope = [], {
            "type": "http", "method": "PUT", "path": "/v1/ads/\ufffd", "raw_path": path, "query_string": b"",
            "headers": [], "http_version": "1.1", "scheme": "http", "server": ("test", 80), "root_path": "",
        }  # fmt: skip

        async def receive():
            return {"type": "http.request", "body": b'{"title": "x"}', "more_body": False}

        async def send(message):
            sent.append(message)

        await served.app(scope, receive, send)
        return sent

    start, body = served.run(put(b"/v1/ads/%ff"))
    assert start["status"] == 400
    assert json.loads(body["body"])["code"] == "invalid_utf8"


# Conditional and repeated requests.


def test_an_ad_that_changed_meanwhile_is_not_changed(served):
    served.ask("PUT", "/v1/ads/cond", {"title": "Red pan"})
    tag = served.get("/v1/ads/cond").headers["etag"]
    assert served.ask("PATCH", "/v1/ads/cond", {"bid": 1}, headers={"If-Match": tag}).status_code == 200
    for method, body in (("PATCH", {"bid": 2}), ("PUT", {"title": "Blue pan"}), ("DELETE", None)):
        answer = served.ask(method, "/v1/ads/cond", body, headers={"If-Match": tag})
        assert_problem(answer, 412, "changed_meanwhile", "If-Match")
    assert served.get("/v1/ads/cond").json()["bid"] == 1
    for stated in (tag, "*"):
        answer = served.ask("PUT", "/v1/ads/cond-none", {"title": "x"}, headers={"If-Match": stated})
        assert_problem(answer, 412, "changed_meanwhile", "If-Match")
    assert served.ask("PATCH", "/v1/ads/cond", {"bid": 2}, headers={"If-Match": "*"}).status_code == 200


def test_of_many_conditional_changes_at_once_one_wins(served):
    served.ask("PUT", "/v1/ads/race", {"title": "Red pan", "bid": 0})
    tag = served.get("/v1/ads/race").headers["etag"]
    asks = [
        lambda http, bid=bid: http.patch("/v1/ads/race", json={"bid": bid}, headers={"If-Match": tag})
        for bid in range(1, 20)
    ]
    answers = served.together(*asks)
    won = [at for at, answer in enumerate(answers, start=1) if answer.status_code == 200]
    assert len(won) == 1
    assert [answer.status_code for answer in answers].count(412) == 18
    assert served.get("/v1/ads/race").json()["bid"] == won[0]


def test_a_request_sent_again_is_applied_once(served):
    sent = {"headers": {"Idempotency-Key": "k-1"}}
    first = served.ask("PUT", "/v1/ads/once", {"title": "Red pan"}, **sent)
    seq = served.service.seq
    again = served.ask("PUT", "/v1/ads/once", {"title": "Red pan"}, **sent)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert served.service.seq == seq
    assert_problem(served.ask("PUT", "/v1/ads/once", {"title": "Blue"}, **sent), 422, "key_reused", "Idempotency-Key")
    assert_problem(served.ask("PUT", "/v1/ads/two", {"title": "Red pan"}, **sent), 422, "key_reused", "Idempotency-Key")
    assert_problem(served.ask("DELETE", "/v1/ads/once", **sent), 422, "key_reused", "Idempotency-Key")


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x7fb"])
def test_wrong_idempotency_keys(served, key):
    answer = served.ask("DELETE", "/v1/ads/none", headers={"Idempotency-Key": key})
    assert_problem(answer, 400, "invalid_value", "Idempotency-Key")


def test_equal_requests_at_the_same_time(served, monkeypatch):
    seq = served.service.seq
    asks = [
        lambda http, at=at: http.put(
            f"/v1/ads/t{at // 3}", json={"title": "Red pan"}, headers={"Idempotency-Key": f"t{at // 3}"}
        )
        for at in range(60)
    ]
    answers = served.together(*asks)
    assert {answer.status_code for answer in answers} <= {201, 409}
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["code"] == "key_in_use"
            assert answer.headers["retry-after"] == "1"
    assert served.service.seq == seq + 20


def test_a_refused_request_may_be_sent_again_with_its_key(served):
    sent = {"headers": {"Idempotency-Key": "k-2"}}
    assert_problem(served.ask("PATCH", "/v1/ads/later", {"bid": 1}, **sent), 404, "unknown_ad", "ad_id")
    served.ask("PUT", "/v1/ads/later", {"title": "Red pan"})
    assert served.ask("PATCH", "/v1/ads/later", {"bid": 1}, **sent).status_code == 200


def test_kept_answers_expire_and_are_bounded(serve):
    served = serve(replace(ROOMY, max_idempotency_keys=2, idempotency_hours=1))
    now = [0.0]
    served.service.replays.clock = lambda: now[0]

    def delete(key):
        return served.ask("DELETE", "/v1/ads/none", headers={"Idempotency-Key": key})

    assert [delete(key).status_code for key in "ab"] == [200, 200]
    assert_problem(delete("c"), 503, "overloaded", "Idempotency-Key")
    assert delete("a").headers["idempotency-replayed"] == "true"
    now[0] = 3_601.0
    assert "idempotency-replayed" not in delete("a").headers


# Bulks.


def bulk(served, lines, query="", **more):
    content = lines if isinstance(lines, bytes) else b"".join(
        (line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode()) + b"\n" for line in lines
    )  # fmt: skip
    answer = served.post(f"/v1/ads:bulk{query}", content, **more)
    if answer.status_code >= 400:
        return answer, [], {}
    *results, last = [json.loads(line) for line in answer.text.splitlines()]
    assert int(answer.headers["intently-failed"]) == last["summary"]["failed"]
    assert sum("error" in each for each in results) == last["summary"]["failed"]
    return answer, results, last["summary"]


def put_line(ad_id, title="Red pan 红色", **more):
    return {"op": "put", "ad": {"ad_id": ad_id, "title": title} | more}


def test_a_bulk_in_which_all_goes_well(served):
    lines = [put_line("b1"), put_line("b2", advertiser="锅具"), {"op": "patch", "ad_id": "b1", "fields": {"bid": 2}}]
    lines += [{"op": "delete", "ad_id": "b2"}, {"op": "delete", "ad_id": "never"}]
    answer, results, summary = bulk(served, lines)
    assert answer.status_code == 200
    assert [(each["line"], each["status"]) for each in results] == [(at, 200) for at in range(1, 6)]
    assert summary["succeeded"] == 5
    assert summary["seq"] == served.service.seq
    assert served.service.engine.ad("b1").bid == 2
    assert served.service.engine.ad("b2") is None


def test_a_bulk_with_wrong_lines_applies_the_others(served):
    lines = [
        put_line("c1"),
        b"{",
        put_line("c2", bid=-1),
        put_line("c3", countries=["EU"]),
        put_line("c6", payload={"": 1}),
        {"op": "patch", "ad_id": "c-none", "fields": {"bid": 1}},
        {"op": "patch", "ad_id": "c3", "fields": {"bid": 1}},
        b'{"op": "put", "ad": {"ad_id": "c4", "title": "\xff"}}',
        {"op": "turn", "ad_id": "c1"},
        {"op": "delete"},
        b"   ",
        put_line("c5"),
        {"op": "delete", "ad_id": "c1"},
        {"op": "patch", "ad_id": "c1", "fields": {"bid": 1}},
        put_line(" "),
        {"op": "patch", "ad_id": "c5", "fields": {"title": "蓝色", "bid": 3}},
    ]
    answer, results, summary = bulk(served, lines)
    assert answer.status_code == 207
    told = {each["line"]: (each["status"], each.get("error", {}).get("code"), each.get("error", {}).get("field"))
            for each in results}  # fmt: skip
    assert told == {
        1: (200, None, None),
        2: (400, "malformed_json", None),
        3: (400, "invalid_value", "ad.bid"),
        4: (400, "invalid_value", "ad.countries"),
        5: (400, "invalid_value", "ad.payload"),
        6: (404, "unknown_ad", "ad_id"),
        7: (404, "unknown_ad", "ad_id"),
        8: (400, "invalid_utf8", None),
        9: (400, "invalid_value", "op"),
        10: (400, "missing_field", "ad_id"),
        12: (200, None, None),
        13: (200, None, None),
        14: (404, "unknown_ad", "ad_id"),
        15: (400, "invalid_value", "ad.ad_id"),
        16: (200, None, None),
    }
    assert summary["failed"] == 11
    assert served.service.engine.ad("c1") is None
    assert (served.service.engine.ad("c5").title, served.service.engine.ad("c5").bid) == ("蓝色", 3)


def test_a_bulk_that_stops_at_the_first_wrong_line(served):
    lines = [put_line("d1"), put_line("d2"), put_line("d3", bid=-1), put_line("d4")]
    answer, results, summary = bulk(served, lines, "?on_error=stop")
    assert answer.status_code == 207
    assert [each["line"] for each in results] == [1, 2, 3]
    assert summary["stopped"]
    assert served.service.engine.ad("d2") is not None
    assert served.service.engine.ad("d4") is None


def test_a_thousand_wrong_lines_take_two_attempts(served, monkeypatch):
    applied = served.service.current.apply
    calls = []
    monkeypatch.setattr(served.service.current, "apply", lambda changes: calls.append(1) or applied(changes))
    lines = [put_line(f"e{at}", countries=["EU"] if at % 2 else []) for at in range(300)]
    _, _, summary = bulk(served, lines)
    assert (summary["succeeded"], summary["failed"], len(calls)) == (150, 150, 2)


def test_bulks_in_chunks_end_as_one_by_one(serve):
    lines = [put_line(f"f{at % 7}", f"Red pan {at}") for at in range(25)]
    lines += [{"op": "patch", "ad_id": f"f{at % 9}", "fields": {"bid": at}} for at in range(20)]
    lines += [{"op": "delete", "ad_id": "f3"}, {"op": "patch", "ad_id": "f3", "fields": {"bid": 1}}]
    states = []
    for chunk in (1, 4, 1000):
        served = serve(replace(ROOMY, bulk_chunk=chunk))
        _, results, _ = bulk(served, lines)
        states.append(([each["status"] for each in results], served.service.engine.catalog.table.sort_by("ad_id")))
    assert states[0][0] == states[1][0] == states[2][0]
    assert states[0][1].equals(states[1][1]) and states[0][1].equals(states[2][1])


def test_bulks_have_limits(serve):
    served = serve(replace(ROOMY, max_bulk_lines=3, bulk_chunk=2, max_bulks=1))
    answer, results, summary = bulk(served, [put_line(f"g{at}") for at in range(6)])
    assert answer.status_code == 207
    assert [each["status"] for each in results] == [200, 200, 200, 413]
    assert summary["stopped"]
    assert served.service.engine.ad("g2") is not None
    assert served.service.engine.ad("g3") is None
    served.service.bulks = 1
    assert_problem(bulk(served, [put_line("g9")])[0], 503, "overloaded")
    served.service.bulks = 0


@pytest.mark.parametrize("content", [b"", b"\n\n \n"])
def test_a_bulk_without_lines(served, content):
    assert_problem(bulk(served, content)[0], 400, "malformed_json")


def test_wrong_ways_to_send_a_bulk(served):
    line = [put_line("h1")]
    assert_problem(bulk(served, line, "?on_error=cry")[0], 400, "invalid_value", "on_error")
    assert_problem(bulk(served, line, headers={"Idempotency-Key": "x"})[0], 400, "invalid_value", "Idempotency-Key")
    assert_problem(
        bulk(served, line, headers={"Content-Type": "text/html"})[0], 415, "wrong_content_type", "Content-Type"
    )
    assert served.service.engine.ad("h1") is None


@given(st.lists(st.binary(max_size=30), max_size=12), st.lists(st.integers(1, 9), min_size=1, max_size=9))
@settings(max_examples=80)
def test_lines_do_not_depend_on_how_they_arrive(parts, cuts):
    content = b"\n".join(parts)

    async def stream():
        at = 0
        while at < len(content):
            for cut in cuts:
                yield content[at : at + cut]
                at += cut

    async def read():
        return [line async for line in lines_of(stream(), 20)]

    expected = content.split(b"\n")
    expected = expected[:-1] if expected[-1] == b"" else expected
    shortened = [None if len(line) > 20 else line.removesuffix(b"\r") for line in expected]
    assert asyncio.run(read()) == shortened


# Listing.


def test_pages_follow_each_other(serve):
    served = serve()
    for limit in (1, 5, 12, 100):
        ids, cursor = [], None
        while True:
            page = served.get("/v1/ads", params={"limit": limit} | ({"cursor": cursor} if cursor else {})).json()
            ids += [ad["ad_id"] for ad in page["ads"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert ids == sorted(ad.ad_id for ad in ADS)
    paused = served.get("/v1/ads", params={"status": "paused"}).json()
    assert [ad["ad_id"] for ad in paused["ads"]] == ["paused"]


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"limit": "0"}, "invalid_value", "limit"),
        ({"limit": "1001"}, "invalid_value", "limit"),
        ({"limit": "９"}, "invalid_value", "limit"),
        ({"limit": "1" * 5000}, "invalid_value", "limit"),
        ({"status": "gone"}, "invalid_value", "status"),
        ({"cursor": "!!"}, "invalid_cursor", "cursor"),
        ({"cursor": "é"}, "invalid_cursor", "cursor"),
        ({"cursor": "WyJhIl0"}, "invalid_cursor", "cursor"),
        ({"page": "2"}, "unknown_field", "page"),
    ],
)
def test_wrong_listings(served, given, code, field):
    assert_problem(served.get("/v1/ads", params=given), 400, code, field)


def test_a_cursor_belongs_to_its_listing(served):
    cursor = served.get("/v1/ads", params={"limit": 1}).json()["next"]
    answer = served.get("/v1/ads", params={"limit": 1, "status": "active", "cursor": cursor})
    assert_problem(answer, 400, "invalid_cursor", "cursor")


_VALUES = (
    st.dictionaries(st.text(max_size=3), st.none() | st.text(max_size=3) | st.integers())
    | st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.lists(st.text(max_size=4))
)
_NAMES = st.sampled_from(["title", "bid", "status", "countries", "languages", "day_parts", "keywords", "payload"])


@given(body=st.dictionaries(_NAMES, _VALUES, max_size=5), ad_id=st.text(min_size=1, max_size=6))
@settings(max_examples=100)
def test_any_ad_is_taken_whole_or_refused_whole(served, body, ad_id):
    path = f"/v1/ads/{quote(ad_id.encode(errors='surrogatepass'), safe='')}"
    before = served.service.seq
    answer = served.ask("PUT", path, body)
    assert answer.status_code in (200, 201, 400, 404), answer.text
    assert (served.service.seq == before) == (answer.status_code >= 400)
    answer = served.ask("PATCH", path, body)
    assert answer.status_code in (200, 400, 404), answer.text
