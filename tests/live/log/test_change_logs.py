"""Every log: numbers, order, readings, group commit, one writer, folding, backup; SQLite's and PostgreSQL's alike."""

import contextlib
import os
import random
import sqlite3
import threading
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intently.errors import LogBusyError, LogError
from intently.live.changes import Fields, Full, Gone
from intently.live.log import Entry, Kind, MemoryLog, Receipt, open_log
from intently.live.log import compaction as compacting
from intently.live.log.entries import body_of, body_of_ad, digest_of_content
from intently.live.log.folding import folded
from intently.live.replaying import unfold
from intently.types import Ad, Span

HOSTILE = Ad(
    "ad 'quoted' ? %s; --",
    '扫地机器人 \u0000 \u2028 😀 "red" ? %s',
    landing_spans=(Span("页面", 0.25),),
    bid=0.1,
    audiences=("厨师", "cooks"),
)


def put(seq: int, ad: Ad, batch: int = 0, new_to: str = "g") -> Entry:
    content, at_ms = digest_of_content(ad), 1_700_000_000_000 - seq
    return Entry(seq, batch or seq, at_ms, ad.ad_id, Kind.PUT, content, body_of_ad(ad), new_to)


def patch(seq: int, ad_id: str, batch: int = 0, **fields: object) -> Entry:
    return Entry(seq, batch or seq, 0, ad_id, Kind.PATCH, None, body_of(fields))


def delete(seq: int, ad_id: str, batch: int = 0) -> Entry:
    return Entry(seq, batch or seq, 0, ad_id, Kind.DELETE)


def entries_of(log, after: int = 0, models: str = "m") -> list[tuple[Entry, bytes | None]]:
    return [pair for page in log.entries(after, models) for pair in page]


def test_what_was_appended_is_there_in_order_with_its_readings(place):
    log = open_log(place)
    assert (log.position().last, entries_of(log), log.history(), log.is_owned) == (0, [], [], False)
    assert log.facts().num_entries == 0
    log.own()
    batch = [put(1, HOSTILE, 3), patch(2, "b", 3, bid=None, countries=()), delete(3, "c", 3)]
    log.append(batch, {batch[0].content: b"\x00\xff read"}, "m").result()
    log.append([patch(4, "b", bid=2.5)], {}, "m").result()
    other = open_log(place)
    for each in (log, other):
        assert entries_of(each) == [(batch[0], b"\x00\xff read"), (batch[1], None), (batch[2], None),
                                    (patch(4, "b", bid=2.5), None)]  # fmt: skip
        assert [entry.seq for entry, _ in entries_of(each, 3)] == [4]
        assert entries_of(each, 0, "other models")[0][1] is None
        assert each.history("b") == [patch(4, "b", bid=2.5), batch[1]]
        assert [entry.seq for entry in each.history(limit=2)] == [4, 3]
        assert (each.position().last, each.verify().problems) == (4, ())
    assert entries_of(log)[0][0].ad == HOSTILE
    log.add_readings({batch[0].content: b"again"}, "other models")
    assert entries_of(other, 0, "other models")[0][1] == b"again"
    facts = other.facts()
    assert (facts.num_entries, facts.num_readings, facts.num_ads, facts.first) == (4, 2, 3, 1)
    assert facts.by_kind == {"put": 1, "patch": 2, "delete": 1, "list": 0}
    assert facts.bytes > 0
    assert facts.version
    assert "secret" not in facts.place
    with pytest.raises(LogError, match="change 9 does not follow change 4"):
        log.append([delete(9, "x")], {}, "m")
    for each in (log, other):
        each.close()
    again = open_log(place)
    again.own()
    assert again.appended == 4
    again.append([delete(5, "b")], {}, "m").result()
    again.close()


def receipt(key: str = "k", until_ms: int = 1 << 50, body: bytes = b"{}") -> Receipt:
    return Receipt("键 of a sender", key, b"\x00 request", until_ms, 201, body)


def test_a_receipt_is_kept_with_its_batch_until_it_expires(place, tmp_path):
    log = open_log(place)
    log.own()
    assert log.receipt("键 of a sender", "k") is None
    log.append([delete(1, "x")], {}, "m", receipt()).result()
    log.append([], {}, "", receipt("of nothing", body="没有".encode())).result()
    log.append([delete(2, "x")], {}, "m", receipt("old", until_ms=1)).result()
    log.backup(tmp_path / "backup")
    log.close()
    again = open_log(place)
    assert again.receipt("键 of a sender", "k") == receipt()
    assert again.receipt("键 of a sender", "of nothing") == receipt("of nothing", body="没有".encode())
    assert again.receipt("another", "k") is again.receipt("键 of a sender", "old") is None
    with pytest.raises(LogError, match="change 9 does not follow"):
        again.append([delete(9, "x")], {}, "m", receipt("lost"))
    assert again.receipt("键 of a sender", "lost") is None
    again.append([delete(3, "x")], {}, "m", receipt(body=b"newer")).result()
    assert again.receipt("键 of a sender", "k").body == b"newer"
    again.restore(tmp_path / "backup")  # changes that are no more have no receipts
    assert again.receipt("键 of a sender", "k") is None
    again.close()


def test_a_log_without_receipts_gets_room_for_them(tmp_path):
    place = tmp_path / "changes.sqlite"
    log = open_log(place)
    log.append([delete(1, "x")], {}, "m").result()
    log.close()
    with contextlib.closing(sqlite3.connect(place)) as earlier:
        earlier.execute("DROP TABLE intently_receipts")
    log = open_log(place)
    log.append([delete(2, "x")], {}, "m", receipt()).result()
    assert log.receipt("键 of a sender", "k") == receipt()
    log.close()


def test_after_a_flush_that_failed_nothing_is_written_until_the_log_is_opened_again(tmp_path):
    """A second flush of the same pages may succeed without having written them."""
    log = open_log(tmp_path / "changes.sqlite")
    log.append([delete(1, "x")], {}, "m").result()
    store, asked = log._committer._store, []

    class Failing:
        @contextlib.contextmanager
        def transaction(self):
            asked.append(1)
            with store.transaction():
                yield
                raise LogError("disk I/O error")

        def __getattr__(self, name):
            return getattr(store, name)

    log._committer._store = Failing()
    with pytest.raises(LogError, match="disk I/O error"):
        log.append([delete(2, "x")], {}, "m", receipt()).result()
    log._committer._store = store
    for _ in range(2):
        assert log.reset() == 1
        with pytest.raises(LogError, match="disk I/O error"):
            log.append([delete(2, "x")], {}, "m")
    assert len(asked) == 1
    assert [entry.seq for entry, _ in entries_of(log)] == [1]
    log.close()
    log = open_log(tmp_path / "changes.sqlite")
    log.append([delete(2, "x")], {}, "m").result()
    assert [entry.seq for entry, _ in entries_of(log)] == [1, 2]
    assert log.receipt("键 of a sender", "k") is None
    log.close()


def test_one_writer(place):
    log, other = open_log(place), open_log(place)
    log.own()
    with pytest.raises(LogBusyError, match="writes the changes of this engine"):
        other.own()
    assert not other.is_owned
    log.close()
    other.own()
    with pytest.raises(LogBusyError):
        log.append([delete(1, "x")], {}, "m")
    other.append([delete(1, "x")], {}, "m").result()
    other.close()


def test_threads_share_a_commit(place):
    log = open_log(place)
    log.own()
    lock, commits = threading.Lock(), []
    store = log._committer._store
    transaction = type(store).transaction
    counted = lambda self: commits.append(1) or transaction(self)  # noqa: E731
    log._committer._store = type("Counted", (), {
        "transaction": lambda self: counted(store), "__getattr__": lambda self, name: getattr(store, name)
    })()  # fmt: skip

    def write() -> None:
        for _ in range(25):
            with lock:
                done = log.append([delete(log.appended + 1, "x")], {}, "m")
            done.result()
            assert log.durable >= 1

    threads = [threading.Thread(target=write) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.seq for entry, _ in entries_of(log)] == list(range(1, 401))
    assert len(commits) < 300
    log.close()


def test_a_batch_is_read_whole(place, monkeypatch):
    from intently.live.log import sql

    monkeypatch.setattr(sql, "PAGE", 4)
    log = open_log(place)
    log.own()
    for first, last in ((1, 3), (4, 9), (10, 10), (11, 17)):
        log.append([delete(seq, f"ad{seq}", last) for seq in range(first, last + 1)], {}, "m").result()
    pages = [[entry.seq for entry, _ in page] for page in log.entries(0, "m")]
    assert pages == [[1, 2, 3, 4, 5, 6, 7, 8, 9], [10, 11, 12, 13, 14, 15, 16, 17]]
    log.close()


def test_an_altered_entry_is_told_and_an_altered_reading_is_read_again(place, altered):
    log = open_log(place)
    log.own()
    ad = Ad("a", "Red")
    log.append([put(1, ad), patch(2, "a", bid=1.0)], {digest_of_content(ad): b"read"}, "m").result()
    log.close()
    altered(place, "UPDATE intently_readings SET checksum = checksum + 1")
    log = open_log(place)
    assert entries_of(log)[0][1] is None
    assert log.verify().problems[0].startswith("the reading of")
    altered(place, "UPDATE intently_entries SET body = '{\"bid\":9.0}' WHERE seq = 2")
    with pytest.raises(LogError, match="change 2 has been altered"):
        entries_of(log)
    assert len(log.verify().problems) == 2
    log.close()
    altered(place, "UPDATE intently_meta SET value = '99' WHERE key = 'format'")
    with pytest.raises(LogError, match="is a log of format 99, not 1; open it with the version"):
        entries_of(open_log(place))


def test_fields_of_a_later_version_are_refused(place):
    entry = replace(patch(1, "a"), body='{"mood": "red"}')
    with pytest.raises(LogError, match="change 1 sets 'mood', which this version does not know"):
        _ = entry.fields


def test_backup_while_changes_go_on_and_restore(place, tmp_path):
    log = open_log(place)
    with pytest.raises(LogError, match="there is no log yet"):
        log.backup(tmp_path / "backup.db")
    log.own()
    log.append([put(1, HOSTILE), delete(2, "x")], {digest_of_content(HOSTILE): b"read"}, "m").result()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            log.append([patch(log.appended + 1, HOSTILE.ad_id, bid=1.0)], {}, "m").result()

    writer = threading.Thread(target=write)
    writer.start()
    made = [log.backup(tmp_path / f"backup{number}.db") for number in range(3)]
    stop.set()
    writer.join()
    assert made[0].num_entries <= made[1].num_entries <= made[2].num_entries
    everything, history = entries_of(log), log.position().history
    assert log.restore(tmp_path / "backup1.db").position.last == made[1].position.last == log.appended
    assert log.position().history != history
    assert entries_of(log) == everything[: made[1].num_entries]
    assert open_log(tmp_path / "backup2.db").verify().num_entries == made[2].num_entries
    assert not list(tmp_path.glob(".*"))
    content = bytearray((tmp_path / "backup0.db").read_bytes())
    at = content.find(b"cooks")
    content[at] ^= 1
    (tmp_path / "backup0.db").write_bytes(content)
    with pytest.raises(LogError, match="is damaged: change 1 has been altered"):
        log.restore(tmp_path / "backup0.db")
    assert len(entries_of(log)) == made[1].num_entries
    log.append([delete(log.appended + 1, "x")], {}, "m").result()
    log.close()


BUILT = {ad_id: Ad(ad_id, f"Built {ad_id}", bid=9.0) for ad_id in "abc"}
ADS = [
    BUILT["a"],
    Ad("a", "Red"),
    Ad("a", "Red", bid=2.0, audiences=("厨师",)),
    Ad("a", "蓝色"),
    Ad("b", "Red"),
    Ad("b", "Pan"),
]
FIELDS = [{"bid": 1.0}, {"status": "paused"}, {"bid": None}]
NUM_LONG = int(os.environ.get("INTENTLY_LOG_ENTRIES", "300"))  # 1,000 take 23 s
changes = st.one_of(
    st.sampled_from(ADS),
    st.tuples(st.sampled_from("abc"), st.sampled_from(FIELDS)),
    st.sampled_from("abc"),
)


def entry_of(seq: int, change: object, there: dict[str, bytes]) -> Entry | None:
    if isinstance(change, Ad):
        content = digest_of_content(change)
        is_new, there[change.ad_id] = there.get(change.ad_id) != content, content
        return put(seq, change, new_to="g" if is_new else "")
    if isinstance(change, str):
        there.pop(change, None)
        return delete(seq, change)
    ad_id, fields = change
    return patch(seq, ad_id, **fields) if ad_id in there else None


def sequence(steps: list[object]) -> list[Entry]:
    entries: list[Entry] = []
    there = {ad_id: digest_of_content(ad) for ad_id, ad in BUILT.items()}
    for step in steps:
        if entry := entry_of(len(entries) + 1, step, there):
            entries.append(entry)
    return entries


def replayed(entries: list[Entry], ads: dict[str, Ad] | None = None) -> list[Ad]:
    """Return the ads in order of arrival: the plain meaning of a log."""
    ads = dict(BUILT if ads is None else ads)
    for entry in entries:
        before = ads.get(entry.ad_id)
        if entry.kind is Kind.DELETE:
            ads.pop(entry.ad_id, None)
        elif entry.kind is Kind.PUT:
            if before is None or entry.new_to:
                ads.pop(entry.ad_id, None)
            ads[entry.ad_id] = entry.ad
        elif before is not None:
            ads[entry.ad_id] = replace(before, **entry.fields)
    return list(ads.values())


def by_effects(entries: list[Entry]) -> list[Ad]:
    ads = dict(BUILT)
    for each in unfold([[(entry, None)] for entry in entries]):
        effect = each.effect
        if isinstance(effect, Gone):
            ads.pop(effect.ad_id, None)
        elif isinstance(effect, Fields):
            if effect.ad_id in ads:
                ads[effect.ad_id] = replace(ads[effect.ad_id], **effect.values)
        elif isinstance(effect, Full):
            if each.new_to:
                ads.pop(effect.ad.ad_id, None)
            ads[effect.ad.ad_id] = effect.ad
    return list(ads.values())


@given(st.lists(changes, max_size=40), st.integers(0, 40))
def test_folding_and_replaying_equal_one_change_after_the_other(steps, at):
    entries = sequence(steps)
    for end in range(len(entries) + 1):  # every prefix
        assert by_effects(entries[:end]) == replayed(entries[:end])
    assert set(replayed(entries + entries)) == set(replayed(entries))  # twice is once
    of_ad: dict[str, list[Entry]] = {}
    for entry in entries:
        of_ad[entry.ad_id] = folded(of_ad.get(entry.ad_id, []), entry)
        assert len(of_ad[entry.ad_id]) <= 2
    left = sorted((entry for each in of_ad.values() for entry in each), key=lambda entry: entry.seq)
    assert replayed(left) == replayed(entries)
    seen = entries[:at]  # a follower that was here when the log was folded
    rest = [entry for entry in left if entry.seq > len(seen)]
    state = {ad.ad_id: ad for ad in replayed(seen)}
    assert set(replayed(rest, state)) == set(replayed(entries))


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(st.lists(changes, min_size=5, max_size=60))
def test_compaction_on_disk_equals_folding(tmp_path_factory, steps):
    entries = sequence(steps)
    log = open_log(tmp_path_factory.mktemp("log") / "changes.db", reserve_bytes=0)
    memory = MemoryLog()
    log.own()
    for entry in entries:
        readings = {entry.content: entry.content * 2} if entry.content else {}
        log.append([entry], readings, "m").result()
        memory.append([entry], readings, "m")
    log.compact()
    assert entries_of(log) == entries_of(memory)
    assert log.facts().num_readings == memory.facts().num_readings == len(
        {entry.content for entry, _ in entries_of(log) if entry.content}
    )  # fmt: skip
    floor = len(entries) // 2
    log.compact(floor)
    memory.compact(floor)
    assert entries_of(log, floor) == entries_of(memory, floor)
    assert log.position().last == memory.position().last == len(entries)
    if floor:
        with pytest.raises(LogError, match="were removed, and change 1 is needed"):
            entries_of(log)
    log.close()


def test_a_log_stays_bounded_by_itself(place, monkeypatch):
    monkeypatch.setattr(compacting, "KEEP_RECENT", 50)
    log = open_log(place)
    log.own()
    for start in range(1, 3_001, 100):
        log.append([patch(seq, f"ad{seq % 20}", start + 99, bid=float(seq)) for seq in range(start, start + 100)],
                   {}, "m").result()  # fmt: skip
    log.flush()
    assert log.facts().num_entries < 20 + 50 + 400
    assert log.position().last == 3_000
    log.compact()
    assert {entry.ad_id: entry.fields["bid"] for entry, _ in entries_of(log)} == {
        f"ad{seq % 20}": float(seq) for seq in range(2_981, 3_001)
    }
    log.compact(3_000)
    assert log.position().last == 3_000
    log.append([delete(3_001, "x")], {}, "m").result()
    log.close()


def test_places():
    assert isinstance(open_log("memory"), MemoryLog)
    with pytest.raises(LogError, match="mysql:// is no place for a log; use a file or postgresql://"):
        open_log("mysql://host")
    log = open_log("postgresql://me:secret@127.0.0.1:9/none")
    assert log.place == "postgresql://me@127.0.0.1:9/none"


def test_every_prefix_of_a_long_log_is_the_state_of_that_moment(tmp_path):
    """Many changes, read back from the disk; and each prefix once more over itself."""
    rng = random.Random(0)
    kinds = [lambda: rng.choice(ADS), lambda: (rng.choice("abc"), rng.choice(FIELDS)), lambda: rng.choice("abc")]
    written = sequence([rng.choice(kinds)() for _ in range(NUM_LONG + NUM_LONG // 2)])[:NUM_LONG]
    assert len(written) == NUM_LONG
    log = open_log(tmp_path / "changes.db", reserve_bytes=0)
    log.own()
    log.append([replace(entry, batch=written[-1].batch) for entry in written], {}, "m").result()
    entries = [entry for entry, _ in entries_of(log)]
    log.close()
    ads = dict(BUILT)
    for end, entry in enumerate(entries, start=1):
        ads = {ad.ad_id: ad for ad in replayed([entry], ads)}
        found = by_effects(entries[:end])
        assert found == list(ads.values())
        assert set(by_effects(entries[:end] * 2)) == set(found)
