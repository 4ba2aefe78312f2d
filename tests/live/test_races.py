"""Each kind of change while a merge, or a new generation, is ready and not yet shown: nothing comes back, no filter
is stale."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from intently.engine import eligibility
from intently.engine.current import CurrentEngine
from intently.engine.engine import Engine
from intently.live import merging
from intently.snapshot.snapshot import Snapshot
from intently.types import Ad, Change, Channel, Delete, Patch, Put, Request, UserContext
from tests.engine.small_engine import ADS, SETTINGS, ids, make_engine, save

OLD = {ad.ad_id: ad for ad in ADS}
BEFORE = Ad("came", "Red gizmo", countries=("DE",))  # a change that the merge, or the generation, contains
CHANGES: dict[str, list[Change]] = {
    "add": [Put(Ad("new", "Blue gizmo 小玩意", countries=("DE",)))],
    "replace": [Put(Ad("pan", "Blue gizmo")), Put(Ad("came", "红色水壶"))],
    "patch": [Patch("pan", {"countries": ("CN",), "bid": 2.0}), Patch("came", {"status": "paused"})],
    "delete": [Delete("pan"), Delete("came"), Delete("kettle")],
}
USERS = (None, UserContext(country="DE"), UserContext(country="CN", audiences={"cooks"}))
QUERIES = ("red gizmo pan", "红色水壶 kettle", "blue gizmo 小玩意")


@pytest.fixture(scope="module")
def built(make_student):
    return make_engine(make_student(3)), make_engine(make_student(4), replace(SETTINGS, intention_weight=3.0))


def after(ads: dict[str, Ad], changes: list[Change]) -> dict[str, Ad]:
    ads = dict(ads)
    for change in changes:
        if isinstance(change, Put):
            ads[change.ad.ad_id] = change.ad
        elif isinstance(change, Delete):
            ads.pop(change.ad_id)
        else:
            ads[change.ad_id] = replace(ads[change.ad_id], **change.fields)
    return ads


def assert_shows(engine: Engine, ads: dict[str, Ad]) -> None:
    snapshot = engine.snapshot
    there = [snapshot.ad(row) for row in np.flatnonzero(snapshot.alive).tolist()]
    assert {ad.ad_id: ad for ad in there} == ads
    assert len(there) == len(ads)
    for user in USERS:
        for query in QUERIES:
            request = Request(query, 99, user)
            eligible = {
                ad_id for ad_id, ad in ads.items() if all(one.admits for one in eligibility.verdict(ad, request))
            }
            for channel in Channel:
                found = ids(engine.answer(replace(request, channel=channel)))
                assert len(set(found)) == len(found)
                assert set(found) <= eligible
                if channel in (Channel.DENSE, Channel.FUSED):  # which have every ad that may be shown
                    assert set(found) == eligible


class Held:
    """Stops the first call of a function once it is done, before its result is used, until it is let go."""

    def __init__(self, function, chosen=lambda *given: True) -> None:
        self.function, self.chosen = function, chosen
        self.done, self.go = threading.Event(), threading.Event()

    def of(self):
        held = self

        def call(*given):
            result = held.function(*given)
            if not held.done.is_set() and held.chosen(*given):
                held.done.set()
                assert held.go.wait(60)
            return result

        return call


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_while_a_merge_is_about_to_be_shown(make_student, monkeypatch, kind):
    engine = make_engine(make_student(3))
    monkeypatch.setattr(merging, "MIN_LOOSE", 0)
    held = Held(Snapshot.merged, lambda snapshot, first, last: first == 0)
    monkeypatch.setattr(Snapshot, "merged", held.of())
    engine.apply([Put(BEFORE)])
    assert held.done.wait(60)
    expected = after(OLD | {"came": BEFORE}, CHANGES[kind])
    engine.apply(CHANGES[kind])
    assert_shows(engine, expected)
    held.go.set()
    engine._live.wait()
    assert engine._live.merge_failure == ""
    assert len(engine.snapshot.segments) == 1
    assert_shows(engine, expected)


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize(("owner", "name"), [(CurrentEngine, "_loaded"), (Engine, "catch_up")])
def test_a_change_while_a_generation_is_about_to_be_shown(built, tmp_path, monkeypatch, kind, owner, name):
    """The new one has caught up with the log once, or once more; what comes now it has to take over."""
    save(built[0], tmp_path)
    expected = after(OLD | {"came": BEFORE}, CHANGES[kind])
    with CurrentEngine(tmp_path, follow_s=None) as current:
        current.apply([Put(BEFORE)])
        save(built[1], tmp_path)
        held = Held(getattr(owner, name))
        monkeypatch.setattr(owner, name, held.of())
        refreshing = threading.Thread(target=current.refresh)
        refreshing.start()
        assert held.done.wait(60)
        first = current.engine
        current.apply(CHANGES[kind])
        held.go.set()
        refreshing.join()
        assert current.engine is not first
        assert_shows(current.engine, expected)
    monkeypatch.undo()
    with CurrentEngine(tmp_path, follow_s=None) as again:
        assert_shows(again.engine, expected)


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_while_generations_are_exchanged(built, tmp_path, monkeypatch, kind):
    """The old engine takes no more changes, and the new one does not answer yet: the change waits, and is not lost."""
    save(built[0], tmp_path)
    expected = after(OLD | {"came": BEFORE}, CHANGES[kind])
    with CurrentEngine(tmp_path, follow_s=None) as current:
        current.apply([Put(BEFORE)])
        save(built[1], tmp_path)
        first, held = current.engine, Held(Engine.retire)
        monkeypatch.setattr(Engine, "retire", held.of())
        refreshing = threading.Thread(target=current.refresh)
        refreshing.start()
        assert held.done.wait(60)
        changing = threading.Thread(target=current.apply, args=(CHANGES[kind],))
        changing.start()
        changing.join(0.05)
        assert changing.is_alive()
        assert current.answer(Request("red pan")).generation == first.generation  # queries go on
        held.go.set()
        refreshing.join()
        changing.join()
        assert_shows(current.engine, expected)
    monkeypatch.undo()
    with CurrentEngine(tmp_path, follow_s=None) as again:
        assert_shows(again.engine, expected)
