"""The inspector's pages: what they tell, whatever titles and queries hold, and for whom."""

import asyncio
import base64
import json
import re
import threading
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from intently.engine.fill_cache import fill_cache
from intently.serve.inspector.drawings import bump, spark, waterfall
from intently.serve.inspector.history import History, quantile_ms
from intently.serve.inspector.pages import short, whole
from intently.serve.inspector.routes import Inspector, ad_link
from intently.serve.problems import Problem
from intently.types import Channel, Ranking, Reason, ScoredAd
from tests.engine.small_engine import ADS, make_engine, save
from tests.serve.serving import Served

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>' onfocus='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "‮evil‬ title⁧ \u0007",
    "</title></textarea></style><!--",
    "javascript:alert(1)",
    "扫地机器人 ﷽ مرحبا 👩‍👩‍👧‍👦",
]
VOID = {"meta", "link", "input", "br", "img", "rect", "line", "circle", "polyline"}
PAGES = [
    "/", "/?q=red+robot+vacuum", "/?q=%E7%BA%A2%E8%89%B2&k=3&channel=lexical", "/ads/robot", "/ads/robot?q=red",
    "/live", "/live?every=5", "/ads/none", "/?q=red&vs_channel=dense&vs_beams=2", "/?q=red&k=0", "/?q=%3F!",
]  # fmt: skip


class Page(HTMLParser):
    """A page as a browser sees its structure: every tag closed, its elements, its text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(content)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag == "li" or self.open[-1] == tag:
            assert self.open[-1] == tag, (tag, self.open)
            self.open.pop()
        else:
            raise AssertionError(f"{tag} ends, but {self.open} is open")

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def assert_safe(answer) -> Page:
    """Assert that a page runs nothing, takes nothing from elsewhere, and can be used without a mouse or eyes."""
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(each.strip().split(" ", 1) for each in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"] and "script-src" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    told = Page(answer.text)
    ids = [attrs["id"] for _, attrs in told.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    labels = {attrs["for"] for attrs in told.all("label")}
    for name, attrs in told.tags:
        assert name not in ("script", "img", "iframe", "object", "embed", "base", "style")
        assert not [each for each in attrs if each.startswith("on") or each == "style"], attrs
        if name in ("a", "link", "form"):
            assert re.match(r"/(?!/)|#", attrs.get("href") or attrs.get("action") or ""), attrs
        if name in ("input", "select") and attrs.get("type") != "hidden":
            assert attrs["id"] in labels
        for each in ("aria-describedby", "aria-labelledby"):
            assert set((attrs.get(each) or "").split()) <= set(ids)
    assert [name for name, _ in told.tags if name in ("main", "h1")] == ["main", "h1"]
    assert len(told.all("table")) == len(told.all("caption"))
    assert all(attrs.get("scope") for attrs in told.all("th"))
    assert all(attrs.get("aria-hidden") or attrs.get("role") == "img" for attrs in told.all("svg"))
    typed = re.sub(r' value="[^"]*"', "", answer.text)  # which turns the direction within its own field alone
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08]", typed)
    return told


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_safe_and_accessible(served, path):
    told = assert_safe(served.get(path))
    assert told.all("html") == [{"lang": "en"}]


def test_an_answer_is_told_from_the_words_to_the_time(served):
    told = assert_safe(served.get("/", params={"q": "robto vacuum", "country": "DE", "exclude": "robot"}))
    assert re.search(r"robto\s+as\s+robot", told.text)
    for part in ("How the query was read", "Intentions", "The search for intentions", "Fusion", "Channels",
                 "Taken out by a rule", "Time", "generator", "prior", "so far"):  # fmt: skip
        assert part in told.text
    answer = served.post(
        "/v1/retrieve", {"query": "robto vacuum", "user": {"country": "DE"}, "exclude": ["robot"]}
    ).json()
    links = [attrs["href"] for attrs in told.all("a") if (attrs["href"] or "").startswith("/ads/")]
    first = [link.split("?")[0].removeprefix("/ads/") for link in links][: len(answer["ads"])]
    assert first == [ad["ad_id"] for ad in answer["ads"]]
    assert re.search(r"excluded\s*the request excludes this ad", told.text)
    assert "its status is paused" in told.text
    for stage in answer["timings_ms"]:
        assert stage in told.text


def test_an_engine_that_decodes_nothing_shows_what_is_near(make_student, tmp_path):
    from tests.nearness import near_intentions

    engine = make_engine(make_student(3))
    near = near_intentions(engine.student.embed(engine.intentions.texts, 24))
    silent = replace(near, guidance=replace(near.guidance, model_temperature=None))
    engine.intentions = replace(engine.intentions, near=silent)
    save(engine, tmp_path)
    served = Served(tmp_path)
    try:
        told = assert_safe(served.get("/?q=red"))
        assert "Nothing was decoded: the query has these word by word" in told.text
        assert "The search for intentions" not in told.text
        told = assert_safe(served.get("/?q=red&vs_reading=decoded"))
        assert "All channels, fused, decoded by the student" in told.text
        assert "The search for intentions" in told.text
    finally:
        served.close()


def test_an_engine_without_models_is_told_by_words(tmp_path):
    from tests.engine.test_without_models import make

    engine = make()
    save(engine, tmp_path)
    served = Served(tmp_path)
    try:
        told = assert_safe(served.get("/?q=red+robot+vacuum"))
        assert "There is no model: the query names these word by word" in told.text
        assert not [attrs for attrs in told.all("option") if attrs["value"] == "dense"]
        assert "This engine has no model" in assert_safe(served.get("/ads/robot?q=red")).text
        wrong = served.get("/?q=red&channel=dense")
        assert wrong.status_code == 400
        assert "no channel 'dense'" in assert_safe(wrong).text
    finally:
        served.close()


def test_two_answers_stand_beside_each_other(make_student, tmp_path):
    save(make_engine(make_student(4)), tmp_path)
    save(make_engine(make_student(3)), tmp_path)
    served = Served(tmp_path)
    try:
        served.ask("PUT", "/v1/ads/later", {"title": "Red pan, later"})
        now, before = [each["id"] for each in served.get("/v1/generations").json()["generations"]]
        told = assert_safe(
            served.get(f"/?q=red+pan&vs_generation={before}&vs_channel=lexical&vs_beams=3&vs_fusion=reciprocal")
        )
        assert f"Channel lexical, generation {before} as it was built, 3 beams, fused by reciprocal ranks" in told.text
        sides = told.text.split("How the query was read")[1:]
        assert len(sides) == 2
        assert f"generation {now}" in sides[0] and "Red pan, later" in sides[0]
        assert f"generation {before}" in sides[1] and "Red pan, later" not in sides[1]
        wrong = served.get("/?q=red&vs_generation=20200101T000000Z-0000-000000")
        assert wrong.status_code == 400
        assert "20200101T000000Z-0000-000000" in assert_safe(wrong).text
    finally:
        served.close()


def test_an_ad_is_told_with_its_verdict(served):
    told = assert_safe(served.get("/ads/de-bits", params={"q": "drill bit", "country": "FR"}))
    assert re.search(r"Not shown\s+because of country: it wants countries DE; the user's country is FR", told.text)
    assert "no: a rule took it out" in told.text
    told = assert_safe(served.get("/ads/bits?q=drill+bit"))
    assert re.search(r"Shown\s*: place \d", told.text)
    assert "no query cache" in told.text
    told = assert_safe(served.get("/ads/lamp?q=drill+bit&k=1"))
    assert "Not shown" in told.text
    assert "Drill bit for drill" in assert_safe(served.get("/ads/bits")).text


def test_head_queries_of_an_ad_lead_to_their_verdicts(make_student, tmp_path):
    engine = make_engine(make_student(3))
    fill_cache(engine, ["drill bit", "扫地机器人"], tmp_path / "cache.bin")
    save(engine, tmp_path / "engine", cache=tmp_path / "cache.bin")
    served = Served(tmp_path / "engine")
    try:
        told = assert_safe(served.get("/ads/bits"))
        assert "2 head queries of the query cache mean one of its intentions" in told.text
        assert "/ads/bits?q=drill%20bit" in [attrs["href"] for attrs in told.all("a")]
        assert "The query cache knew this query" in assert_safe(served.get("/?q=drill+bit")).text
    finally:
        served.close()


@pytest.mark.parametrize("ad_id", ["a/b c", "ä?#&", "100%25", "<b>", ".", ".."])
def test_every_id_has_a_page(served, ad_id):
    line = {"op": "put", "ad": {"ad_id": ad_id, "title": "Red gizmo"}}
    done = served.post("/v1/ads:bulk", json.dumps(line).encode(), headers={"Content-Type": "application/x-ndjson"})
    assert done.status_code == 200, done.text
    for answer in (served.get(ad_link(ad_id)), served.get("/ads", params={"ad_id": ad_id, "q": "red"})):
        assert answer.status_code == 200
        assert "Red gizmo" in assert_safe(answer).text
    line = {"op": "delete", "ad_id": ad_id}
    served.post("/v1/ads:bulk", json.dumps(line).encode(), headers={"Content-Type": "application/x-ndjson"})


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_nothing_else(served, text):
    payload = {"url": text, text: [text]}
    ad = {"title": f"gizmo {text}", "description": text, "keywords": [text], "advertiser": text, "payload": payload}
    assert served.ask("PUT", "/v1/ads/hostile", ad).status_code == 201
    try:
        for path, params in (("/", {"q": f"gizmo {text}"}), ("/ads/hostile", {"q": text}), ("/ads/hostile", {})):
            answer = served.get(path, params=params)
            assert answer.status_code == 200, answer.text
            told = assert_safe(answer)
            assert short(text, 20)[:8].strip() in " ".join(told.text.split())
        for wrong in (
            "country",
            "k",
            "channel",
            "filters",
            "max_per",
            "min_relevance",
            "time",
            "vs_channel",
            "vs_beams",
            "vs_reading",
        ):
            answer = served.get("/", params={"q": "red", wrong: text})
            assert_safe(answer)
            if wrong not in ("filters",):
                assert answer.status_code == 400, wrong
        assert_safe(served.get("/", params={text: "x"}))
        assert_safe(served.get(ad_link(text)))
    finally:
        served.ask("DELETE", "/v1/ads/hostile")


def test_long_text_is_cut(served):
    served.ask(
        "PUT", "/v1/ads/long", {"title": "gizmo " * 1_600, "description": "d" * 100_000, "keywords": ["k" * 900]}
    )
    try:
        listed = served.get("/", params={"q": "gizmo"})
        assert len(listed.content) < 200_000
        assert_safe(listed)
        shown = served.get("/ads/long")
        assert_safe(shown)
        assert "characters more" in shown.text
        assert len(shown.content) < 300_000
        assert served.get("/", params={"q": "x" * 60_000}).status_code == 400
    finally:
        served.ask("DELETE", "/v1/ads/long")


def test_texts_are_shown_with_what_they_hide():
    assert short("a‮b\x00 \n c") == "a⟨U+202E⟩b⟨U+0000⟩ c"
    assert whole("\ud800") == "⟨U+D800⟩"
    assert short("x" * 1_000, 10) == "x" * 9 + "…"
    assert whole("y" * 20_005).endswith("… (5 characters more)")
    assert short("👩‍👧") == "👩‍👧"


def test_another_generation_is_forgotten(make_student, tmp_path):
    save(make_engine(make_student(4)), tmp_path)
    save(make_engine(make_student(3)), tmp_path)
    served = Served(tmp_path)
    try:
        now = [0.0]
        inspector = Inspector(served.service, History(served.service.metrics), lambda: now[0])
        before = served.get("/v1/generations").json()["generations"][1]["id"]
        assert inspector.engine_of("") is inspector.engine_of(served.service.engine.generation) is served.service.engine
        loaded = inspector.engine_of(before)
        now[0] = 299.0
        inspector.forget_unused()
        assert inspector.engine_of(before) is loaded
        now[0] = 600.0
        inspector.forget_unused()
        assert inspector.engine_of(before) is not loaded
    finally:
        served.close()


def test_inspections_that_would_wait_long_are_refused(served):
    inspector, stop = Inspector(served.service, History(served.service.metrics)), threading.Event()

    async def story():
        looks = [asyncio.create_task(inspector.look(stop.wait)) for _ in range(8)]
        await asyncio.sleep(0)
        with pytest.raises(Problem, match="8 inspections wait"):
            await inspector.look(stop.wait)
        stop.set()
        await asyncio.gather(*looks)
        assert await inspector.look(lambda: 7) == 7

    served.run(story())


# Wrong requests.


def test_wrong_fields_are_named_with_the_cure(served):
    for field, value, cure in (
        ("k", "501", "whole number from 1 to 500"), ("country", "Atlantis", ""), ("time", "soon", "like 2026"),
        ("filters", "price <", ""), ("max_per", "advertiser", "group_id=1"), ("channel", "magic", "use one of"),
        ("filters", "nothing_like_it = 1", ""), ("q", "   ", None),
    ):  # fmt: skip
        answer = served.get("/", params={"q": "red"} | {field: value})
        told = assert_safe(answer)
        if cure is None:
            assert answer.status_code == 200  # nothing was asked
            continue
        assert answer.status_code == 400, field
        [marked] = [attrs for _, attrs in told.tags if attrs.get("aria-invalid")]
        assert (marked["id"], marked["aria-describedby"]) == (field, f"{field}-wrong")
        assert cure in told.text


def test_unknown_addresses_and_parameters_are_refused(served):
    for path, status in (("/ads/none", 404), ("/live?every=0", 400), ("/?nothing=1", 400), ("/ads/%FF", 400)):
        answer = served.get(path)
        assert answer.status_code == status
        assert_safe(answer)
    assert served.post("/").status_code == 405


# Keys.


def basic(secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"me:{secret}".encode()).decode()}


@pytest.fixture
def with_keys(serve, tmp_path):
    from intently.serve.keys import digest_of

    entries = (("reader", "read", ""), ("own", "read", "Acme"))
    file = tmp_path / "keys.toml"
    file.write_text("".join(
        f'[[key]]\nname = "{name}"\nsha256 = "{digest_of(name)}"\nrole = "{role}"\nadvertiser = "{advertiser}"\n'
        "quota_ms_per_s = 1000.0\n" for name, role, advertiser in entries
    ))  # fmt: skip
    return serve(keys=file)


@pytest.mark.parametrize("path", ["/", "/?q=red", "/ads/pan", "/live", "/?nothing=1"])
def test_pages_want_a_key_of_all_ads(with_keys, path):
    for headers in ({}, basic("wrong"), {"Authorization": "Basic ???"}):
        answer = with_keys.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith('Basic realm="')
        assert "Red pan" not in assert_safe(answer).text
    assert with_keys.get(path, headers=basic("own")).status_code == 403
    expected = 400 if "nothing" in path else 200
    assert with_keys.get(path, headers=basic("reader")).status_code == expected
    assert with_keys.get(path, headers={"Authorization": "Bearer reader"}).status_code == expected
    assert with_keys.get("/inspector.css").status_code == 200


def test_what_browsers_send_by_themselves_opens_the_pages_alone(with_keys):
    """So that no other page can make a reader's browser change an ad."""
    assert with_keys.ask("DELETE", "/v1/ads/pan", headers=basic("reader")).status_code == 401
    assert with_keys.post("/v1/retrieve", {"query": "red"}, headers=basic("reader")).status_code == 401


def test_an_inspection_counts_against_the_quota(with_keys):
    bucket = with_keys.service.keys.principal("Bearer reader").bucket
    bucket.rate = 1e-3  # so slow that what the query uses has not come back when the test looks
    before = bucket.left_ms
    with_keys.get("/?q=red", headers=basic("reader"))
    assert bucket.left_ms < before


# Drawings and figures.


def test_the_chart_shows_the_places():
    reasons = (Reason(Channel.DENSE, 1, 0.5), Reason(Channel.LEXICAL, 200, 0.1))
    ranking = Ranking("q", (ScoredAd("a", 1, 2.0, reasons), ScoredAd("b", 2, 1.0, reasons[:1])))
    chart = bump(ranking, [Channel.DENSE, Channel.LEXICAL], 500)
    assert chart is not None
    assert [[stop.told for stop in line.stops] for line in chart.lines] == [["1", "200", "1"], ["1", "–", "2"]]
    assert chart.lines[0].stops[1].y < chart.lines[1].stops[1].y == chart.floor
    assert bump(Ranking("q", ()), [Channel.DENSE, Channel.LEXICAL], 500) is None


def test_the_waterfall_fills_the_whole():
    stages = waterfall({"encode": 1.0, "search": 3.0})
    assert [(each.begins, each.takes) for each in stages] == [(0, 25), (25, 75)]
    assert waterfall({}) == ()


def test_a_small_chart_breaks_where_nothing_is_known():
    assert spark([1.0, None, 0.0, 2.0], 30, 40) == ("0.0,20.0", "20.0,38.0 30.0,2.0")
    assert spark([]) == ()


def test_quantiles_come_from_buckets():
    buckets = [(0.01, 0.0), (0.02, 10.0), (0.1, 20.0), (float("inf"), 20.0)]
    assert quantile_ms(buckets, 0.5) == pytest.approx(20)
    assert quantile_ms(buckets, 0.25) == pytest.approx(15)
    assert quantile_ms(buckets, 0.95) == pytest.approx(92)
    assert quantile_ms([(0.01, 0.0), (float("inf"), 4.0)], 0.5) == pytest.approx(10)
    assert quantile_ms([], 0.5) is None


def test_live_figures_are_those_of_the_metrics(serve):
    served = serve()
    served.get("/live")
    for _ in range(3):
        served.post("/v1/retrieve", {"query": "red"})
    served.ask("PUT", "/v1/ads/live", {"title": "Red live"})
    served.post("/v1/retrieve", {"query": "red", "deadline_ms": 0.001})
    told = " ".join(assert_safe(served.get("/live")).text.split())
    assert "answered 4 queries" in told
    assert "applied 1 change," in told
    assert f"over {len(ADS) + 1} ads and up to change {served.service.seq}." in told
    assert "Half of the answers came within" in told
    refreshed = Page(served.get("/live?every=15").text)
    assert {"http-equiv": "refresh", "content": "15"} in refreshed.all("meta")
