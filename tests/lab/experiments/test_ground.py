"""What experiments stand on: a world that is simulated once, first ads, judgements of some queries."""

import json

import pytest

pytest.importorskip("torch")

from hand_made import ASKED, QRELS, Stages, result

from intently.lab.experiments import data
from intently.lab.experiments.data import world_files
from intently.lab.experiments.ground import first_ads, seconds_of, some_of
from intently.lab.world.simulate import VERSION


def test_a_world_is_simulated_once(tmp_path, monkeypatch):
    made = []

    def simulate(directory, num_ads, seed, *, progress):
        made.append((num_ads, seed))
        progress("simulating", 1, 2, "")
        directory.mkdir(exist_ok=True)
        (directory / "world.json").write_text(json.dumps({"version": VERSION, "num_ads": num_ads, "seed": seed}))

    monkeypatch.setattr(data, "simulate_world", simulate)
    told = Stages()
    files = [world_files(tmp_path / "w", number, told) for number in (5, 5, 6)]
    assert made == [(5, 0), (6, 0)]
    assert told == ["simulating"]
    assert files[0].ads == tmp_path / "w" / "ads.jsonl.gz"
    assert files[0].taxonomy is None
    (tmp_path / "w" / "world.json").write_text(json.dumps({"version": -1, "num_ads": 6, "seed": 0}))
    world_files(tmp_path / "w", 6, told)
    assert made == [(5, 0), (6, 0), (6, 0)]


def test_what_came_first():
    found = result("x", {"runs": ["a3", "a0", "a1"], "zero": []})
    assert first_ads(found.run, "runs", 2) == ["a3", "a0"]
    assert first_ads(found.run, "zero", 2) == []
    assert first_ads(found.run, "nobody", 2) == []
    assert seconds_of(found) == 90.0


def test_judgements_of_some_queries():
    some = some_of(QRELS, {"跑", "one", "unknown"})
    assert some.query_ids == ("跑", "one")
    pairs = zip(some.query_rows.tolist(), some.ad_ids.to_pylist(), some.values.tolist(), strict=True)
    assert list(pairs) == [(0, "a2", 2.0), (0, "a3", 0.0), (1, "a4", 2.0), (1, "a6", 2.0)]
    assert some.kind == QRELS.kind
    whole = some_of(QRELS, set(ASKED))
    assert whole.query_ids == QRELS.query_ids
    assert whole.query_rows.tolist() == QRELS.query_rows.tolist()
    none = some_of(QRELS, set())
    assert (none.query_ids, len(none), none.ad_ids.to_pylist()) == ((), 0, [])
