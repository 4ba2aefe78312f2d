"""A feed changes an engine on disk: the result is what the same changes make of a running engine."""

import json
import shutil
from dataclasses import replace

import pytest

pytest.importorskip("torch")

from intently.build.update import reading_of, update_engine
from intently.catalog.reading import FeedSettings
from intently.engine import layout
from intently.engine.current import CurrentEngine
from intently.engine.engine import Engine
from intently.errors import InputError
from intently.generation import current_id, list_generations, open_generation
from intently.types import Ad, BlockList, Channel, Delete, Patch, Put, PutList, Request
from tests.engine.small_engine import ADS, QUERIES, make_engine, save

TODAY = [
    *(replace(ad, bid=0.5) for ad in ADS[:2]),  # a bid each
    *ADS[3:6],  # the third has ended
    replace(ADS[6], title="Blue pan"),
    replace(ADS[7], devices=(), countries=("DE", "CN")),
    *ADS[8:],
    Ad("new", "Red garden hose", keywords=("hose",)),
    Ad("neu", "红色电钻", status="paused"),
]


def write(path, ads) -> object:
    path.write_text("".join(json.dumps(_told(ad), ensure_ascii=False) + "\n" for ad in ads), encoding="utf-8")
    return path


def _told(ad: Ad) -> dict:
    return {name: getattr(ad, name) for name in Ad.__dataclass_fields__ if name != "landing_spans"}


@pytest.fixture(scope="module")
def built(make_student, tmp_path_factory):
    root = tmp_path_factory.mktemp("engine")
    save(make_engine(make_student(3)), root)
    return root


@pytest.fixture
def root(built, tmp_path):
    return shutil.copytree(built, tmp_path / "engine")


def answers(engine: Engine) -> dict:
    requests = [Request(query, 30, channel=channel) for query in (*QUERIES, "hose", "kettle") for channel in Channel]
    found = [engine.answer(request) for request in requests]
    return {
        (request.query, request.channel): [(ad.ad_id, ad.score) for ad in ranking.ads]
        for request, ranking in zip(requests, found, strict=True)
    }


def test_it_is_what_the_same_changes_make_of_a_running_engine(root, tmp_path):
    live = Engine.load(root)
    before = answers(live)
    report = update_engine(root, write(tmp_path / "ads.jsonl", TODAY))
    assert (report.num_came, report.num_went, report.num_new_text, report.num_new_attributes) == (2, 1, 1, 3)
    assert dict(report.num_changes_of) == {"title": 1, "bid": 2, "devices": 1, "countries": 1}
    assert report.went[0].ad_id == "ended"
    assert report.new_text[0].fields == {"title": ("Red pan", "Blue pan")}
    assert {ad.ad_id for ad in report.came} == {"new", "neu"}

    live.apply(
        [
            Delete("ended"),
            *(Patch(ad.ad_id, {"bid": 0.5}) for ad in ADS[:2]),
            Patch("kettle", {"devices": (), "countries": ("DE", "CN")}),
            Patch("pan", {"title": "Blue pan"}),
            *map(Put, TODAY[-2:]),
        ]
    )
    updated = Engine.load(root)
    assert updated.generation == report.generation != live.generation
    after = answers(updated)
    assert after != before
    wanted = answers(live)
    for asked, ads in after.items():
        assert [ad_id for ad_id, _ in ads] == [ad_id for ad_id, _ in wanted[asked]], asked
        assert [score for _, score in ads] == pytest.approx([score for _, score in wanted[asked]], abs=1e-6)
    assert updated.catalog.table.equals(live.catalog.table)
    assert updated.lexical.statistics == live.lexical.statistics


def test_what_stays_is_copied(root, tmp_path):
    with open_generation(root) as before:
        files = dict(before.manifest.files)
        fingerprints = dict(before.manifest.fingerprints)
    update_engine(root, write(tmp_path / "ads.jsonl", TODAY))
    with open_generation(root) as after:
        for name in ("student/model.safetensors", "student/tokenizer.json", "intentions/embeddings.npy"):
            assert after.manifest.files[name].sha256 == files[name].sha256
        assert after.manifest.fingerprints.get("artifact") != fingerprints.get("artifact")
        assert after.manifest.facts["num_ads"] == len(TODAY)
        assert after.manifest.notes[0].startswith("updated from generation ")


def test_the_same_feed_again_changes_nothing(root, tmp_path):
    feed = write(tmp_path / "ads.jsonl", TODAY)
    first, second = update_engine(root, feed), update_engine(root, feed)
    assert second.generation == first.generation == current_id(root)
    assert not second.changes
    assert len(list_generations(root)) == 2


def test_a_feed_that_was_cut_off_is_refused(root, tmp_path):
    feed, before = write(tmp_path / "ads.jsonl", ADS[:2]), current_id(root)
    with pytest.raises(InputError, match=r"10 of 12 ads would end; check that the feed is whole.*--force"):
        update_engine(root, feed)
    assert current_id(root) == before
    assert update_engine(root, feed, max_ended=1.0).num_ads == 2
    strangers = write(tmp_path / "other.jsonl", [Ad("x", "Pan")])
    assert update_engine(root, strangers, max_ended=1.0).num_ads == 1


def test_a_delta_leaves_the_other_ads_alone(root, tmp_path):
    (tmp_path / "delta.tsv").write_text("ad_id\tstatus\tbid\npan\t\t0.25\nlamp\tended\t\n", encoding="utf-8")
    report = update_engine(root, tmp_path / "delta.tsv", partial=True)
    assert (report.num_came, report.num_went, report.num_ads) == (0, 1, len(ADS) - 1)
    engine = Engine.load(root)
    assert engine.ad("pan") == replace(ADS[6], bid=0.25)
    assert engine.ad("lamp") is None


def test_a_dry_run_writes_nothing(root, tmp_path):
    before = current_id(root)
    report = update_engine(root, write(tmp_path / "ads.jsonl", TODAY), dry_run=True)
    assert (report.num_came, report.generation) == (2, before)
    assert [each.id for each in list_generations(root)] == [before]


def test_what_fails_half_way_leaves_the_engine_as_it_was(root, tmp_path, monkeypatch):
    before, found = current_id(root), {path.name for path in (root / "generations").iterdir()}

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(layout, "_write_ads", fail)  # after the parts that are copied
    feed = write(tmp_path / "ads.jsonl", TODAY)
    with pytest.raises(OSError, match="No space"):
        update_engine(root, feed)
    monkeypatch.undo()
    assert (current_id(root), {path.name for path in (root / "generations").iterdir()}) == (before, found)
    assert update_engine(root, feed).num_ads == len(TODAY)


def test_a_running_engine_goes_over_to_it(root, tmp_path):
    current = CurrentEngine(root)
    report = update_engine(root, write(tmp_path / "ads.jsonl", TODAY))
    assert current.answer(Request("hose")).generation != report.generation
    assert current.refresh()
    answer = current.answer(Request("red garden hose"))
    assert (answer.generation, answer.ads[0].ad_id) == (report.generation, "new")


def test_lists_that_ads_share_outlive_restarts_updates_and_compaction(root, tmp_path):
    """Generations hold ads alone, so lists have to come from the log at every start."""
    feed = [replace(ad, negative_lists=("account",) if ad.ad_id == "new" else ()) for ad in TODAY]
    wanted = {"account": ("cheap", "免费"), BlockList.ADS: ("pan",)}

    def check(current: CurrentEngine) -> None:
        assert current.engine.snapshot.lists.values == wanted
        assert [ad.ad_id for ad in current.answer(Request("pan", channel=Channel.LEXICAL))] == []

    with CurrentEngine(root) as current:
        before = [ad.ad_id for ad in current.answer(Request("pan", channel=Channel.LEXICAL))]
        assert before == ["pan"]
        current.apply([PutList("account", ("other",)), PutList(BlockList.ADS, ("pan",)), PutList("gone", ("x",))])
        current.apply([PutList("account", ("cheap", "免费")), PutList("gone", ())])
        check(current)
    with CurrentEngine(root) as current:
        check(current)
        current.own()
        for _ in range(2):  # the second time the generation that did not know the lists is not the oldest any more
            update_engine(root, write(tmp_path / "ads.jsonl", feed), keep=1)
            feed = [replace(ad, bid=0.7) for ad in feed]
            assert current.refresh()
            check(current)
            current.compact()
            check(current)
        assert "new" in [ad.ad_id for ad in current.answer(Request("red garden hose"))]
        assert "new" not in [ad.ad_id for ad in current.answer(Request("cheap red garden hose"))]
    with CurrentEngine(root) as current:
        check(current)


def test_days_of_coming_and_going_leave_nothing_behind(root, tmp_path):
    days = [write(tmp_path / "even.jsonl", TODAY), write(tmp_path / "odd.jsonl", ADS)]

    def sizes() -> dict[str, int]:
        with open_generation(root) as generation:
            return {name: part.bytes for name, part in generation.manifest.files.items()}

    for _ in range(2):
        for feed in days:
            update_engine(root, feed)
    settled = sizes()
    for _ in range(3):
        for feed in days:
            update_engine(root, feed)
    grown = {name: size - settled[name] for name, size in sizes().items() if size > settled[name]}
    assert grown == {}
    assert len(list_generations(root)) == 3


MERCHANT = """<?xml version="1.0"?>
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>
<item><g:id>new</g:id><g:title>Red garden hose</g:title><g:availability>in_stock</g:availability>
<g:gebot>0,50 EUR</g:gebot></item>
<item><g:id>neu</g:id><g:title>红色电钻</g:title><g:availability>out_of_stock</g:availability>
<g:gebot>1,250 EUR</g:gebot></item></channel></rss>
"""


def test_feeds_of_the_trade_update_as_they_build(root, tmp_path):
    """Several files, an export, columns that are told, and what a status column leaves unsaid in a partial feed."""
    (tmp_path / "feed.xml").write_text(MERCHANT, encoding="utf-8")
    (tmp_path / "more.csv").write_text(f"Artikelnummer;Titel\n{ADS[0].ad_id};{ADS[0].title}\n", encoding="utf-8")
    files = [tmp_path / "feed.xml", tmp_path / "more.csv"]
    comma = FeedSettings(decimal="comma")
    (tmp_path / "open.csv").write_text("id,title,bid\na,b,1.250\n", encoding="utf-8")
    with pytest.raises(InputError, match="--decimal"):
        update_engine(root, tmp_path / "open.csv")
    report = update_engine(root, files, feed=comma, columns={"gebot": "bid"}, max_ended=1.0)
    assert (report.num_came, report.num_ads) == (2, 3)
    engine = Engine.load(root)
    assert [(ad.ad_id, ad.bid, ad.status) for ad in (engine.ad("new"), engine.ad("neu"))] == [
        ("new", 0.5, "active"), ("neu", 1.25, "paused"),
    ]  # fmt: skip
    (tmp_path / "delta.csv").write_text(
        "id,availability,cpc_bid_micros\nneu,in stock,\nnew,,400000\n", encoding="utf-8"
    )
    report = update_engine(root, tmp_path / "delta.csv", partial=True)
    assert dict(report.num_changes_of) == {"status": 1, "bid": 1, "payload": 1}
    engine = Engine.load(root)
    assert [(ad.bid, ad.status) for ad in (engine.ad("new"), engine.ad("neu"))] == [(0.4, "active"), (1.25, "active")]


def test_an_update_reads_columns_as_the_build_did(root):
    with open_generation(root) as found:
        assert reading_of(found.manifest.settings, FeedSettings(), {}).columns == {}
    built = {"columns": {"Max CPC": "bid"}, "feed": {"decimal": "comma", "format": "csv"}}
    reading = reading_of(built, FeedSettings(), {"Was": "title"})
    assert (reading.decimal, reading.format) == ("comma", "")
    assert reading.columns == {"max_cpc": "bid", "was": "title"}
    assert reading_of(built, FeedSettings(decimal="point"), {"Bid": "bid"}).columns == {"bid": "bid"}
