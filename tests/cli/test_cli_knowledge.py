"""`intently knowledge`: what it writes and prints, and what it says when it goes wrong."""

import pytest

pytest.importorskip("torch")

from test_cli import ADS, CLICKS, assert_refused, intently

from intently.build.knowledge import handwritten, read_instances

TAXONOMY = "id\tpath\n1\tHardware\n2\tHardware > Power Tools\n3\tHardware > Power Tools > Cordless Drills\n"


@pytest.fixture
def folder(tmp_path):
    for name, text in (("ads.tsv", ADS), ("clicks.tsv", CLICKS), ("taxonomy.tsv", TAXONOMY)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "few.toml").write_text("instances_per_task = 4\nhandwritten = false\nmax_same_answer = 1.0\n")
    return tmp_path


def knowledge(folder, *more: object):
    return intently("knowledge", "--ads", folder / "ads.tsv", "--out", folder / "k.jsonl", *more)


def told_counts(out: str) -> dict[str, int]:
    """Return what is printed of each task."""
    lines = [line.strip().split(": ") for line in out.splitlines()[1:]]
    return {task: int(count.split(",")[0]) for task, count in lines}


def test_knowledge_writes_instances_and_counts_them(folder):
    more = ("--clicks", folder / "clicks.tsv", "--taxonomy", folder / "taxonomy.tsv", "--settings", folder / "few.toml")
    outcome = knowledge(folder, *more)
    assert outcome.code == 0, outcome.err
    instances = read_instances(folder / "k.jsonl")
    assert outcome.out.startswith(f"{folder / 'k.jsonl'}: {len(instances)} instances\n")
    counts = told_counts(outcome.out)
    assert counts == {task: sum(one.task == task for one in instances) for task in counts}
    assert len(counts) == 3
    assert 0 < max(counts.values()) <= 4
    assert not any(one.source == "handwritten" for one in instances)
    assert "Writing: done" in outcome.err
    written = (folder / "k.jsonl").read_bytes()
    assert knowledge(folder, *more).out == outcome.out
    assert (folder / "k.jsonl").read_bytes() == written


def test_knowledge_says_what_is_missing(folder):
    outcome = knowledge(folder)
    assert outcome.code == 0, outcome.err
    assert outcome.out.count(" fewer than asked for") == 3
    found = [one for one in read_instances(folder / "k.jsonl") if one.source == "handwritten"]
    assert len(found) == len(handwritten())


def test_knowledge_skips_bad_rows_and_says_so(folder):
    with (folder / "ads.tsv").open("a", encoding="utf-8") as file:
        file.write("a10\t\t\t\t\t\n")
    refused = knowledge(folder)
    assert refused.code == 1
    assert "ads.tsv:11 field 'title': empty" in refused.err
    assert not (folder / "k.jsonl").exists()
    outcome = knowledge(folder, "--skip-bad")
    assert outcome.code == 0, outcome.err
    assert "note: 1 rows of ads skipped, the first: " in outcome.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--ads", "{}/none.tsv", "--out", "{}/k.jsonl"], ["none.tsv", "no such file"]),
        (["--ads", "{}/ads.tsv", "--out", "{}/k.jsonl", "--clicks", "{}/none.tsv"], ["none.tsv", "no such file"]),
        (["--ads", "{}/ads.tsv", "--out", "{}/k.jsonl", "--queries", "{}/none.tsv"], ["none.tsv", "no such file"]),
        (["--ads", "{}/ads.tsv", "--out", "{}/k.jsonl", "--taxonomy", "{}/none.tsv"], ["none.tsv", "no such file"]),
        (["--ads", "{}/ads.tsv", "--out", "{}/k.jsonl", "--taxonomy", "{}/ads.tsv"], ["ads.tsv"]),
        (["--ads", "{}/ads.tsv", "--out", "{}/no/k.jsonl"], ["no/k.jsonl", "cannot be written"]),
        (["--ads", "{}/ads.tsv", "--out", "{}"], ["cannot be written", "name a file"]),
        (["--ads", "{}/ads.tsv", "--out", "{}/k.jsonl", "--settings", "{}/no.toml"], ["no.toml", "cannot be read"]),
        (
            ["--ads", "{}/ads.tsv", "--out", "{}/k.jsonl", "--settings", "{}/key.toml"],
            ["key.toml", "unknown setting 'steps'", "instances_per_task"],
        ),
        (
            ["--ads", "{}/ads.tsv", "--out", "{}/k.jsonl", "--settings", "{}/zero.toml"],
            ["zero.toml", "'instances_per_task' is 0"],
        ),
    ],
)
def test_wrong_input_is_one_line(folder, arguments, told):
    (folder / "key.toml").write_text("steps = 3\n")
    (folder / "zero.toml").write_text("instances_per_task = 0\n")
    outcome = intently("knowledge", *(each.format(folder) for each in arguments))
    *progress, line = outcome.err.splitlines()
    assert all(": done in" in shown for shown in progress)
    assert_refused(type(outcome)(outcome.code, outcome.out, line), *told)
    assert not (folder / "k.jsonl").exists()


@pytest.mark.parametrize("arguments", ["knowledge", "knowledge --ads a.tsv", "knowledge --out k.jsonl"])
def test_what_is_required_is_asked_for(arguments):
    outcome = intently(*arguments.split())
    assert outcome.code == 2
    assert "Missing option" in outcome.err
