"""Keys: roles, advertisers, quotas, rotation; and secrets stay out of logs."""

import logging

import pytest

from intently.errors import SettingsError
from intently.serve.keys import Bucket, Keys, Role, digest_of, new_secret, read_keys
from tests.serve.serving import ROOMY, assert_problem

SECRETS = {name: f"intently_{name}-secret" for name in ("reader", "writer", "admin", "scoped", "small")}


def entry(name, role, *more):
    return "\n".join(
        ["[[key]]", f'name = "{name}"', f'sha256 = "{digest_of(SECRETS[name])}"', f'role = "{role}"', *more, ""]
    )


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(
        entry("reader", "read") + entry("writer", "write") + entry("admin", "admin")
        + entry("scoped", "write", 'advertiser = "锅具"')
        + entry("small", "read", "quota_ms_per_s = 0.001", "burst_ms = 0.5"),
        encoding="utf-8",
    )  # fmt: skip
    return path


@pytest.fixture
def served(serve, key_file):
    return serve(ROOMY, keys=key_file)


def by(name):
    return {"headers": {"Authorization": f"Bearer {SECRETS[name]}"}}


def test_without_a_key_only_health_and_the_description(served):
    for path in ("/livez", "/readyz", "/docs", "/openapi.json"):
        assert served.get(path).status_code == 200
    for path in ("/v1/ads", "/v1/limits", "/metrics", "/v1/generations"):
        answer = served.get(path)
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    for wrong in ("Bearer nonsense", "Bearer ", "Basic " + SECRETS["admin"], SECRETS["admin"], "Bearer \u00e9"):
        answer = served.get("/v1/limits", headers={"Authorization": wrong.encode("utf-8")})
        assert_problem(answer, 401, "unauthorized")


def test_each_role_may_do_what_the_ones_before_it_may(served):
    query, ad, generation = {"query": "red"}, {"title": "x"}, {"generation": "none"}
    for name, can_write, is_admin in (("reader", False, False), ("writer", True, False), ("admin", True, True)):
        assert served.post("/v1/retrieve", query, **by(name)).status_code == 200
        put = served.ask("PUT", f"/v1/ads/by-{name}", ad, **by(name))
        rolled = served.post("/v1/generations", generation, **by(name))
        if not can_write:
            assert_problem(put, 403, "forbidden")
            assert_problem(served.post("/v1/ads:bulk", b"{}", **by(name)), 403, "forbidden")
        else:
            assert put.status_code == 201
        assert (rolled.status_code == 400) == is_admin
        if not is_admin:
            assert_problem(rolled, 403, "forbidden")


def test_a_scoped_key_neither_sees_nor_changes_ads_of_others(served):
    mine = by("scoped")
    before = served.service.engine.catalog.table
    assert_problem(served.get("/v1/ads/pan", **mine), 404, "unknown_ad", "ad_id")
    assert_problem(served.ask("PATCH", "/v1/ads/pan", {"bid": 1}, **mine), 404, "unknown_ad", "ad_id")
    assert served.ask("DELETE", "/v1/ads/pan", **mine).json()["existed"] is False
    assert_problem(
        served.ask("PUT", "/v1/ads/pan", {"title": "x", "advertiser": "锅具"}, **mine), 403, "forbidden", "ad_id"
    )
    assert_problem(served.ask("PUT", "/v1/ads/new", {"title": "x"}, **mine), 403, "forbidden", "advertiser")
    for filters in (None, 'advertiser == ""', 'advertiser == "锅具" or status == "active"'):
        assert served.post("/v1/retrieve", {"query": "red", "filters": filters}, **mine).json()["ads"] == []
    assert_problem(served.post("/v1/explain", {"query": "red", "ad_ids": ["pan"]}, **mine), 403, "forbidden")
    assert_problem(served.get("/v1/ads?advertiser=pans", **mine), 403, "forbidden", "advertiser")
    lines = b'{"op":"delete","ad_id":"pan"}\n{"op":"patch","ad_id":"pan","fields":{"bid":1}}\n'
    lines += b'{"op":"put","ad":{"ad_id":"pan","title":"x","advertiser":"\xe9\x94\x85\xe5\x85\xb7"}}\n'
    answer = served.post("/v1/ads:bulk", lines, **mine)
    assert answer.status_code == 207
    assert served.service.engine.catalog.table.equals(before)

    assert served.ask("PUT", "/v1/ads/wok", {"title": "炒锅", "advertiser": "锅具"}, **mine).status_code == 201
    assert served.ask("PATCH", "/v1/ads/wok", {"bid": 1}, **mine).status_code == 200
    found = served.post("/v1/retrieve", {"query": "炒锅 red", "k": 99, "filters": "bid == 1"}, **mine).json()["ads"]
    assert [ad["ad_id"] for ad in found] == ["wok"]
    assert_problem(served.ask("PATCH", "/v1/ads/wok", {"advertiser": "x"}, **mine), 403, "forbidden", "advertiser")
    assert [ad["ad_id"] for ad in served.get("/v1/ads", **mine).json()["ads"]] == ["wok"]
    assert served.ask("DELETE", "/v1/ads/wok", **mine).json()["existed"] is True


def test_who_has_used_up_a_quota_waits(served):
    first = served.post("/v1/retrieve", {"query": "red robot"}, **by("small"))
    assert first.status_code == 200
    assert first.headers["ratelimit-policy"] == '"model-ms";q=0;w=500'
    answer = served.post("/v1/retrieve", {"query": "red robot"}, **by("small"))
    assert_problem(answer, 429, "over_quota")
    assert int(answer.headers["retry-after"]) > 1
    assert served.post("/v1/retrieve", {"query": "red robot"}, **by("reader")).status_code == 200
    assert "ratelimit" not in served.get("/v1/limits", **by("reader")).headers


def test_a_dry_run_only_counts(served, key_file):
    key_file.write_text(key_file.read_text("utf-8") + "dry_run = true\n", encoding="utf-8")
    assert served.service.keys.reload()
    for _ in range(3):
        assert served.post("/v1/retrieve", {"query": "red robot"}, **by("small")).status_code == 200
    assert 'intently_shed_total{reason="quota_dry_run"} 2.0' in served.get("/metrics", **by("admin")).text


def test_a_bucket_fills_at_its_rate():
    now = [0.0]
    bucket = Bucket(10.0, 50.0, lambda: now[0])
    bucket.use(70.0)
    assert (bucket.left_ms, bucket.wait_s) == (-20.0, 2.0)
    now[0] = 3.0
    assert (bucket.left_ms, bucket.wait_s) == (10.0, 0.0)
    now[0] = 99.0
    assert bucket.left_ms == 50.0


def test_keys_rotate_without_a_restart(served, key_file):
    old, new = by("reader"), new_secret()
    told = key_file.read_text("utf-8")
    rotated = told + f'[[key]]\nname = "reader"\nsha256 = "{digest_of(new)}"\nrole = "read"\n'
    key_file.write_text(rotated, encoding="utf-8")
    assert served.service.keys.reload()
    assert not served.service.keys.reload()
    for headers in (old["headers"], {"Authorization": f"Bearer {new}"}):
        assert served.get("/v1/limits", headers=headers).status_code == 200
    key_file.write_text(rotated.replace(digest_of(SECRETS["reader"]), "0" * 64), encoding="utf-8")
    served.service.keys.reload()
    assert_problem(served.get("/v1/limits", **old), 401, "unauthorized")


def test_a_file_of_keys_that_is_wrong_leaves_the_old_keys(served, key_file):
    key_file.write_text("[[key]]\nname = 1\n")
    with pytest.raises(SettingsError, match=r"keys\.toml: key 1: 'name'"):
        served.service.keys.reload()
    assert served.get("/v1/limits", **by("reader")).status_code == 200


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("[[key", "not valid TOML"),
        ("key = 3", "expected tables"),
        ("[keys]\n", "expected tables"),
        ('[[key]]\nname = "a"\n', "key 1: 'sha256' takes 64"),
        (f'[[key]]\nname = "a"\nsha256 = "{"0" * 64}"\nrole = "root"\n', "'role' is 'root'"),
        (f'[[key]]\nname = "a"\nsha256 = "{"0" * 64}"\nquota_ms_per_s = -1.0\n', "quota_ms_per_s"),
        (f'[[key]]\nname = "a"\nsha256 = "{"0" * 64}"\nsecret = "x"\n', "unknown setting 'secret'"),
    ],
)
def test_wrong_files_of_keys(tmp_path, told, says):
    with pytest.raises(SettingsError, match=says):
        read_keys(tmp_path / "keys.toml", told.encode())
    with pytest.raises(SettingsError, match="cannot be read"):
        Keys(tmp_path / "none.toml")


def test_roles():
    assert [Role.WRITE.includes(role) for role in Role] == [True, True, False]


def test_no_secret_is_logged_and_every_write_is(served, caplog):
    with caplog.at_level(logging.DEBUG):
        served.ask("PUT", "/v1/ads/logged", {"title": "x"}, **by("writer"))
        served.ask("PUT", "/v1/ads/logged", {"title": "x", "no": 1}, **by("writer"))
        served.get("/v1/limits", headers={"Authorization": "Bearer intently_wrong-secret"})
        served.ask("DELETE", "/v1/ads/logged", **by("writer"))
    records = [record for record in caplog.records if record.name == "intently.serve.audit"]
    assert [(one.kind, one.principal, one.seq) for one in records] == [
        ("put", "writer", served.service.seq - 1), ("delete", "writer", served.service.seq),
    ]  # fmt: skip
    everything = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    assert "-secret" not in everything
    assert all(record.request_id for record in records)
