"""`intently query --min-relevance`, over an engine that was built and then updated."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from intently.build.pipeline import build_engine
from intently.build.settings import BuildSettings
from intently.build.training.calibration import CalibrationSettings
from intently.build.update import update_engine
from intently.engine.layout import RELEVANCE_FILE
from intently.generation import open_generation
from tests.cli.test_cli_manners import in_process

KINDS = ("red", "blue", "红色", "steel", "mini", "quiet")
THINGS = ("kettle", "lamp", "drill", "shoe", "水壶", "扫地机器人")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("relevance")
    lines = [f"{kind}-{thing}\t{kind} {thing}\n" for kind in KINDS for thing in THINGS]
    (folder / "ads.tsv").write_text("ad_id\ttitle\n" + "".join(lines), encoding="utf-8")
    settings = replace(BuildSettings.preset("lexical"), calibration=CalibrationSettings(min_queries=10))
    report = build_engine(folder / "ads.tsv", None, folder / "engine", settings)
    assert 0 < report.facts["relevance_keeping_95_percent"] < 1
    return folder


def test_no_ad_is_an_answer_of_the_command_line(directory, monkeypatch, capsys):
    def asked(*arguments: object) -> tuple[int, str, str]:
        return in_process(monkeypatch, capsys, "query", directory / "engine", *arguments)

    code, shown, _ = asked("red kettle")
    assert code == 0 and shown.splitlines()[1:] and "red-kettle  relevance 0." in shown
    told = [ad["relevance"] for ad in json.loads(asked("red kettle", "--json")[1])["ads"]]
    assert len(told) > 2 and all(0 < each < 1 for each in told)
    code, out, _ = asked("red kettle", "--json", "--min-relevance", max(told))
    assert code == 0 and [ad["ad_id"] for ad in json.loads(out)["ads"]] == ["red-kettle"]
    code, shown, _ = asked("cheap flights to rome", "--min-relevance", max(told))
    assert code == 0 and "no ads" in shown
    code, _, err = asked("red kettle", "--min-relevance", 2)
    assert code == 1 and "min_relevance is 2.0; pass a probability from 0 to 1" in " ".join(err.split())


def test_an_update_keeps_the_calibrator(directory, monkeypatch, capsys):
    def calibrator() -> str:
        with open_generation(directory / "engine") as found:
            return found.path(RELEVANCE_FILE).read_text(encoding="utf-8")

    before = calibrator()
    ads = (directory / "ads.tsv").read_text(encoding="utf-8")
    (directory / "later.tsv").write_text(ads + "new\tcheap flights to Rome\n", encoding="utf-8")
    update_engine(directory / "engine", directory / "later.tsv")
    assert calibrator() == before
    code, out, _ = in_process(monkeypatch, capsys, "query", directory / "engine", "flights rome", "--json")
    first = json.loads(out)["ads"][0]
    assert code == 0 and first["ad_id"] == "new" and 0 < first["relevance"] < 1
