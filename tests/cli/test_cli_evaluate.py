"""`intently evaluate --judged-only`: the three forms of output, and what is refused."""

import json
import re
import sys
from pathlib import Path

import pytest

from intently.cli import main

FILES = {
    "good.trec": "kettle Q0 壶一 1 0.5 x\nkettle Q0 a2 2 0.4 x\n扫地机器人 Q0 r1 1 0.3 x\n",
    "bad.trec": "kettle Q0 a2 1 0.5 x\nkettle Q0 壶一 2 0.4 x\n扫地机器人 Q0 r9 1 0.3 x\n",
    "tied.trec": "kettle Q0 a2 1 1 x\nkettle Q0 壶一 2 1 x\n",
    "qrels.trec": "kettle 0 壶一 2\nkettle 0 a2 0\n扫地机器人 0 r1 2\n",
    "positives.trec": "kettle 0 壶一 1\n扫地机器人 0 r1 1\n",
    "clicks.tsv": "query\tad_id\tclicks\n水壶\t壶一\t4\n",
    "ids.tsv": "query_id\tad_id\tclicks\n17\t壶一\t4\n",
    "other.tsv": "query\tad_id\tclicks\n水壶\t没有\t4\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(monkeypatch, capsys, arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["intently", "evaluate", *arguments.split()])
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, *capsys.readouterr()


@pytest.mark.parametrize("train", ["clicks.tsv", "ids.tsv"])
@pytest.mark.usefixtures("folder")
def test_table_markdown_and_json_agree(monkeypatch, capsys, train):
    monkeypatch.setenv("COLUMNS", "80")
    arguments = f"good.trec bad.trec --qrels qrels.trec --judged-only --train {train}"
    code, out, err = evaluate(monkeypatch, capsys, f"{arguments} --json")
    assert (code, err) == (0, "")
    means = {name: run["means"] for name, run in json.loads(out)["runs"].items()}
    assert (means["good"]["pair accuracy"], means["bad"]["pair accuracy"]) == (1, 0)
    assert means["bad"]["Recall@10, in train"] == 1
    assert means["bad"]["Recall@10, not in train"] == 0
    assert means["bad"]["train-positive@10"] == 1 / 4
    code, table, err = evaluate(monkeypatch, capsys, arguments)
    assert (code, err) == (0, "")
    _, markdown, _ = evaluate(monkeypatch, capsys, f"{arguments} --markdown")
    header, _, good, bad = ([cell.strip() for cell in line.split("|")[2:-1]] for line in markdown.splitlines()[:4])
    for at, metric in enumerate(header):
        (line,) = [line for line in table.splitlines() if line.startswith(f"│ {metric} ")]
        shown = re.findall(r"\d\.\d{4}", line)
        assert shown == [good[at], bad[at]] == [f"{means[name][metric]:.4f}" for name in ("good", "bad")]
        assert f"| bad | {metric} |" in markdown
    assert "1 of 2 relevant ads have a training judgement" in " ".join(table.split())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("good.trec --qrels qrels.trec --train clicks.tsv", ["--train", "--judged-only", "give both"]),
        ("good.trec --qrels qrels.trec --judged-only --train none.tsv", ["none.tsv", "no such file"]),
        ("good.trec --qrels qrels.trec --judged-only --train other.tsv", ["(--train)", "no ad", "'没有'", "'壶一'"]),
        ("good.trec --qrels positives.trec --judged-only", ["(--qrels)", "different grades", "lower grade"]),
        ("tied.trec --qrels qrels.trec --judged-only", ["'tied'", "same score", "write scores"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_refused_names_place_and_cure(monkeypatch, capsys, arguments, told):
    code, out, err = evaluate(monkeypatch, capsys, arguments)
    assert (code, out) == (1, "")
    for words in told:
        assert words in err


@pytest.mark.usefixtures("folder")
def test_without_it_nothing_is_added(monkeypatch, capsys):
    _, out, _ = evaluate(monkeypatch, capsys, "good.trec --qrels qrels.trec --json")
    assert list(json.loads(out)["runs"]["good"]["means"]) == ["Recall@10", "MRR", "NDCG@10", "HR@500", "MAP", "ACR"]
    assert evaluate(monkeypatch, capsys, "tied.trec --qrels qrels.trec")[0] == 0
