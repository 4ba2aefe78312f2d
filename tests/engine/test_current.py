"""An engine that outlives builds: generations change under queries and changes."""

import threading
from dataclasses import replace

import pytest

from intently.engine.current import CurrentEngine
from intently.errors import ArtifactError, InputError
from intently.generation import roll_back
from intently.types import Ad, Delete, Patch, Put, Request
from tests.engine.small_engine import SETTINGS, ids, make_engine, save


@pytest.fixture(scope="module")
def built(make_student):
    return make_engine(make_student(3)), make_engine(make_student(4), replace(SETTINGS, intention_weight=3.0))


def test_changes_outlive_a_refresh(built, tmp_path):
    first, second = built
    save(first, tmp_path)
    current = CurrentEngine(tmp_path)
    assert not current.refresh()
    before = current.engine
    current.apply([Put(Ad("new", "Red gizmo pan")), Patch("pan", {"bid": 0.5}), Delete("kettle")])
    seq = current.apply([Patch("new", {"status": "paused"}), Patch("new", {"status": "active"})])
    save(second, tmp_path)
    assert current.refresh()
    assert current.engine is not before
    answer = current.answer(Request("red gizmo pan", 20))
    assert (answer.generation, answer.seq) == (current.engine.generation, seq)
    assert ids(answer)[0] == "new"
    assert current.engine.ad("pan").bid == 0.5
    assert current.engine.ad("kettle") is None
    assert current.apply([Delete("new")]) == seq + 1
    roll_back(tmp_path, before.generation)
    assert current.refresh()
    assert current.answer(Request("red pan")).generation == before.generation
    assert current.engine.ad("new") is None
    assert current.engine.ad("pan").bid == 0.5


def test_what_cannot_be_trusted_is_not_gone_over_to(built, tmp_path):
    save(built[0], tmp_path)
    current = CurrentEngine(tmp_path)
    before = current.engine
    for file in save(built[1], tmp_path):
        file.write_bytes(b"")
    with pytest.raises(ArtifactError):
        current.refresh()
    assert current.engine is before
    assert len(current.answer(Request("red pan"))) == 10
    with pytest.raises(InputError):
        current.apply([Patch("nobody", {"bid": 1.0})])


def test_no_answer_is_mixed_and_no_change_lost(built, tmp_path):
    """Four threads ask and two change ads while generations come and go."""
    save(built[0], tmp_path)
    current = CurrentEngine(tmp_path)
    query = Request("robot vacuum", 3)
    problems: list[str] = []
    done = threading.Event()
    answers: dict[str, set[tuple[float, ...]]] = {}

    def ask() -> None:
        while not done.is_set():
            found = current.answer(query)
            answers.setdefault(found.generation, set()).add(tuple(round(ad.score, 6) for ad in found.ads))

    def change(name: str) -> None:
        try:
            for number in range(40):
                current.apply([Put(Ad(f"{name}{number}", "electric lamp", status="paused"))])
                current.apply([Patch(f"{name}{number}", {"bid": float(number)})])
        except Exception as error:
            problems.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    writers = [threading.Thread(target=change, args=(name,)) for name in "ab"]
    for thread in (*threads, *writers):
        thread.start()
    for number in range(6):
        save(built[1 - number % 2], tmp_path)
        assert current.refresh()
    for thread in writers:
        thread.join()
    done.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert all(len(scores) == 1 for scores in answers.values())
    for name in "ab":
        assert [current.engine.ad(f"{name}{number}").bid for number in range(40)] == [float(n) for n in range(40)]
