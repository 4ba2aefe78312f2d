"""Every rule about who sees an ad, on every channel: snapshots decide as one ad after the other is decided."""

import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from intently.build import BuildSettings, build_engine
from intently.catalog import checked_user
from intently.engine import eligibility
from intently.engine.engine import Engine
from intently.errors import InputError
from intently.live.log import open_log
from intently.types import Ad, BlockList, Channel, Delete, Patch, Put, PutList, Request, UserContext
from tests.engine.small_engine import ADS, SETTINGS, make_engine, save
from tests.engine.small_engine import QUERIES as ENGINE_QUERIES
from tests.snapshot.small_snapshot import snapshot_of

NOW = datetime(2026, 12, 2, 10, 30, tzinfo=UTC)
DRAWS: dict[str, tuple[Any, ...]] = {
    "status": ("active", "active", "active", "paused"),
    "countries": ((), (), ("DE",), ("CN", "DE")),
    "day_parts": ((), (), ("mon-fri@9-12",), ("wed@11-12 Europe/Berlin",), ("sat@0-24", "wed@18-19 Asia/Shanghai")),
    "audiences": ((), (), ("cooks",)),
    "negative_keywords": (
        (), (), ("free",), ('"garden hose"', "[robot]"), ("机器人", "红色 免费"), ("-jobs", '"免费"')
    ),
    "negative_lists": ((), ("account",), ("campaign summer", "account"), ("list 品牌",), ("no such list",)),
    "targeting": ("", "", 'country == "DE"', "age >= 18", "age >= 18 or age is missing", 'interests has "跑步"',
                  'not (country == "US") and hour < 12', 'weekday in ("wed", "thu")'),
    "labels": ((), (), ("alcohol",), ("gambling", "alcohol")),
    "starts": ("", "", "2026-12-02T10:30:00+00:00", "2026-12-02T10:30:01+00:00"),
    "ends": ("", "", "2026-12-02T10:30:00+00:00", "2027-01-01T00:00:00+00:00"),
    "advertiser": ("", "Acme", "红厂"),
    "category": ("", "wine", "酒"),
}  # fmt: skip
LISTS = {
    "account": ("free", "[kettle]"), "campaign summer": ('"electric kettle"', "招聘"), "list 品牌": ("机器人",),
    BlockList.ADVERTISERS: ("Acme",), BlockList.CATEGORIES: ("酒",), BlockList.LABELS: ("gambling",),
    BlockList.ADS: ("a3", "a17"), BlockList.TERMS: ("casino", '"赌博"'),
}  # fmt: skip
QUERIES = (
    "garden hose", "free garden hose", "robot", "robots", "红色扫地机器人", "electric kettle", "免费 红色 水壶",
    "kettle", "casino night", "在线赌博", "jobs", "招聘 机器人", "hose",
)  # fmt: skip
USERS = (
    None, UserContext(country="DE"), UserContext(country="US", audiences={"cooks"}),
    UserContext("CN", attributes={"age": 20, "interests": ["跑步"]}), UserContext(attributes={"age": 17}),
    UserContext(time=NOW, time_zone="Europe/Berlin"), UserContext(time=datetime(2026, 12, 2, 13)),
    UserContext(time=datetime(2026, 12, 2, 18, 15), time_zone="Asia/Shanghai", attributes={"age": 66}),
)  # fmt: skip


def draw_ads(draw: random.Random, number: int) -> list[Ad]:
    return [
        Ad(f"a{at}", f"thing {at}", **{name: draw.choice(values) for name, values in DRAWS.items()})
        for at in range(number)
    ]


@pytest.fixture(autouse=True)
def at_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intently.snapshot.attributes.time.time", NOW.timestamp)


def expected(ads: list[Ad], user: UserContext | None, query: str, lists) -> list[bool]:
    request = Request(query, user=user)
    return [all(answer.admits for answer in eligibility.verdict(ad, request, lists, now=NOW.timestamp())) for ad in ads]


def test_snapshots_decide_as_the_rules_do_also_after_patches() -> None:
    draw = random.Random(19)
    ads = draw_ads(draw, 150)
    snapshot = snapshot_of(ads)
    ads = [snapshot.ad(row) for row in range(len(ads))]
    num_decisions, num_refused = 0, 0
    for round_ in range(8):
        for user in USERS:
            for query in draw.sample(QUERIES, 6):
                wanted = expected(ads, user, query, snapshot.lists)
                assert snapshot.eligible(checked_user(user), query).tolist() == wanted, (user, query)
                num_decisions, num_refused = num_decisions + len(wanted), num_refused + wanted.count(False)
        if round_ in (1, 4):
            for name, values in LISTS.items():
                snapshot = snapshot.with_list(name, values)
        if round_ == 3:
            for name in LISTS:
                snapshot = snapshot.with_list(name, ())
        rows = draw.sample(range(len(ads)), 20)
        names = [name for name in DRAWS if name not in ("advertiser", "category")]
        changes = [{name: draw.choice(DRAWS[name]) for name in draw.sample(names, 3)} for _ in rows]
        snapshot = snapshot.patched(rows, changes)
        for row, fields in zip(rows, changes, strict=True):
            ads[row] = replace(ads[row], **fields)
            assert snapshot.ad(row) == ads[row]
    assert num_decisions == 8 * len(USERS) * 6 * 150
    assert 0.3 < num_refused / num_decisions < 0.98
    kept = snapshot.attributes.kept(np.arange(150) % 3 != 0)
    assert kept.of_row(0)["negative_keywords"] == ads[1].negative_keywords


@pytest.fixture(scope="module")
def student(make_student):
    return make_student(3)


def with_fields(student, **fields: dict[str, Any]) -> Engine:
    engine = make_engine(student)
    engine.apply([Patch(ad_id, values) for ad_id, values in fields.items()])
    return engine


def found(engine: Engine, query: str, channel: Channel = Channel.FUSED, **asked: Any) -> list[str]:
    return [ad.ad_id for ad in engine.answer(Request(query, k=50, channel=channel, **asked))]


@pytest.mark.parametrize("channel", Channel)
def test_a_negative_keyword_wins_on_every_channel(student, channel) -> None:
    engine = make_engine(student)
    for query in ("red robot vacuum", "扫地机器人"):
        before = set(found(engine, query, channel))
        engine.apply([Patch("robot", {"negative_keywords": ("robot",)})])
        engine.apply([Patch("zh-robot", {"negative_keywords": ('"机器人"',)})])
        after = set(found(engine, query, channel))
        assert before - after == before & ({"robot"} if query.isascii() else {"zh-robot"})
        engine.apply([Patch("robot", {"negative_keywords": ()}), Patch("zh-robot", {"negative_keywords": ()})])
        assert set(found(engine, query, channel)) == before


def test_lists_count_for_the_ads_that_name_them(student) -> None:
    engine = with_fields(student, robot={"negative_lists": ("campaign summer",)})
    before = engine.snapshot.seq
    assert "robot" in found(engine, "cheap robot vacuum")
    assert engine.apply([PutList("campaign summer", ("cheap",))]) == before + 1
    assert "robot" not in found(engine, "cheap robot vacuum")
    assert "robot" in found(engine, "robot vacuum")
    (verdict,) = engine.explain(Request("cheap robot vacuum"), ["robot"])
    assert verdict.stage == "negative list campaign summer"
    assert verdict.told == "negative broad 'cheap' of the list 'campaign summer'"
    engine.apply([PutList("campaign summer", ())])
    assert "robot" in found(engine, "cheap robot vacuum")


def test_block_lists_count_at_once(student) -> None:
    engine = make_engine(student)
    assert {"robot", "pan"} <= set(found(engine, "red robot vacuum"))
    engine.apply([PutList(BlockList.ADS, ("robot",)), Patch("pan", {"labels": ("alcohol",)})])
    engine.apply([PutList(BlockList.LABELS, ("alcohol",))])
    assert not {"robot", "pan"} & set(found(engine, "red robot vacuum"))
    told = engine.explain(Request("red robot vacuum"), ["robot", "pan"])
    assert [each.told for each in told] == [
        "'robot' is among the blocked ads",
        "'alcohol' is among the blocked labels",
    ]
    engine.apply([PutList(BlockList.TERMS, ("robot", "机器人"))])
    assert found(engine, "red robot vacuum") == found(engine, "扫地机器人") == []
    assert found(engine, "red pan")


def test_an_ad_comes_and_goes_without_a_write(student, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = with_fields(student, pan={"starts": "2026-12-02T10:30:00Z", "ends": "2026-12-02T10:31:00Z"})
    for second, is_there in ((-1, False), (0, True), (59, True), (60, False)):
        monkeypatch.setattr("intently.snapshot.attributes.time.time", lambda second=second: NOW.timestamp() + second)
        assert ("pan" in found(engine, "red pan")) == is_there


def test_targeting_asks_about_what_the_user_stated(student) -> None:
    engine = with_fields(student, pan={"targeting": "age >= 18"}, lamp={"targeting": 'interests has "跑步"'})
    assert "pan" not in found(engine, "red pan")
    assert "pan" in found(engine, "red pan", user=UserContext(attributes={"age": 18}))
    assert "lamp" in found(engine, "led lamp", user=UserContext(attributes={"interests": ("跑步",)}))
    (verdict,) = engine.explain(Request("red pan"), ["pan"])
    assert verdict.told == "its targeting age >= 18 is unknown, because the user did not state a value"


def test_keyword_channel(student) -> None:
    engine = make_engine(student)
    assert found(engine, "cheap robot vacuums", Channel.KEYWORD) == ["robot"]
    plain = found(engine, "robot vacuum")
    assert all(reason.channel is not Channel.KEYWORD for ad in engine.retrieve("robot vacuum") for reason in ad.reasons)
    engine.apply([
        Put(Ad("hose", "Thing of rubber", keywords=("[garden hose]", "hose"))),
        Put(Ad("zh-hose", "橡胶的东西", keywords=('"花园水管"',))),
        Put(Ad("phrase", "Another thing", keywords=('"garden hose"',))),
    ])  # fmt: skip
    ranking = engine.retrieve("garden hoses", 10, channel=Channel.KEYWORD)
    assert [ad.ad_id for ad in ranking] == ["hose", "phrase"]
    (reason,) = ranking[0].reasons
    assert [name for name, _ in reason.evidence] == ["[garden hose] (near exact match)", "hose (broad match)"]
    assert found(engine, "便宜花園水管", Channel.KEYWORD) == ["zh-hose"]
    assert "hose" in found(engine, "garden hose")  # in the fusion, now that an ad has a match type
    assert set(plain) <= set(found(engine, "robot vacuum"))
    engine.apply([Delete("hose")])
    assert found(engine, "garden hose", Channel.KEYWORD) == ["phrase"]
    assert engine.compacted()[1].keywords(engine.snapshot.rules).matching("garden hose")


def shown(engine: Engine, query: str) -> list[Any]:
    ranking = engine.answer(Request(query, k=50))
    return [ranking.ads, ranking.intentions, ranking.degraded, engine.explain(Request(query), ["pan", "robot"])]


def test_keywords_without_match_types_leave_the_fusion_as_it_is(student) -> None:
    """Not a bit differs from an engine that never asks the keyword channel, until an ad has a match type."""
    with_channel, without = make_engine(student), make_engine(student, replace(SETTINGS, keyword_weight=0.0))
    for engine in (with_channel, without):
        engine.apply([Put(Ad("hose", "Rubber thing", keywords=("garden hose", "花园水管")))])
    asked = (*ENGINE_QUERIES, "garden hose", "花园水管", "robot vacuum")
    for query in asked:
        assert repr(shown(with_channel, query)) == repr(shown(without, query))
    for engine in (with_channel, without):
        engine.apply([Put(Ad("tap", "Metal thing", keywords=("[robot vacuum]",)))])
    assert repr(shown(with_channel, "robot vacuum")) != repr(shown(without, "robot vacuum"))


def test_changes_of_lists_outlive_the_process(student, tmp_path) -> None:
    log = open_log(tmp_path)
    first = make_engine(student)
    first.join(log)
    first.apply([PutList("account", ("cheap", "免费")), Patch("robot", {"negative_lists": ("account",)})])
    seq = first.apply([PutList(BlockList.ADS, ("pan",)), PutList("gone", ("x",)), PutList("gone", ())])
    second = make_engine(student)
    second.join(log)
    assert second.snapshot.seq == seq
    assert second.snapshot.lists.values == {"account": ("cheap", "免费"), BlockList.ADS: ("pan",)}
    assert "robot" not in found(second, "cheap robot vacuum")
    assert "pan" not in found(second, "red pan")
    assert log.history("list\naccount", 1)[0].to_dict()["list"] == "account"
    log.compact(0)
    third = make_engine(student)
    third.join(log)
    assert third.snapshot.lists.values == second.snapshot.lists.values
    log.close()


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
def test_a_generation_that_contains_changes_of_lists_does_not_lose_them(student, tmp_path, kind) -> None:
    """A generation has no lists, whatever its number says; so the log keeps them, and every start asks for them."""
    log = open_log(tmp_path if kind == "sqlite" else "memory")
    first = make_engine(student)
    first.join(log)
    first.apply([PutList("account", ("cheap",)), PutList("gone", ("x",)), Patch("robot", {"bid": 0.5})])
    seq = first.apply([PutList(BlockList.ADS, ("pan",)), PutList("gone", ()), Patch("pan", {"bid": 0.5})])
    save(make_engine(student), tmp_path / "engine", seq=seq)
    log.compact(seq)
    later = Engine.load(tmp_path / "engine")
    assert later.snapshot.seq == seq
    later.join(log)
    assert later.snapshot.seq == seq
    assert later.snapshot.lists.values == {"account": ("cheap",), BlockList.ADS: ("pan",)}
    assert "pan" not in found(later, "red pan")
    assert later.apply([PutList(BlockList.ADS, ())]) == seq + 1
    assert "pan" in found(later, "red pan")
    assert [entry.ad_id for entry in log.history("robot")] == []  # entries of ads go
    log.close()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (PutList("", ("free",)), "is not the name of a list"),
        (PutList("a\nb", ("free",)), "is not the name of a list"),
        (PutList("account", "free"), "expected a list of texts"),  # type: ignore[arg-type]
        (PutList("account", ("!!!",)), "has no word"),
        (Patch("pan", {"negative_keywords": ("…",)}), "has no word"),
        (Patch("pan", {"targeting": "age >"}), "expected a value"),
        (Patch("pan", {"targeting": 'country == "Atlantis"'}), "not a country"),
        (Patch("pan", {"starts": "2026-12-01"}), "has no time zone"),
        (Patch("pan", {"day_parts": ("mon@9-10 Europe/Atlantis",)}), "not a time zone"),
    ],
)
def test_wrong_rules_are_refused(student, change, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        make_engine(student).apply([change])


def test_day_parts_where_the_clock_jumps() -> None:
    ad = Ad("x", "x", day_parts=("sun@2-3 Europe/Berlin",))
    for utc, is_open in (
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), True),  # 2:30, the first time
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), True),  # 2:30 once more
        (datetime(2026, 10, 25, 2, 30, tzinfo=UTC), False),
        (datetime(2026, 3, 29, 0, 59, tzinfo=UTC), False),  # 1:59
        (datetime(2026, 3, 29, 1, 0, tzinfo=UTC), False),  # 3:00: there is no 2:30 on this day
    ):
        answers = {each.rule: each.admits for each in eligibility.verdict(ad, Request("q"), now=utc.timestamp())}
        assert answers["time"] == is_open, utc


def test_ads_of_the_small_engine_have_no_match_types() -> None:
    assert not snapshot_of(ADS).has_match_types


def test_keywords_lie_in_the_generation(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    ads = [Ad("hose", "Rubber thing", keywords=("[garden hose]",)), Ad("zh", "橡胶管", keywords=('"花园水管"',))]
    lines = ["ad_id\ttitle\tkeywords", *(f"{ad.ad_id}\t{ad.title}\t{'|'.join(ad.keywords)}" for ad in ads)]
    (tmp_path / "ads.tsv").write_text("\n".join(lines).replace('"', '""').replace('""花园水管""', '"""花园水管"""'))
    build_engine(tmp_path / "ads.tsv", None, tmp_path / "engine", BuildSettings.preset("lexical"))
    with monkeypatch.context() as patched:  # nothing is read again
        patched.setattr("intently.snapshot.segment.Segment.has_match_types", False)
        engine = Engine.load(tmp_path / "engine")
    assert engine.snapshot.segments[0].known_keywords is not None
    assert found(engine, "garden hoses", Channel.KEYWORD) == ["hose"]
    assert found(engine, "买花園水管", Channel.KEYWORD) == ["zh"]
