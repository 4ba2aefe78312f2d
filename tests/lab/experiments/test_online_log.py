"""Estimates from a log: equal to what was earned for the system that was logged, and unbiased for others."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("bm25s")

from typer.testing import CliRunner

from intently.build.pipeline import build_engine
from intently.build.settings import BuildSettings
from intently.cli import app
from intently.errors import InputError
from intently.lab.experiments.online_log import REWARDS, estimates, examination_of, read_log
from intently.market.estimates import AnswerRecord, ShownAd

LOOKS = np.array([1.0, 0.6])
LIKED = {"hose": 0.5, "软管": 0.3, "reel": 0.1}
PRICE = 0.5


def write(path: Path, lines: list[dict]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


def record(number: int, ads: list[tuple[str, float]], query: str = "garden hose") -> dict:
    shown = tuple(ShownAd(ad_id, at, 1 / at, chance) for at, (ad_id, chance) in enumerate(ads, 1))
    return AnswerRecord(f"r{number}", query, shown, "g", 1, float(number)).to_dict()


def simulated(num: int, seed: int = 0) -> list[dict]:
    """Return a log: first place hose (0.7) or 软管 (0.3), then the other of the two (0.5) or the reel (0.5)."""
    rng, lines = np.random.default_rng(seed), []
    for number in range(num):
        first, other = ("hose", "软管") if rng.random() < 0.7 else ("软管", "hose")
        second = other if rng.random() < 0.5 else "reel"
        lines.append(record(number, [(first, 0.7 if first == "hose" else 0.3), (second, 0.5)]))
        for at, ad_id in enumerate((first, second)):
            if rng.random() < LOOKS[at] * LIKED[ad_id]:
                lines.append({"event": "click", "request_id": f"r{number}", "ad_id": ad_id, "value": PRICE})
    return lines


def by_name(found) -> dict:
    return {each.estimator: each for each in found}


def test_the_logged_system_earned_what_it_earned(tmp_path):
    """Without chance, and with the target that was logged, every weight is 1."""
    lines = [record(number, [("hose", 1.0), ("软管", 1.0)]) for number in range(50)]
    lines += [
        {"event": "click", "request_id": f"r{number}", "ad_id": "hose", "value": 0.2} for number in range(0, 50, 2)
    ]
    lines += [{"event": "purchase", "request_id": "r0", "ad_id": "软管", "value": 30}]
    log = read_log(write(tmp_path / "log.jsonl", lines))
    found = {each: by_name(estimates(log, {"garden hose": ["hose", "软管"]}, LOOKS, each)) for each in REWARDS}
    assert set(found["clicks"]) == {
        "IPS", "SNIPS", "clipped IPS", "doubly robust", "position-based IPS", "cascade IPS",
    }  # fmt: skip
    for each in found["clicks"].values():
        assert each.value == pytest.approx(0.5)
        assert each.effective_sample_size == pytest.approx(50)
    assert found["consumption"]["IPS"].value == pytest.approx(0.1)
    assert found["GMV"]["IPS"].value == 0.0  # of the first position
    assert found["GMV"]["position-based IPS"].value == pytest.approx(30 / 50)


def test_another_system_is_estimated_without_bias(tmp_path):
    """The target shows 软管, then the reel; the truth follows from the simulator."""
    truth_first = LIKED["软管"]
    truth_page = truth_first + LOOKS[1] * LIKED["reel"]
    found: dict[str, list] = {}
    for seed in range(12):
        log = read_log(write(tmp_path / f"log{seed}.jsonl", simulated(1_500, seed)))
        for each in estimates(log, {"garden hose": ["软管", "reel"]}, LOOKS, "clicks"):
            found.setdefault(each.estimator, []).append(each)
    for name in ("IPS", "SNIPS", "doubly robust"):
        values = np.array([each.value for each in found[name]])
        assert values.mean() == pytest.approx(truth_first, abs=4 * values.std() / 12**0.5 + 1e-3), name
        assert np.mean([each.interval[0] <= truth_first <= each.interval[1] for each in found[name]]) >= 0.7
    values = np.array([each.value for each in found["cascade IPS"]])
    assert values.mean() == pytest.approx(truth_page, abs=4 * values.std() / 12**0.5 + 1e-3)
    sizes = [each.effective_sample_size for each in found["IPS"]]
    assert np.mean(sizes) == pytest.approx(0.3 * 1_500, rel=0.1)  # those that had 软管 first


def test_looks_are_learned_from_clicks(tmp_path):
    lines = []
    rng = np.random.default_rng(3)
    for number in range(6_000):
        ads = [("hose", 0.5), ("软管", 1.0)] if rng.random() < 0.5 else [("软管", 0.5), ("hose", 1.0)]
        lines.append(record(number, ads))
        lines += [
            {"event": "click", "request_id": f"r{number}", "ad_id": ad_id}
            for at, (ad_id, _) in enumerate(ads)
            if rng.random() < LOOKS[at] * LIKED[ad_id]
        ]
    found, told = examination_of(read_log(write(tmp_path / "log.jsonl", lines)))
    assert found == pytest.approx(LOOKS, abs=0.06)
    assert told == ()
    fixed = [record(number, [("hose", 1.0), ("软管", 1.0)]) for number in range(20)]
    fixed.append({"event": "click", "request_id": "r0", "ad_id": "hose"})
    _, told = examination_of(read_log(write(tmp_path / "fixed.jsonl", fixed)))
    assert "hardly known" in told[0]


def test_events_count_once_and_only_where_they_belong(tmp_path):
    lines = [
        {"event": "click", "request_id": "r1", "ad_id": "hose"},  # before its answer: the order does not matter
        record(1, [("hose", 1.0)]),
        record(2, []),
        {"event": "click", "request_id": "r1", "ad_id": "hose"},
        {"event": "purchase", "request_id": "r1", "ad_id": "hose", "value": 20, "event_id": "p1"},
        {"event": "purchase", "request_id": "r1", "ad_id": "hose", "value": 5, "event_id": "p2"},
        {"event": "click", "request_id": "r1", "ad_id": "reel"},
        {"event": "click", "request_id": "r9", "ad_id": "hose"},
    ]
    log = read_log(write(tmp_path / "log.jsonl", lines))
    assert (log.num_events, log.num_repeated, log.num_orphans) == (3, 1, 2)
    assert log.rewards["clicks"].tolist() == [[1.0], [0.0]]
    assert log.rewards["GMV"].tolist() == [[25.0], [0.0]]
    assert estimates(log, {"garden hose": ["reel"]}, LOOKS, "clicks") == ()  # the log tells nothing about it


def test_the_lines_of_the_page_are_read(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "online.md").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in page.split("```json\n")[1].split("```")[0].splitlines()]
    log = read_log(write(tmp_path / "log.jsonl", [*lines, record(2, [("hose", 1.0)])]))
    assert (log.num_events, log.num_orphans) == (2, 0)
    assert (log.rewards["consumption"].sum(), log.rewards["GMV"].sum()) == (0.42, 39.9)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"event": "look", "request_id": "r1", "ad_id": "hose"}, "'look' is no event"),
        ({"event": "click", "request_id": "r1"}, "without request_id or ad_id"),
        ({"event": "click", "request_id": "r1", "ad_id": "hose", "value": "x"}, "is no number"),
        ({"query": "x"}, "no record"),
        (["x"], "no record"),
        (record(1, []) | {"request_id": 7}, "neither an answer nor an event"),
        (record(1, []), "a second time"),
        (record(3, []) | {"ads": [{"ad_id": "a", "position": 1, "score": 1.0, "propensity": 0}]}, "'a' has 0"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path, line, told):
    with pytest.raises(InputError, match=told) as raised:
        read_log(write(tmp_path / "log.jsonl", [record(1, []), record(2, []), line]))
    assert raised.value.line == 3


def test_the_command_writes_its_report(tmp_path):
    ads = "ad_id\ttitle\tkeywords\nhose\tgarden hose\tgarden hose\n软管\t花园软管 garden hose\t\nreel\those reel\t\n"
    (tmp_path / "ads.tsv").write_text(ads, encoding="utf-8")
    build_engine(
        tmp_path / "ads.tsv", None, tmp_path / "engine", BuildSettings.preset("lexical"), progress=lambda *_: None
    )
    log = write(tmp_path / "requests.jsonl", simulated(300))
    given = [
        "experiment",
        "online",
        "--out",
        str(tmp_path / "out"),
        "--log",
        str(log),
        "--engine",
        str(tmp_path / "engine"),
    ]
    for _ in range(2):
        result = CliRunner().invoke(app, given)
        assert result.exit_code == 0, result.output
        assert "300 answers to 1 queries" in result.output
    text = (tmp_path / "out" / "online-log.html").read_text(encoding="utf-8")
    for said in ("300 answers to 1 queries", "doubly robust", "position-based IPS", "fused", "keywords", "Consumption"):
        assert said in text
    refused = CliRunner().invoke(app, given[:-2])
    assert "--log and --engine belong together" in str(refused.exception)
    refused = CliRunner().invoke(app, [*given, "--examination", "1"])
    assert "give 2 numbers" in str(refused.exception)
