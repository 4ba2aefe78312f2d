import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from intently.errors import InputError
from intently.lab.experiments.runner import Answers, Experiment, fingerprint_of

QUERIES = ("q1", "问", "q3")
RANKINGS = [(["a", "锅"], [2.5, 1.0]), ([], []), (("b",), np.array([0.1], dtype=np.float32))]


class Function:
    """Counts its calls and gives what it was made with."""

    def __init__(self, given):
        self.given, self.calls = given, 0

    def __call__(self):
        self.calls += 1
        return self.given


@pytest.fixture
def open_experiment(tmp_path):
    def make(**changed) -> Experiment:
        return Experiment(tmp_path / "e", {"data": "abc", "steps": 3, **changed}, QUERIES)

    return make


def as_tuple(result):
    run = result.run
    columns = run.query_ids, run.query_rows.tolist(), run.ad_ids.to_pylist(), run.scores.tolist(), run.tag
    return (result.name, *columns, result.mean_identifiers, result.facts)


def step_file(experiment, suffix) -> Path:
    (path,) = (experiment.directory / "steps").glob(f"*{suffix}")
    return path


def test_a_finished_step_is_not_done_again(open_experiment):
    function = Function(Answers(RANKINGS, [3, 0, 6], {"loss": np.float32(0.5), "nan": np.nan, "at": (1, 2)}))
    first = open_experiment().run("BM25 (教师)", function)
    again = open_experiment().run("BM25 (教师)", function)
    assert function.calls == 1
    assert as_tuple(first) == as_tuple(again)
    assert first.run.query_ids == QUERIES  # the one without ads too, in order
    assert first.run.query_rows.tolist() == [0, 0, 2]
    assert first.run.scores.tolist() == [2.5, 1.0, float(np.float32(0.1))]
    assert first.mean_identifiers == 3
    costs = first.facts.pop("costs")
    assert first.facts == {"loss": 0.5, "nan": None, "at": [1, 2]}
    assert costs["seconds"] >= 0 and costs["cpu_seconds"] >= 0 and costs["peak_bytes"] > 2**20
    assert costs["resumed"] is False


def test_a_system_may_find_nothing_and_decode_nothing(open_experiment):
    function = Function(Answers([([], [])] * 3))
    results = [open_experiment().run("none", function) for _ in range(2)]
    assert function.calls == 1 and as_tuple(results[0]) == as_tuple(results[1])
    assert len(results[1].run) == 0 and results[1].run.query_ids == QUERIES and results[1].mean_identifiers is None


def test_facts_are_kept(open_experiment):
    function = Function({"counts": np.arange(3), 5: {"path": Path("x")}, "inf": float("inf")})
    for _ in range(2):
        facts = open_experiment().facts("cache, 10⁶", function)
        assert facts.pop("costs")["seconds"] >= 0
        assert facts == {"counts": [0, 1, 2], "5": {"path": "x"}, "inf": None}
    assert function.calls == 1


def test_names_that_look_alike_are_different_steps(open_experiment):
    experiment = open_experiment()
    names = ["a b", "a-b", "A-b", "锅", "壶", "../a", "x" * 300]
    given = [experiment.facts(name, Function({"name": name}))["name"] for name in names]
    assert given == names
    assert len(list((experiment.directory / "steps").iterdir())) == len(names)


@pytest.mark.parametrize("suffix", [".json", ".trec.gz"])
@pytest.mark.parametrize("damage", ["half", "empty", "gone", "flipped"])
def test_what_is_torn_is_done_again(open_experiment, suffix, damage):
    function = Function(Answers(RANKINGS, [1, 2, 3]))
    first = open_experiment().run("fused", function)
    path = step_file(open_experiment(), suffix)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        flipped = b"\xff" + content[1:]
        path.write_bytes({"half": content[: len(content) // 2], "empty": b"", "flipped": flipped}[damage])
    again = open_experiment().run("fused", function)
    assert function.calls == 2
    assert as_tuple(again)[:-1] == as_tuple(first)[:-1]
    open_experiment().run("fused", function)
    assert function.calls == 2


def test_an_interrupted_step_goes_on_from_its_own_checkpoint(open_experiment):
    def train():
        checkpoint = open_experiment().work("train") / "step"
        if not checkpoint.exists():
            checkpoint.write_text("1")
            raise KeyboardInterrupt
        return {"from": int(checkpoint.read_text())}

    with pytest.raises(KeyboardInterrupt):
        open_experiment().facts("train", train)
    facts = open_experiment().facts("train", train)
    assert facts["from"] == 1 and facts["costs"]["resumed"] is True
    assert not list(open_experiment().directory.rglob("*.partial"))


def test_bad_answers_leave_nothing(open_experiment):
    experiment = open_experiment()
    with pytest.raises(InputError, match="2 rankings for 3 queries"):
        experiment.run("short", Function(Answers(RANKINGS[:2])))
    with pytest.raises(InputError, match="an ad is there twice"):
        experiment.run("twice", Function(Answers([*RANKINGS[:2], (["a", "a"], [1, 1])])))
    with pytest.raises(InputError, match="2 numbers of identifiers for 3 rankings"):
        Answers(RANKINGS, [1, 2])
    assert not list((experiment.directory / "steps").iterdir())


def test_a_name_is_of_one_kind(open_experiment):
    open_experiment().facts("x", Function({}))
    with pytest.raises(InputError, match="is one of facts, not of run; name it differently"):
        open_experiment().run("x", Function(Answers(RANKINGS)))


def test_another_fingerprint_is_refused(open_experiment, tmp_path):
    open_experiment().facts("x", Function({}))
    with pytest.raises(InputError, match=r"e: was made with other steps \(3, now 4\); name a new directory, delete"):
        open_experiment(steps=4)
    with pytest.raises(InputError, match="other queries;"):
        Experiment(tmp_path / "e", {"data": "abc", "steps": 3}, QUERIES[:2])
    Experiment(tmp_path / "text", "one")
    with pytest.raises(InputError, match=r'other fingerprint \("one", now "two"\)'):
        Experiment(tmp_path / "text", "two")
    open_experiment()  # the first still works


def test_foreign_directories_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        Experiment(tmp_path / "file", "f")
    with pytest.raises(InputError, match="holds files that are not an experiment"):
        Experiment(tmp_path, "f")
    (tmp_path / "d").mkdir()
    for content in ("", "[]", '{"kind": "intently engine"}', '{"kind": "intently experiment"}'):
        (tmp_path / "d" / "experiment.json").write_text(content)
        with pytest.raises(InputError, match="is damaged; delete the directory"):
            Experiment(tmp_path / "d", "f")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".experiment.json.0123abcd.partial").write_text("{")  # stopped while it was written
    Experiment(tmp_path / "new", "f")
    assert json.loads((tmp_path / "new" / "experiment.json").read_text())["kind"] == "intently experiment"


def test_fingerprint_of_files_and_settings(tmp_path):
    @dataclass(frozen=True)
    class Settings:
        steps: int = 3
        names: frozenset[str] = frozenset({"b", "a"})

    path = tmp_path / "ads.tsv"
    path.write_text("1")
    first = fingerprint_of({"ads": path}, {"training": Settings()})
    assert {key: first[key] for key in first if key != "ads"} == {"training.steps": 3, "training.names": ["a", "b"]}
    path.write_text("2")
    assert fingerprint_of({"ads": path}, {"training": Settings()})["ads"] != first["ads"]
    with pytest.raises(InputError, match="no such file"):
        fingerprint_of({"ads": tmp_path / "none"}, {})


def test_forgetting_takes_checkpoints_and_leaves_results(tmp_path):
    experiment = Experiment(tmp_path / "e", "x", ("q",))
    for name in ("BRIDGE", "BRIDGE − gate"):
        (experiment.work(name) / "checkpoint.pt").write_bytes(b"weights")
    before = experiment.run("BRIDGE", lambda: Answers([(["a"], [1.0])]))
    kept = experiment.work("BRIDGE − gate") / "checkpoint.pt"
    experiment.forget("BRIDGE")
    experiment.forget("BRIDGE")  # nothing is there any more
    experiment.forget("never begun")
    assert [path.parent for path in (tmp_path / "e" / "work").rglob("*.pt")] == [kept.parent]
    again = experiment.run("BRIDGE", lambda: pytest.fail("done already"))
    assert again.facts == before.facts
    assert again.run.ad_ids.to_pylist() == ["a"]
    assert list(experiment.work("BRIDGE").iterdir()) == []
