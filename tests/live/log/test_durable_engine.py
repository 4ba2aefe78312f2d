"""Changes outlive the process, a generation, a rollback; no model reads an ad a second time."""

import contextlib
import random
import shutil
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intently.engine.current import CurrentEngine
from intently.engine.engine import Engine
from intently.errors import ArtifactError, BehindError, InputError, LogBusyError, LogError, LogFullError
from intently.generation import roll_back
from intently.live.ad_reader import AdReader
from intently.live.log import LOG_FILE, Kind, open_log
from intently.types import Ad, Channel, Delete, Patch, Put, Request, Span
from tests.engine.small_engine import ADS, SETTINGS, make_engine, save

QUERIES = ["red robot vacuum", "扫地机器人", "gizmo", "drill bits led", "红色水壶 kettle", "小玩意 lamp"]
NEW = [
    Ad("new", "Red gizmo pan", keywords=("gizmo",), bid=0.25, landing_spans=(Span("a gizmo of steel", 0.5),)),
    Ad("新", "红色 小玩意", description="扫地机器人 配件", countries=("CN",), audiences=("cooks",)),
]
CHANGES = [Put(NEW[0]), Put(NEW[1]), Patch("pan", {"bid": 0.5}), Delete("kettle")]


@pytest.fixture(scope="module")
def built(make_student):
    return make_engine(make_student(3)), make_engine(make_student(4), replace(SETTINGS, intention_weight=3.0))


@pytest.fixture
def num_read(monkeypatch):
    """Counts the ads that models read."""
    count, real = [0], AdReader.parts

    def counted(self, catalog):
        count[0] += catalog.num_ads
        return real(self, catalog)

    monkeypatch.setattr(AdReader, "parts", counted)
    return count


def answers(engine) -> list[tuple[list[str], list[float]]]:
    found = [engine.answer(Request(query, 20, channel=channel)) for query in QUERIES for channel in Channel]
    return [([ad.ad_id for ad in one], [ad.score for ad in one]) for one in found]


def assert_same(ours, theirs) -> None:
    for (our_ids, our_scores), (their_ids, their_scores) in zip(ours, theirs, strict=True):
        assert our_ids == their_ids
        assert our_scores == pytest.approx(their_scores, abs=1e-6)


def ads_of(engine) -> dict[str, Ad]:
    snapshot = engine.snapshot
    return {ad.ad_id: ad for ad in map(snapshot.ad, np.flatnonzero(snapshot.alive).tolist())}


def test_changes_outlive_the_process_and_no_model_reads_again(built, tmp_path, num_read):
    save(built[0], tmp_path)
    with CurrentEngine(tmp_path) as current:
        assert current.apply(CHANGES) == 4
        seq = current.apply(
            [Patch("new", {"title": "Blue gizmo pan", "status": "active"}), Put(replace(ADS[9], bid=2.0))]
        )
        assert seq == 6
        assert num_read == [3]
        before, ads = answers(current), ads_of(current.engine)
    for _ in range(2):  # replaying twice is replaying once
        with CurrentEngine(tmp_path) as again:
            assert (again.seq, again.engine.snapshot.seq) == (seq, seq)
            assert ads_of(again.engine) == ads
            assert_same(answers(again), before)
    assert num_read == [3]
    assert again.apply([Delete("新")]) == seq + 1
    again.close()
    again = CurrentEngine(tmp_path)
    assert again.ad("新") is None
    assert again.ad("new") == replace(NEW[0], title="Blue gizmo pan")
    again.close()


def test_changes_follow_generations_and_models_read_once_for_each(built, tmp_path, num_read):
    save(built[0], tmp_path)
    with CurrentEngine(tmp_path) as current:
        seq = current.apply(CHANGES)
        first = current.engine.generation
        save(built[1], tmp_path)
        assert current.refresh()
        assert num_read == [4]  # other models
        assert (current.seq, current.ad("new"), current.ad("kettle")) == (seq, NEW[0], None)
        second = answers(current)
        assert current.apply([Patch("new", {"bid": 0.75})]) == seq + 1
    with CurrentEngine(tmp_path) as current:
        assert num_read == [4]
        assert_same(answers(current), second)
        roll_back(tmp_path, first)
        assert current.refresh()
        assert current.engine.generation == first
        assert (current.ad("new").bid, current.ad("pan").bid, current.ad("kettle")) == (0.75, 0.5, None)
        assert num_read == [4]


def test_a_generation_that_contains_changes_does_not_get_them_again(built, tmp_path, monkeypatch):
    save(built[0], tmp_path)
    with CurrentEngine(tmp_path) as current:
        current.apply([Delete("kettle"), Patch("pan", {"bid": 0.5})])
        save(built[0], tmp_path, seq=2)  # its kettle came with a later feed
        seq = current.apply([Patch("lamp", {"bid": 3.0})])
        assert current.refresh()
        assert (current.ad("kettle"), current.ad("pan").bid, current.ad("lamp").bid) == (ADS[7], None, 3.0)
        assert current.seq == seq
        current.compact()
        assert current.log.facts().num_entries == 3  # the first generation does not contain them


def test_one_process_writes_and_the_others_follow(built, tmp_path, num_read):
    save(built[0], tmp_path)
    writer = CurrentEngine(tmp_path, follow_s=None)
    reader = CurrentEngine(tmp_path, follow_s=None)
    seq = writer.apply(CHANGES)
    assert reader.seq == 0
    answer = reader.answer(Request("red gizmo pan", 20, min_seq=seq))
    assert answer.seq == seq
    assert_same(answers(reader), answers(writer))
    assert num_read == [2]
    with pytest.raises(LogBusyError, match=r"process \d+: .* writes the changes.*; send changes to it"):
        reader.apply([Delete("new")])
    reader.engine.min_seq_wait_s = 0.05
    with pytest.raises(BehindError, match=f"change {seq + 1} is not here yet, the newest is {seq}") as error:
        reader.answer(Request("red", min_seq=seq + 1))
    assert (error.value.seq, error.value.min_seq) == (seq, seq + 1)
    with pytest.raises(BehindError):
        writer.answer(Request("red", min_seq=seq + 1))
    with pytest.raises(InputError, match="min_seq"):
        Request("red", min_seq=-1)
    writer.close()
    assert reader.apply([Delete("new")]) == seq + 1  # it may write now
    assert writer.catch_up() == seq + 1
    assert writer.ad("new") is None
    reader.close()
    # One that opened before others wrote builds on what they wrote.
    assert writer.apply([Put(Ad("new", "Red lamp"))]) == seq + 2
    writer.close()


def test_a_follower_looks_by_itself(built, tmp_path):
    save(built[0], tmp_path)
    with CurrentEngine(tmp_path) as writer:
        reader = CurrentEngine(tmp_path, follow_s=0.01)
        seq = writer.apply(CHANGES)
        done = threading.Event()
        for _ in range(500):
            if reader.seq == seq:
                break
            done.wait(0.01)
        assert reader.seq == seq
        reader.close()


def test_order_of_entry_counts_on_disk_too(built, tmp_path, monkeypatch):
    """A slow put is overtaken by a patch and a delete; the log has what took effect."""
    save(built[0], tmp_path)
    gate, begun, real = threading.Event(), threading.Semaphore(0), AdReader.parts

    def slow(self, catalog):
        begun.release()
        assert gate.wait(300)
        return real(self, catalog)

    with CurrentEngine(tmp_path) as current:
        monkeypatch.setattr(AdReader, "parts", slow)
        puts = [Put(Ad("pan", "Blue gizmo")), Put(Ad("kettle", "Blue gizmo"))]
        threads = [threading.Thread(target=current.apply, args=([put],)) for put in puts]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert begun.acquire(timeout=300)
        current.apply([Patch("pan", {"bid": 7.0}), Delete("kettle")])
        gate.set()
        for thread in threads:
            thread.join()
        ads = ads_of(current.engine)
        assert (ads["pan"].title, ads["pan"].bid, "kettle" in ads) == ("Blue gizmo", 7.0, False)
        assert [(entry.ad_id, entry.kind) for entry in current.log.history()] == [
            ("pan", Kind.PUT), ("kettle", Kind.DELETE), ("pan", Kind.PATCH),
        ]  # fmt: skip
    monkeypatch.undo()
    with CurrentEngine(tmp_path) as again:
        assert ads_of(again.engine) == ads


def test_nobody_is_shown_what_may_still_be_lost(built, tmp_path, monkeypatch):
    """While the disk is being flushed: neither to queries nor to who asks for an ad."""
    save(built[0], tmp_path)
    with CurrentEngine(tmp_path, follow_s=None) as current:
        current.own()
        store, begun, gate = type(current.log._committer._store), threading.Event(), threading.Event()
        real = store.transaction

        def held(self):
            begun.set()
            assert gate.wait(60)
            return real(self)

        monkeypatch.setattr(store, "transaction", held)
        changing = threading.Thread(target=current.apply, args=([*CHANGES, Put(replace(ADS[0], title="Blue lamp"))],))
        changing.start()
        assert begun.wait(60)
        assert (current.ad("new"), current.ad("pan").bid, current.ad("kettle")) == (None, None, ADS[7])
        assert current.ad("robot") == ADS[0]
        assert current.engine.ad("new", newest=True) == NEW[0]
        assert current.engine.ad("kettle", newest=True) is None
        assert "new" not in [ad.ad_id for ad in current.answer(Request("gizmo", 20))]
        gate.set()
        changing.join()
        assert (current.ad("new"), current.ad("pan").bid, current.ad("kettle")) == (NEW[0], 0.5, None)
        assert current.ad("robot").title == "Blue lamp"


def test_a_batch_that_cannot_be_written_did_not_happen(built, tmp_path):
    save(built[0], tmp_path)
    log = open_log(tmp_path, reserve_bytes=0)
    with CurrentEngine(tmp_path, log=log) as current:
        current.apply([Patch("pan", {"bid": 0.5})])
        before = ads_of(current.engine)
        log._committer.call(lambda store: store.execute("PRAGMA max_page_count = 12"))
        for number in range(60):
            try:
                current.apply([Put(Ad(f"x{number}", f"Red gizmo {number}"))])
            except LogFullError as error:
                assert "disk is full" in str(error)
                break
            before = ads_of(current.engine)
        else:
            pytest.fail("the disk was never full")
        assert ads_of(current.engine) == before
        assert current.seq == current.log.position().last
        log._committer.call(lambda store: store.execute("PRAGMA max_page_count = 100000"))
        seq = current.apply([Put(Ad("late", "Red gizmo"))])
        assert seq == current.seq == current.log.position().last
        before = ads_of(current.engine)
    with CurrentEngine(tmp_path) as again:
        assert ads_of(again.engine) == before


def test_a_nearly_full_disk_takes_deletes_and_pauses(built, tmp_path, monkeypatch):
    save(built[0], tmp_path)
    log = open_log(tmp_path, reserve_bytes=1 << 62)
    with CurrentEngine(tmp_path, log=log) as current:
        with pytest.raises(LogFullError, match=r"bytes left, and a reserve of .* stays free; free some space"):
            current.apply([Put(NEW[0])])
        for refused in ([Patch("pan", {"bid": 0.5})], [Patch("pan", {"status": "active"})], CHANGES):
            with pytest.raises(LogFullError):
                current.apply(refused)
        assert current.seq == 0
        seq = current.apply([Delete("kettle"), Patch("pan", {"status": "paused"})])
        assert current.log.position().last == seq == 2
    with CurrentEngine(tmp_path) as again:
        assert (again.ad("kettle"), again.ad("pan").status) == (None, "paused")


def test_backup_and_restore_elsewhere(built, tmp_path, num_read):
    save(built[0], tmp_path / "here")
    with CurrentEngine(tmp_path / "here") as current:
        seq = current.apply(CHANGES)
        made = current.log.backup(tmp_path / "backup.db")
        assert (made.num_entries, made.position.last) == (4, seq)
        before = answers(current)
        current.apply([Delete("new"), Delete("pan")])
        assert current.log.restore(tmp_path / "backup.db").position.last == seq
        current.catch_up()
        assert_same(answers(current), before)
        assert current.apply([Patch("new", {"bid": 9.0})]) == seq + 1
    shutil.copytree(tmp_path / "here", tmp_path / "there", ignore=shutil.ignore_patterns(f"{LOG_FILE}*"))
    there = CurrentEngine(tmp_path / "there")
    assert there.seq == 0
    follower = CurrentEngine(tmp_path / "there", follow_s=None)
    there.apply([Patch("shoe", {"bid": 1.0})])
    follower.catch_up()
    there.log.restore(tmp_path / "backup.db")
    for engine in (there, follower):
        engine.catch_up()
        assert engine.seq == seq
        assert_same(answers(engine), before)
    there.close()
    assert num_read == [2]
    (tmp_path / "backup.db").write_bytes(b"no backup")
    with pytest.raises(LogError, match="not a log of changes"):
        there.log.restore(tmp_path / "backup.db")
    assert there.catch_up() == seq
    there.close()


WORDS = (
    "red",
    "blue",
    "robot",
    "vacuum",
    "drill",
    "pan",
    "lamp",
    "kettle",
    "gizmo",
    "unknwon",
    "扫地机器人",
    "红色",
    "水壶",
)


def many_queries(number: int) -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.sample(WORDS, draw.randint(1, 4))) for _ in range(number)]


def test_a_restored_engine_answers_500_queries_as_the_one_before(built, tmp_path):
    """Ids, order and scores, and so whatever is computed from them, such as recall; the same after a restart alone."""
    save(built[0], tmp_path / "here")
    requests = [Request(query, 20) for query in many_queries(500)]
    with CurrentEngine(tmp_path / "here", follow_s=None) as current:
        current.apply(CHANGES)
        current.log.backup(tmp_path / "backup.db")
        expected = [current.answer(request).ads for request in requests]
    shutil.copytree(tmp_path / "here", tmp_path / "there", ignore=shutil.ignore_patterns(f"{LOG_FILE}*"))
    with CurrentEngine(tmp_path / "there", follow_s=None) as there:
        there.log.restore(tmp_path / "backup.db")
        there.catch_up()
        restored = [there.answer(request).ads for request in requests]
    with CurrentEngine(tmp_path / "here", follow_s=None) as again:
        restarted = [again.answer(request).ads for request in requests]
    for found in (restored, restarted):
        for one, other in zip(found, expected, strict=True):
            assert [ad.ad_id for ad in one] == [ad.ad_id for ad in other]
            assert [ad.score for ad in one] == pytest.approx([ad.score for ad in other], abs=1e-6)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["a torn file", "no current generation", "a foreign log", "a log of a later version"])
def test_a_start_that_fails_leaves_every_file_as_it_was(built, tmp_path, kind):
    files = save(built[0], tmp_path)
    with CurrentEngine(tmp_path, follow_s=None) as current:
        current.apply(CHANGES)
    if kind == "a torn file":
        file = max(files, key=lambda path: path.stat().st_size)
        file.write_bytes(file.read_bytes()[:-1])
    elif kind == "no current generation":
        (tmp_path / "CURRENT").write_text("20200101T000000Z-0000-000000\n")
    elif kind == "a foreign log":
        (tmp_path / LOG_FILE).write_bytes(b"PAR1" * 5_000)
    else:
        with contextlib.closing(sqlite3.connect(tmp_path / LOG_FILE)) as log:
            log.execute("UPDATE intently_meta SET value = '99' WHERE key = 'format'")
            log.commit()
    before = contents(tmp_path)
    for _ in range(2):
        with pytest.raises((ArtifactError, LogError)):
            CurrentEngine(tmp_path, follow_s=None).own()
        assert contents(tmp_path) == before


def test_a_log_in_memory_follows_generations_too(built, tmp_path, num_read):
    save(built[0], tmp_path)
    with CurrentEngine(tmp_path, log="memory") as current:
        seq = current.apply(CHANGES)
        for number in range(50):
            seq = current.apply([Patch("new", {"bid": float(number)}), Put(replace(ADS[0], bid=float(number)))])
        assert current.log.facts().num_entries == 7
        save(built[1], tmp_path)
        assert current.refresh()
        assert (current.seq, current.ad("new").bid, current.ad("robot").bid) == (seq, 49.0, 49.0)
        assert current.ad("kettle") is None
    assert not (tmp_path / LOG_FILE).exists()


def test_engines_of_old_refuse_changes(built, tmp_path):
    save(built[0], tmp_path)
    with CurrentEngine(tmp_path) as current:
        current.apply(CHANGES)
        old = current.engine
        save(built[1], tmp_path)
        current.refresh()
        with pytest.raises(LogError, match=r"has taken the place of .* CurrentEngine\.apply"):
            old.apply([Delete("pan")])
        assert current.ad("pan") is not None
    assert Engine.load(tmp_path).ad("new") is None  # a generation alone


def test_the_short_forms(built, tmp_path):
    save(built[0], tmp_path)
    with CurrentEngine(tmp_path) as current:
        current.add_ads([NEW[0]])
        with pytest.raises(InputError, match="already exists"):
            current.add_ads([NEW[0]])
        current.remove_ads(["new"])
        with pytest.raises(InputError, match="expected a list of ids"):
            current.remove_ads("pan")
    with CurrentEngine(tmp_path) as current:
        assert current.seq == 2
        assert current.ad("new") is None
