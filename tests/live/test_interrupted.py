"""All or none, whatever interrupts a change: no memory left, or an impatient user."""

import threading

import pytest

from intently.live import effects
from intently.live.overtaken import Overtaken
from intently.snapshot.attributes import Attributes
from intently.snapshot.snapshot import Snapshot
from intently.types import Ad, Delete, Patch, Put
from tests.engine.small_engine import ids, make_engine

PLACES = [
    (Attributes, "changed"),
    (Attributes, "concatenated"),
    (Snapshot, "without"),
    (Snapshot, "appended"),
    (Overtaken, "remember"),
    (effects, "_appended"),
]
CHANGES = [Put(Ad("new", "Red gizmo")), Put(Ad("robot", "Red lamp")), Patch("pan", {"bid": 9.0}), Delete("kettle")]


class FailsOnce(dict):
    """A dictionary that is interrupted while it is changed."""

    def __init__(self, content: dict, error: type[BaseException]) -> None:
        super().__init__(content)
        self.error: type[BaseException] | None = error

    def _fail(self) -> None:
        if self.error:
            error, self.error = self.error, None
            raise error

    def update(self, *given: object) -> None:
        self._fail()
        super().update(*given)

    def pop(self, *given: object) -> object:
        self._fail()
        return super().pop(*given)


@pytest.fixture
def engine(make_student):
    return make_engine(make_student(3))


def assert_whole(engine, changed: bool) -> None:
    assert (engine.ad("new") is not None) == changed
    assert (engine.ad("robot").title == "Red lamp") == changed
    assert (engine.ad("pan").bid == 9.0) == changed
    assert (engine.ad("kettle") is None) == changed
    told = engine.catalog.strings("ad_id")
    assert len(set(told)) == len(told)
    assert ("new" in ids(engine.retrieve("gizmo", 20))) == changed


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize(("kind", "name"), PLACES, ids=lambda part: getattr(part, "__name__", part))
def test_a_change_that_is_interrupted_is_not_there(engine, monkeypatch, kind, name, error):
    real, failed = getattr(kind, name), []

    def fails(*given):
        if not failed:
            failed.append(True)
            raise error
        return real(*given)

    monkeypatch.setattr(kind, name, fails)
    with pytest.raises(error):
        engine.apply(CHANGES)
    assert failed
    assert_whole(engine, changed=False)
    engine.apply(CHANGES)
    assert_whole(engine, changed=True)
    engine.remove_ads(["new", "robot", "pan"])
    engine.add_ads([Ad("new", "Pan"), Ad("robot", "Lamp")])


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_a_change_that_is_interrupted_after_it_was_shown_is_there(engine, error):
    numbers = engine._live._numbers
    numbers._of = FailsOnce(numbers._of, error)
    with pytest.raises(error):
        engine.apply(CHANGES)
    engine.apply([Patch("lamp", {"bid": 1.0})])  # whoever writes next mends what was left behind
    assert_whole(engine, changed=True)
    engine.remove_ads(["new", "robot", "pan"])


def test_models_that_fail_change_nothing(engine, monkeypatch):
    def fails(catalog):
        raise RuntimeError("no model")

    reader = engine._live._reader
    monkeypatch.setattr(type(reader), "parts", lambda self, catalog: fails(catalog))
    with pytest.raises(RuntimeError, match="no model"):
        engine.apply(CHANGES)
    assert_whole(engine, changed=False)
    monkeypatch.undo()
    engine.apply(CHANGES)
    assert_whole(engine, changed=True)


def test_a_merge_that_fails_is_told_and_tried_again(engine, monkeypatch, caplog):
    from intently.live import merger, merging

    monkeypatch.setattr(merging, "MIN_LOOSE", 0)
    monkeypatch.setattr(merger, "FIRST_DELAY_S", 0.01)
    real, failed = Snapshot.merged, []

    def fails(self, first, last):
        if first == 0 and not failed:
            failed.append(True)
            raise OSError("disk on fire")
        return real(self, first, last)

    monkeypatch.setattr(Snapshot, "merged", fails)
    engine.add_ads([Ad("new", "Red gizmo")])
    while not failed or engine._live._merger._running or len(engine.snapshot.segments) > 1:
        engine._live.wait()
    assert engine._live.merge_failure == ""
    assert "a merge of segments failed; it is tried again" in caplog.text
    assert "disk on fire" in caplog.text
    assert "new" in ids(engine.retrieve("gizmo", 20))


def slow_models(engine, monkeypatch):
    """Let models wait for the first event returned; they set the second when they begin to read."""
    reader, gate, begun = engine._live._reader, threading.Event(), threading.Event()
    real = type(reader).parts

    def slow(self, catalog):
        begun.set()
        assert gate.wait(300)
        return real(self, catalog)

    monkeypatch.setattr(type(reader), "parts", slow)
    return gate, begun


def test_a_patch_waits_for_an_ad_that_is_on_its_way(engine, monkeypatch):
    gate, begun = slow_models(engine, monkeypatch)
    put = threading.Thread(target=engine.apply, args=([Put(Ad("new", "Red gizmo"))],))
    put.start()
    assert begun.wait(300)
    patch = threading.Thread(target=engine.apply, args=([Patch("new", {"bid": 2.0})],))
    patch.start()
    assert engine.apply([Patch("pan", {"bid": 3.0})]) > 0  # nobody else waits
    assert engine.ad("pan").bid == 3.0
    assert engine.ad("new") is None
    gate.set()
    put.join()
    patch.join()
    assert engine.ad("new").bid == 2.0


def test_a_patch_of_text_is_one_of_the_text_on_its_way(engine, monkeypatch):
    gate, begun = slow_models(engine, monkeypatch)
    put = threading.Thread(target=engine.apply, args=([Put(Ad("pan", "Blue gizmo", description="electric"))],))
    put.start()
    assert begun.wait(300)
    patch = threading.Thread(target=engine.apply, args=([Patch("pan", {"title": "Red gizmo"})],))
    patch.start()
    assert engine.ad("pan").title == "Red pan"
    gate.set()
    put.join()
    patch.join()
    assert (engine.ad("pan").title, engine.ad("pan").description) == ("Red gizmo", "electric")
