"""Lists that ads share, over HTTP: what they keep out, and who may change them."""

import json

import pytest

from intently.live.changes import MAX_LISTED
from intently.serve.keys import digest_of
from tests.engine.small_engine import ids
from tests.serve.serving import Served, assert_problem


@pytest.fixture
def service(serve):
    return serve()


def found(served, query):
    return [ad["ad_id"] for ad in served.post("/v1/retrieve", {"query": query, "k": 50}).json()["ads"]]


def put(served, name, *values, **more):
    return served.ask("PUT", f"/v1/lists/{name}", {"values": list(values)}, **more)


@pytest.mark.parametrize(
    ("name", "address"),
    [("account", "account"), ("summer/sale", "summer%2Fsale"), ("否定词 a", "%E5%90%A6%E5%AE%9A%E8%AF%8D%20a")],
)
def test_a_list_comes_changes_and_goes(service, name, address):
    assert_problem(service.get(f"/v1/lists/{address}"), 404, "unknown_list", "name")
    assert service.get("/v1/lists").json()["lists"] == []
    first = put(service, address, " free ", '"for rent"', "free", "[二手]", "")
    assert (first.status_code, first.json()["name"], first.json()["existed"]) == (201, name, False)
    told = service.get(f"/v1/lists/{address}")
    assert told.json() == {"name": name, "values": ["free", '"for rent"', "[二手]"], "seq": first.json()["seq"]}
    assert service.get("/v1/lists").json()["lists"] == [{"name": name, "num_values": 3}]
    second = put(service, address, "used")
    assert (second.status_code, second.json()["existed"]) == (200, True)
    assert second.json()["seq"] == service.service.seq > first.json()["seq"]
    assert service.get(f"/v1/lists/{address}").headers["etag"] != told.headers["etag"]
    after = second.json()["seq"] + 1
    for existed in (True, False):
        gone = service.ask("DELETE", f"/v1/lists/{address}").json()
        assert gone == {"name": name, "seq": after, "existed": existed}
    assert service.service.engine.snapshot.lists.values == {}


def test_what_a_list_blocks_is_out_with_the_next_answer(service):
    assert {"robot", "pan"} <= set(found(service, "red robot pan"))
    put(service, "blocked%20ads", "robot")
    assert "robot" not in found(service, "red robot pan")
    put(service, "blocked%20terms", "扫地机器人")
    assert found(service, "扫地机器人") == []
    verdict = service.post("/v1/explain", {"query": "扫地机器人", "ad_ids": ["zh-robot"]}).json()["verdicts"][0]
    assert "blocked" in verdict["told"]
    for name in ("blocked%20ads", "blocked%20terms"):
        service.ask("DELETE", f"/v1/lists/{name}")
    assert "robot" in found(service, "red robot pan")
    service.ask("PATCH", "/v1/ads/pan", {"negative_lists": ["account"]})
    put(service, "account", "red robot")
    assert "pan" not in found(service, "red robot pan")
    engine = service.service.engine
    assert found(service, "red robot pan") == ids(engine.retrieve("red robot pan", 50))


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"values": []}, "invalid_value", "values"),
        ({"values": [" ", ""]}, "invalid_value", "values"),
        ({"values": "free"}, "invalid_value", "values"),
        ({"values": ["free", 3]}, "invalid_value", "values[1]"),
        ({"values": ["?!"]}, "invalid_value", "values"),
        ({"values": ["a"] * (MAX_LISTED + 1)}, "invalid_value", "values"),
        ({}, "missing_field", "values"),
        ({"values": ["free"], "name": "x"}, "unknown_field", "name"),
        (b"{", "malformed_json", ""),
    ],
)
def test_wrong_lists_change_nothing(served, body, code, field):
    seq = served.service.seq
    assert_problem(served.ask("PUT", "/v1/lists/account", body), 400, code, field)
    assert served.service.seq == seq
    assert served.get("/v1/lists").json()["lists"] == []


@pytest.mark.parametrize("name", ["%20", "x" * 257, "%00"])
def test_wrong_names(served, name):
    for more in ({}, {"headers": {"If-Match": "*"}}):
        assert_problem(put(served, name, "free", **more), 400, "invalid_value", "name")
        assert_problem(served.ask("DELETE", f"/v1/lists/{name}", **more), 400, "invalid_value", "name")
    assert_problem(served.get(f"/v1/lists/{name}"), 404, "unknown_list", "name")


def test_a_name_that_is_no_utf8(served):
    assert_problem(served.get("/v1/lists/%ff"), 400, "invalid_utf8", "name")


def test_a_list_that_changed_meanwhile_is_not_changed(service):
    put(service, "account", "free")
    tag = service.get("/v1/lists/account").headers["etag"]
    put(service, "account", "used")
    late = {"headers": {"If-Match": tag}}
    assert_problem(put(service, "account", "new", **late), 412, "changed_meanwhile", "If-Match")
    assert_problem(service.ask("DELETE", "/v1/lists/account", **late), 412, "changed_meanwhile", "If-Match")
    now = {"headers": {"If-Match": service.get("/v1/lists/account").headers["etag"]}}

    def ask(value):
        return lambda http: http.put("/v1/lists/account", content=json.dumps({"values": [value]}), **now)

    answers = service.together(*(ask(f"word {at}") for at in range(8)))
    assert sorted(each.status_code for each in answers) == [200] + [412] * 7
    assert_problem(put(service, "none", "a", headers={"If-Match": "*"}), 412, "changed_meanwhile", "If-Match")


def test_a_list_sent_again_is_applied_once(service):
    key = {"headers": {"Idempotency-Key": "k1"}}
    first, again = put(service, "account", "free", **key), put(service, "account", "free", **key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert service.service.seq == first.json()["seq"]
    assert_problem(put(service, "account", "used", **key), 422, "key_reused", "Idempotency-Key")


def test_who_may_see_and_change_lists(engine_directory, tmp_path):
    secrets = {name: f"secret-{name}" for name in ("reader", "writer", "scoped")}
    file = tmp_path / "keys.toml"
    file.write_text(
        "".join(
            f'[[key]]\nname = "{name}"\nsha256 = "{digest_of(secret)}"\nrole = "{role}"\nadvertiser = "{scope}"\n'
            for (name, secret), role, scope in zip(
                secrets.items(), ("read", "write", "write"), ("", "", "锅具"), strict=True
            )
        )
    )
    served = Served(engine_directory, keys=file)

    def by(name):
        return {"headers": {"Authorization": f"Bearer {secrets[name]}"}}

    try:
        assert_problem(put(served, "account", "free"), 401, "unauthorized")
        assert_problem(put(served, "account", "free", **by("reader")), 403, "forbidden")
        assert put(served, "account", "free", **by("writer")).status_code == 201
        assert served.get("/v1/lists/account", **by("reader")).json()["values"] == ["free"]
        for method, path in (("GET", "/v1/lists"), ("GET", "/v1/lists/account"), ("DELETE", "/v1/lists/account")):
            assert_problem(served.ask(method, path, **by("scoped")), 403, "forbidden")
        assert_problem(put(served, "account", "used", **by("scoped")), 403, "forbidden")
        assert served.service.engine.snapshot.lists.values == {"account": ("free",)}
    finally:
        served.close()
