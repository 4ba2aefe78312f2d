"""The commands as a user gives them: what they write and print, how they resume, and what they say when it goes wrong.

One engine is trained for all tests, in a few steps from a random checkpoint of two small layers: nothing here depends
on the quality of an answer.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import save_file

from intently.build.pipeline import build_engine
from intently.build.settings import BuildSettings
from intently.catalog import read_ads, read_judgements, read_qrels, read_queries, read_run
from intently.cli import main
from intently.engine.layout import INT8_LAYERS
from intently.generation import FORMAT, MANIFEST, current_id
from intently.settings import read_settings

ADS = """\
ad_id\ttitle\tdescription\tkeywords\tcountries\tlanguages
a1\tCordless Drill 18V\tTwo batteries and a case\tcordless drill|power drill\tUS\ten
a2\tCordless Drill with Hammer\tFor brick and concrete\thammer drill\t\t
a3\tRobot Vacuum with Mop\tMaps every room\trobot vacuum\tDE|US\ten
a4\t扫地机器人 自动集尘\t会拖地，会回充\t扫地机器人|拖地机器人\tCN\tzh
a5\t静音 扫地机器人\t宠物毛发不缠绕\t扫地机器人\tCN\tzh
a6\tRunning Shoes for Women\tLight and soft\trunning shoes\t\t
a7\tTrail Running Shoes\tGrip on mud\trunning shoes|trail shoes\t\t
a8\t跑步鞋 男 透气\t缓震跑鞋\t跑步鞋|跑鞋\tCN\tzh
a9\tGarden Hose 25 m\tDoes not kink\tgarden hose\t\t
"""
CLICKS = """\
query\tad_id\tclicks
cordless drill\ta1\t5
cordless drill\ta2\t2
robot vacuum\ta3\t4
扫地机器人\ta4\t6
扫地机器人\ta5\t3
running shoes\ta6\t2
running shoes\ta7\t2
跑步鞋\ta8\t4
hose for the garden\ta9\t1
"""
QRELS = "q1 0 a1 1\nq1 0 a2 1\nq2 0 a4 1\nq2 0 a5 1\nq3 0 a9 1\n"
QUERIES = "q1\tcordless drill\nq2\t扫地机器人\nq3\tgarden hose\n"
SETTINGS = """\
checkpoint = "{checkpoint}"
[training]
min_steps = 12
max_steps = 12
batch_size = 8
checkpoint_steps = 4
[postings]
num_beams = 4
"""
CHANNELS = ("fused", "intention", "dense", "lexical")
HANGS_S = 600  # after which a process hangs, however busy the machine is


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


def intently(*arguments: object, columns: int = 200) -> Outcome:
    """Run the command line in this process, as if on a terminal of so many columns."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["intently", *map(str, arguments)])
        patch.setenv("COLUMNS", str(columns))
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Outcome(code, out.getvalue(), err.getvalue())


def assert_refused(outcome: Outcome, *told: str) -> None:
    """Assert that a command failed on purpose, in one line on standard error that holds all of `told`."""
    assert outcome.code == 1
    assert not outcome.out
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    for text in told:
        assert text in line


def is_progress(line: str) -> bool:
    """Return whether a build says in a line how far it is, or what it understood of the ads."""
    return re.search(r": done in| of them active$|: (tsv|jsonl|csv), plain; |^  kept as payload: ", line) is not None


def write_checkpoint(directory: Path, tokenizer_json: str) -> None:
    """Write an untrained BERT-style encoder in the layout of Hugging Face, two small layers deep."""
    num_tokens, num_positions, size, inner, num_layers = (
        len(json.loads(tokenizer_json)["model"]["vocab"]),
        256,
        24,
        48,
        2,
    )
    square = {f"attention.{part}": (size, size) for part in ("self.query", "self.key", "self.value", "output.dense")}
    shapes = {
        "embeddings.word_embeddings": (num_tokens, size),
        "embeddings.position_embeddings": (num_positions, size),
        "embeddings.token_type_embeddings": (2, size),
        "embeddings.LayerNorm": (size,),
    }
    for layer in range(num_layers):
        parts = {**square, "intermediate.dense": (inner, size), "output.dense": (size, inner)}
        parts |= {"attention.output.LayerNorm": (size,), "output.LayerNorm": (size,)}
        shapes |= {f"encoder.layer.{layer}.{part}": shape for part, shape in parts.items()}
    random = torch.Generator().manual_seed(0)
    weights = {f"{name}.weight": torch.randn(shape, generator=random) * 0.1 for name, shape in shapes.items()}
    weights |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items() if "_embeddings" not in name}
    directory.mkdir()
    save_file(weights, directory / "model.safetensors")
    (directory / "tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
    config = {"vocab_size": num_tokens, "hidden_size": size, "num_hidden_layers": num_layers}
    config |= {"num_attention_heads": 2, "intermediate_size": inner, "max_position_embeddings": num_positions}
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory, tokenizer_json: str) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_checkpoint(folder / "checkpoint", tokenizer_json)
    (folder / "settings.toml").write_text(SETTINGS.format(checkpoint=(folder / "checkpoint").as_posix()))
    for name, text in (("ads.tsv", ADS), ("clicks.tsv", CLICKS), ("qrels.trec", QRELS), ("queries.tsv", QUERIES)):
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def build(inputs: Path, out: Path, settings: Path | None = None) -> Outcome:
    return intently(
        "build", "--ads", inputs / "ads.tsv", "--clicks", inputs / "clicks.tsv", "--out", out,
        "--settings", settings or inputs / "settings.toml",
    )  # fmt: skip


@pytest.fixture(scope="session")
def engine(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine that `intently build` made; not to be changed."""
    out = tmp_path_factory.mktemp("built") / "engine"
    outcome = build(inputs, out)
    assert outcome.code == 0, outcome.err
    assert "complete" in outcome.out
    assert "num ads: 9" in outcome.out
    assert "Training the student: done" in outcome.err
    return out


@pytest.fixture
def copied(engine: Path, tmp_path: Path) -> Path:
    """An engine to change."""
    return Path(shutil.copytree(engine, tmp_path / "engine"))


def current(engine: Path) -> Path:
    """Return the directory of the generation that is loaded from an engine's directory."""
    return engine / "generations" / str(current_id(engine))


def files_of(engine: Path) -> dict[str, object]:
    """Return the files of the current generation with their sizes and checksums."""
    files: dict[str, object] = json.loads((current(engine) / MANIFEST).read_text(encoding="utf-8"))["files"]
    return files


def all_files(engine: Path) -> set[str]:
    """Return the names of all files below the directory of an engine."""
    return {path.relative_to(engine).as_posix() for path in engine.rglob("*") if path.is_file()}


def whole(engine: Path) -> set[str]:
    """Return the names that `all_files` has if nothing lies there but generations that are whole."""
    ids = [path.name for path in (engine / "generations").iterdir()]
    listed = {
        f"generations/{each}/{name}"
        for each in ids
        for name in (MANIFEST, *json.loads((engine / "generations" / each / MANIFEST).read_text())["files"])
    }
    return listed | {"CURRENT", "intently.lock"}


def write_manifest(path: Path, told: dict[str, object]) -> None:
    """Write a manifest whose checksum is right, whatever it says."""
    del told["checksum"]
    text = json.dumps(told, sort_keys=True)
    told["checksum"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def test_world_writes_a_world_that_the_readers_read(tmp_path):
    outcome = intently("world", tmp_path / "world", "--ads", 120, "--seed", 3)
    assert outcome.code == 0
    assert "a simulated world of 120 ads (seed 3)" in outcome.out
    written = {path.name for path in (tmp_path / "world").iterdir()}
    assert written == {
        "ads.jsonl.gz", "clicks.tsv.gz", "requests.tsv.gz", "queries.tsv", "qrels.trec", "world.json"
    }  # fmt: skip
    assert json.loads((tmp_path / "world" / "world.json").read_text(encoding="utf-8"))["simulated"] is True
    assert [path.name for path in tmp_path.iterdir()] == ["world"]

    assert read_ads(tmp_path / "world" / "ads.jsonl.gz").catalog.num_ads == 120
    assert read_judgements(tmp_path / "world" / "clicks.tsv.gz").kind == "clicks"
    queries, qrels = read_queries(tmp_path / "world" / "queries.tsv"), read_qrels(tmp_path / "world" / "qrels.trec")
    assert set(qrels.query_ids) <= set(queries.ids)


def test_build_leaves_only_the_artifact(engine):
    assert all_files(engine) == whole(engine)
    assert not (engine / ".build").exists()


def test_query_prints_a_ranking(engine):
    outcome = intently("query", engine, "扫地机器人", "-k", 3)
    assert outcome.code == 0
    assert outcome.out.splitlines()[0] == "扫地机器人"
    assert "intentions" in outcome.out
    assert len([line for line in outcome.out.splitlines() if line.split()[:1] in (["1"], ["2"], ["3"])]) == 3
    assert "by words" not in outcome.out
    assert outcome.err == ""


def test_query_explains(engine):
    outcome = intently("query", engine, "cordless drll", "--explain")
    assert outcome.code == 0
    for told in ("by intention, rank 1", "by meaning, rank", "by words, rank 1: ", "drill", "encode", " ms"):
        assert told in outcome.out


@pytest.mark.parametrize("channel", CHANNELS)
def test_query_prints_json(engine, channel):
    outcome = intently("query", engine, "cordless drill", "--json", "--explain", "-k", 2, "--channel", channel)
    assert outcome.code == 0
    answer = json.loads(outcome.out)
    assert answer["query"] == "cordless drill"
    assert [ad["rank"] for ad in answer["ads"]] == [1, 2]
    assert {"a1", "a2"} == {ad["ad_id"] for ad in answer["ads"]} or channel == "dense"  # untrained
    reasons = {reason["channel"] for ad in answer["ads"] for reason in ad["reasons"]}
    assert reasons == ({"intention", "dense", "lexical"} if channel == "fused" else {channel})


def test_an_engine_without_a_model(inputs, tmp_path):
    out, run_file = tmp_path / "lexical", tmp_path / "r.trec"
    arguments = ("--ads", inputs / "ads.tsv", "--clicks", inputs / "clicks.tsv", "--out", out, "--preset", "lexical")
    built = intently("build", *arguments)
    assert built.code == 0, built.err
    assert "there is no model" in built.err
    assert "Estimating" not in built.err  # which would take as long as the build of so few ads
    asked = intently("query", out, "cordless drll 扫地机器人", "--explain")
    assert asked.code == 0
    for told in ("by intention, rank 1", "by words, rank 1: "):
        assert told in asked.out
    assert "by meaning" not in asked.out
    refused = intently("query", out, "drill", "--channel", "dense")
    assert_refused(refused, "no channel 'dense', but intention, lexical; build it with another preset, 'instant'")
    answered = intently("run", out, "--queries", inputs / "queries.tsv", "--out", run_file)
    assert answered.code == 0, answered.err
    assert "3 queries, channel fused" in answered.out
    refused = intently("run", out, "--queries", inputs / "queries.tsv", "--out", run_file, "--channel", "dense")
    assert_refused(refused, "no channel 'dense'")
    assert len(read_run(run_file).query_ids) == 3  # as it was before


def test_query_without_a_known_word_finds_no_ads_by_words(engine):
    outcome = intently("query", engine, "zzzzzz", "--channel", "lexical")
    assert outcome.code == 0
    assert "no ads" in outcome.out


def test_query_obeys_targeting(engine):
    def asked(*targeting: str) -> set[str]:
        outcome = intently("query", engine, "扫地机器人", "--json", *targeting)
        return {ad["ad_id"] for ad in json.loads(outcome.out)["ads"]}

    assert {"a4", "a5", "a8"} <= asked()
    assert not {"a4", "a5", "a8"} & asked("--country", "us")
    assert not {"a1", "a3"} & asked("--country", "CN", "--language", "ZH")


def test_query_filters_caps_and_shows_payload(engine):
    def asked(*options: str) -> list[dict]:
        outcome = intently("query", engine, "扫地机器人", "--json", *options)
        assert outcome.code == 0, outcome.err
        return json.loads(outcome.out)["ads"]

    wanted = (
        "--filter",
        'languages has "zh" and not title == "跑步鞋 男 透气"',
        "--payload",
        "title",
        "--payload",
        "bid",
    )
    found = asked(*wanted)
    assert {ad["payload"]["title"] for ad in found} == {"扫地机器人 自动集尘", "静音 扫地机器人"}
    assert all(ad["payload"]["bid"] is None for ad in found)
    assert asked(*wanted, "--max-per", "status=1") == found[:1]
    shown = intently("query", engine, "扫地机器人", *wanted)
    assert "title: 静音 扫地机器人" in shown.out.replace("       ", "")
    for options, told in (
        (("--filter", "titel == 'x'"), "did you mean 'title'"),
        (("--filter", "title = 'x'"), "character 7: cannot read '='; write =="),
        (("--max-per", "status"), "'status' is not a cap; write --max-per advertiser=2"),
        (("--payload", "prise"), "no ad has a column 'prise'"),
    ):
        assert_refused(intently("query", engine, "drill", *options), told)


@pytest.mark.parametrize("channel", CHANNELS)
def test_run_answers_every_query(engine, inputs, tmp_path, channel):
    run_file = tmp_path / "r.trec"
    outcome = intently("run", engine, "--queries", inputs / "queries.tsv", "--out", run_file, "--channel", channel)
    assert outcome.code == 0, outcome.err
    assert f"3 queries, channel {channel}" in outcome.out
    run = read_run(tmp_path / "r.trec")
    assert run.query_ids == ("q1", "q2", "q3")
    assert run.tag == f"intently-{channel}"


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("plain.txt", "cordless drill\n扫地机器人\n", ("1", "2")),
        ("ids.tsv", "left\tcordless drill\nright\t扫地机器人\n", ("left", "right")),
        ("header.tsv", "query\tquery_id\ncordless drill\tx\n扫地机器人\ty\n", ("x", "y")),
        ("judged.tsv", "query\tad_id\trelevance\ncordless drill\ta1\t2\n扫地机器人\ta4\t2\n", ("1", "2")),
        ("both.tsv", "qid\tquery\tad_id\tclicks\nx\tcordless drill\ta1\t2\ny\t扫地机器人\ta4\t2\n", ("x", "y")),
    ],
)
def test_run_takes_queries_in_several_layouts(engine, tmp_path, name, text, ids):
    (tmp_path / name).write_text(text, encoding="utf-8")
    outcome = intently("run", engine, "--queries", tmp_path / name, "--out", tmp_path / "r.trec", "-k", 4)
    assert outcome.code == 0, outcome.err
    run = read_run(tmp_path / "r.trec")
    assert run.query_ids == ids
    assert len(run) == 8


@pytest.fixture(scope="session")
def runs(engine: Path, inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    made = [folder / "lexical.trec", folder / "dense.trec"]
    for path in made:
        outcome = intently("run", engine, "--queries", inputs / "queries.tsv", "--out", path, "--channel", path.stem)
        assert outcome.code == 0, outcome.err
    return made


def test_evaluate_compares_runs(runs, inputs):
    arguments = ("evaluate", "--qrels", inputs / "qrels.trec", "--run", *runs, "--clicks", inputs / "clicks.tsv")
    outcome = intently(*arguments)
    assert outcome.code == 0, outcome.err
    for told in ("lexical", "dense", "Recall@10", "MRR"):
        assert told in outcome.out
    report = json.loads(intently(*arguments, "--json").out)
    assert list(report["runs"]) == ["lexical", "dense"]
    assert report["num_queries"] == 3
    assert report["runs"]["lexical"]["means"]["Recall@10"] == 1.0
    assert {each["run"] for each in report["comparisons"]} == {"dense"}
    assert "CWP@10" in report["runs"]["dense"]["means"]


def test_evaluate_prints_markdown_and_tells_equal_names_apart(runs, inputs, tmp_path):
    (tmp_path / "lexical.trec").write_bytes(runs[0].read_bytes())
    outcome = intently(
        "evaluate", "--qrels", inputs / "qrels.trec", "--run", runs[0], "--run", tmp_path / "lexical.trec", "--markdown"
    )
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("| run |")
    assert str(runs[0]) in outcome.out
    assert str(tmp_path / "lexical.trec") in outcome.out


Interrupting = Callable[[str, int, int, str], None]


def interrupting(stage: str, done: int = 0) -> Interrupting:
    """Return a progress callback that gives up in `stage`, once so much of it is done."""

    def progress(current: str, so_far: int, total: int, note: str) -> None:
        if current == stage and so_far >= done:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize(
    ("stage", "done", "steps_left"),
    [
        ("Finding intentions", 0, range(1, 13)),
        ("Training the student", 3, range(1, 13)),  # before the first checkpoint
        ("Training the student", 6, range(5, 13)),
        ("Training the student", 12, range(9, 13)),
        ("Reading the ads", 1, range(0)),
        ("Writing", 0, range(0)),
    ],
)
def test_interrupted_build_resumes(engine, inputs, tmp_path, stage, done, steps_left):
    settings = read_settings(BuildSettings, inputs / "settings.toml")
    arguments = (inputs / "ads.tsv", inputs / "clicks.tsv", tmp_path / "engine", settings)
    with pytest.raises(KeyboardInterrupt):
        build_engine(*arguments, progress=interrupting(stage, done))
    assert_refused(intently("query", tmp_path / "engine", "drill"), "CURRENT", "did not finish")

    steps: list[int] = []

    def progress(current: str, so_far: int, total: int, note: str) -> None:
        if current == "Training the student" and not note.startswith("embedding"):
            steps.append(so_far)

    build_engine(*arguments, progress=progress)
    assert steps == list(steps_left)
    assert files_of(tmp_path / "engine") == files_of(engine)
    assert not (tmp_path / "engine" / ".build").exists()


def test_killed_build_resumes(engine, inputs, tmp_path):
    """A real process, ended by a real signal; it is given so many steps that it cannot finish before."""
    text = (inputs / "settings.toml").read_text().replace("= 12", "= 100000").replace("steps = 4", "steps = 2")
    (tmp_path / "long.toml").write_text(text)
    # A shell's background processes ignore SIGINT, and so would their children, this one included.
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from intently.cli import main"
    command = [sys.executable, "-c", f"{start}; main()", "build", "--ads", inputs / "ads.tsv",
               "--clicks", inputs / "clicks.tsv", "--out", tmp_path / "engine",
               "--settings", tmp_path / "long.toml"]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    ) as process:
        deadline = time.monotonic() + HANGS_S
        while not any((tmp_path / "engine").glob(".build/*/checkpoint.pt")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=HANGS_S)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted; the same command continues"
    assert "Traceback" not in err
    assert not (tmp_path / "engine" / "CURRENT").exists()
    # Other input or settings make it another build, which starts afresh.
    assert build(inputs, tmp_path / "engine").code == 0
    assert files_of(tmp_path / "engine") == files_of(engine)


def test_rerun_of_a_finished_build_does_nothing(inputs, copied):
    before = files_of(copied)
    outcome = build(inputs, copied)
    assert outcome.code == 0
    assert "already built" in outcome.err
    assert "Training" not in outcome.err
    assert files_of(copied) == before


def test_retrieval_settings_are_taken_over_without_training(inputs, copied, tmp_path):
    text = (inputs / "settings.toml").read_text() + "[retrieval.decode]\nnum_beams = 3\n"
    (tmp_path / "fewer.toml").write_text(text)
    outcome = build(inputs, copied, tmp_path / "fewer.toml")
    assert outcome.code == 0
    assert "already built" in outcome.err
    assert "Training" not in outcome.err
    answer = json.loads(intently("query", copied, "cordless drill", "--json").out)
    assert len(answer["intentions"]) > 3  # near ones stand beside those that are decoded


def test_other_settings_build_anew(inputs, copied, tmp_path):
    (tmp_path / "seed.toml").write_text(
        (inputs / "settings.toml").read_text().replace("[training]", "[training]\nseed = 5")
    )
    before = files_of(copied)
    outcome = build(inputs, copied, tmp_path / "seed.toml")
    assert outcome.code == 0
    assert "Training the student: done" in outcome.err
    assert files_of(copied)["student/model.safetensors"] != before["student/model.safetensors"]


def test_build_without_clicks(inputs, tmp_path):
    outcome = intently(
        "build", "--ads", inputs / "ads.tsv", "--out", tmp_path / "engine", "--settings", inputs / "settings.toml"
    )
    assert outcome.code == 0, outcome.err
    assert "num clicks: 0" in outcome.out
    assert intently("query", tmp_path / "engine", "扫地机器人").code == 0


def test_build_from_clicks_that_name_queries_by_id(inputs, tmp_path):
    (tmp_path / "qrels.trec").write_text("q1 0 a1 1\n", encoding="utf-8")
    (tmp_path / "queries.tsv").write_text("q1\tdrill\n", encoding="utf-8")
    arguments = (
        "build",
        "--ads",
        inputs / "ads.tsv",
        "--clicks",
        tmp_path / "qrels.trec",
        "--out",
        tmp_path / "engine",
    )
    outcome = intently(*arguments, "--settings", inputs / "settings.toml")
    *progress, line = outcome.err.splitlines()
    assert all(map(is_progress, progress))
    assert_refused(Outcome(outcome.code, outcome.out, line), "qrels.trec")
    outcome = intently(*arguments, "--queries", tmp_path / "queries.tsv", "--settings", inputs / "settings.toml")
    assert outcome.code == 0, outcome.err
    assert "num clicks: 1" in outcome.out


def test_build_skips_bad_rows_and_says_so(inputs, tmp_path):
    (tmp_path / "ads.tsv").write_text(ADS + "a10\t\t\t\t\t\n", encoding="utf-8")
    (tmp_path / "clicks.tsv").write_text(CLICKS + "drill\tunknown\t1\ndrill\ta1\tmany\n", encoding="utf-8")
    arguments = ("build", "--ads", tmp_path / "ads.tsv", "--clicks", tmp_path / "clicks.tsv",
                 "--out", tmp_path / "engine", "--settings", inputs / "settings.toml")  # fmt: skip
    refused = intently(*arguments)
    assert refused.code == 1
    assert "ads.tsv:11 field 'title': empty" in refused.err
    assert not (tmp_path / "engine").exists()
    outcome = intently(*arguments, "--skip-bad")
    assert outcome.code == 0, outcome.err
    assert "1 rows of ads skipped, the first: " in outcome.err
    assert "1 rows of clicks skipped, the first: " in outcome.err
    assert "1 clicks left out: their ads are not in the catalog" in outcome.err


ARTIFACT_FILES = (
    "catalog.arrow",
    "vectors.npy",
    "vectors.coarse.npz",
    "titles.npz",
    "intentions/intentions.json",
    "intentions/intentions.trie",
    "intentions/postings.npz",
    "intentions/statistics.npz",
    "intentions/embeddings.npy",
    "intentions/embeddings.coarse.npz",
    "intentions/guidance.json",
    "lexical/terms.json",
    "lexical/postings.npz",
    "student/config.json",
    "student/tokenizer.json",
    "student/model.safetensors",
    INT8_LAYERS,
)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (flip, "has been altered"),
        (lambda path: path.write_bytes(path.read_bytes()[:-7]), "bytes instead of"),
        (Path.unlink, "is missing"),
    ],
    ids=["flipped", "torn", "missing"],
)
@pytest.mark.parametrize("name", ARTIFACT_FILES)
def test_damaged_artifact_is_refused(copied, name, damage, told):
    path = current(copied) / name
    damage(path)
    assert_refused(intently("query", copied, "drill"), str(path), told)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}'), f"format {FORMAT + 1}"),
        (lambda text: text.replace("intently generation", "something else"), "does not describe a generation"),
        (lambda text: text.replace('"seq": 0', '"seq": 1'), "has been altered"),
        (lambda text: text.replace("\n", "\n ", 1), "has been altered"),
        (lambda text: text[: len(text) // 2], "not valid JSON"),
    ],
    ids=["format", "kind", "altered", "blank", "torn"],
)
def test_foreign_manifest_is_refused(copied, change, told):
    path = current(copied) / MANIFEST
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    assert_refused(intently("query", copied, "drill"), str(path), told)


def test_all_of_the_artifact_is_damaged_in_turn(engine):
    assert set(files_of(engine)) == set(ARTIFACT_FILES)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("query {engine} '   '", ["the query is empty"]),
        ("query {engine} " + "x" * 2_001, ["2001 characters"]),
        ("query {engine} drill -k 0", ["k is 0"]),
        ("query {tmp}/nowhere drill", ["nowhere", "is not a directory"]),
        ("query {tmp} drill", ["CURRENT", "is missing"]),
        ("run {engine} --queries {tmp}/none.tsv --out {tmp}/r.trec", ["none.tsv", "no such file"]),
        ("run {engine} --queries {bad}/query.tsv --out {tmp}/r.trec", ["query.tsv:3", "empty"]),
        ("evaluate --qrels {tmp}/none.trec --run {bad}/good.trec", ["none.trec", "no such file"]),
        ("evaluate --qrels {inputs}/qrels.trec --run {bad}/run.trec", ["run.trec:2", "5 fields"]),
        ("evaluate --qrels {inputs}/qrels.trec", ["no runs to measure"]),
        (
            "build --ads {inputs}/ads.tsv --out {tmp}/e --settings {bad}/key.toml",
            ["key.toml", "unknown setting 'steps'"],
        ),
        ("build --ads {inputs}/ads.tsv --out {tmp}/e --settings {bad}/type.toml", ["type.toml", "'seed' is 'one'"]),
        ("build --ads {inputs}/ads.tsv --out {tmp}/e --settings {bad}/torn.toml", ["torn.toml", "not valid TOML"]),
        ("build --ads {inputs}/ads.tsv --out {tmp}/e --settings {tmp}/no.toml", ["no.toml", "cannot be read"]),
    ],
)
def test_wrong_input_is_one_line(engine, inputs, tmp_path, arguments, told):
    assert_refused(intently(*filled(arguments, engine, inputs, tmp_path)), *told)
    assert not (tmp_path / "e").exists()
    assert not (tmp_path / "r.trec").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("build --ads {tmp}/none.tsv --out {tmp}/e", ["none.tsv", "no such file"]),
        ("build --ads {bad}/ads.tsv --out {tmp}/e", ["ads.tsv:3 field 'title'", "empty"]),
        ("build --ads {bad}/run.trec --out {tmp}/e", ["unknown format '.trec'"]),
        (
            "build --ads {inputs}/ads.tsv --clicks {bad}/clicks.tsv --out {tmp}/e --preset lexical",
            ["no click names an ad"],
        ),
        (
            "build --ads {inputs}/ads.tsv --out {inputs} --preset lexical",
            ["holds files that are not an Intently engine"],
        ),
        ("build --ads {inputs}/ads.tsv --out {inputs}/ads.tsv --preset lexical", ["is a file"]),
        ("world {tmp}/w --ads 5", ["num_ads", "is 5"]),
        ("world {inputs}", ["is not empty and not a world"]),
    ],
)
def test_wrong_input_of_what_shows_progress_is_one_line(engine, inputs, tmp_path, arguments, told):
    outcome = intently(*filled(arguments, engine, inputs, tmp_path))
    *progress, line = outcome.err.splitlines()
    assert "Traceback" not in outcome.err
    assert all(not shown or is_progress(shown) for shown in progress)
    assert_refused(Outcome(outcome.code, outcome.out, line), *told)
    assert not (tmp_path / "e").exists()


def filled(arguments: str, engine: Path, inputs: Path, tmp_path: Path) -> list[str]:
    """Return the words of `arguments` with paths put in, of which {bad} holds files with something wrong."""
    bad = tmp_path / "bad"
    bad.mkdir()
    for name, text in (
        ("ads.tsv", "ad_id\ttitle\na1\tKettle\na2\t\n"),
        ("clicks.tsv", "query\tad_id\tclicks\nkettle\tzzz\t1\n"),
        ("query.tsv", "query_id\tquery\nq1\tdrill\nq2\t  \n"),
        ("run.trec", "q1 Q0 a1 1 0.5 x\nq1 Q0 a2 2 0.4\n"),
        ("good.trec", "q1 Q0 a1 1 0.5 x\n"),
        ("key.toml", "[training]\nsteps = 3\n"),
        ("type.toml", '[training]\nseed = "one"\n'),
        ("torn.toml", "[training\n"),
    ):
        (bad / name).write_text(text)
    return [each.format(engine=engine, inputs=inputs, tmp=tmp_path, bad=bad) for each in shlex.split(arguments)]


@pytest.mark.parametrize(
    "arguments",
    ["frobnicate", "query --frobnicate", "query", "query e q --channel sideways", "world w --ads many"],
)
def test_wrong_usage_points_at_the_help(arguments):
    outcome = intently(*arguments.split())
    assert outcome.code == 2
    assert "--help" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    "command",
    ["world", "build", "query", "run", "evaluate", "knowledge", "experiment", "experiment rare", "replay", "demo"],
)
def test_every_command_has_help(command):
    outcome = intently(*command.split(), "--help")
    assert outcome.code == 0
    assert f"Usage: intently {command}" in outcome.out


def test_nothing_but_the_error_is_told_of_a_missing_file(tmp_path):
    assert_refused(intently("build", "--ads", tmp_path / "none.tsv", "--out", tmp_path / "e"), "none.tsv")


def test_damaged_artifact_is_built_again(inputs, copied):
    """The refusal says "build the engine again", so doing that has to help."""
    flip(current(copied) / "vectors.npy")
    assert build(inputs, copied).code == 0
    assert intently("query", copied, "drill").code == 0


@pytest.mark.parametrize("key", ["files", "settings", "fingerprints", "facts", "notes"])
def test_manifest_without_a_key_is_refused_and_built_again(inputs, copied, key):
    path = current(copied) / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    del manifest[key]
    write_manifest(path, manifest)
    assert_refused(intently("query", copied, "drill"), str(path), key)
    assert build(inputs, copied).code == 0
    assert intently("query", copied, "drill").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        "run {engine} --queries {inputs}/queries.tsv --out {tmp}/no/r.trec",
        "build --ads {inputs}/ads.tsv --out {inputs}/ads.tsv/e --preset lexical",
    ],
    ids=["run", "build"],
)
def test_output_that_cannot_be_written_is_one_line(engine, inputs, tmp_path, arguments):
    outcome = intently(*filled(arguments, engine, inputs, tmp_path))
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    "setting",
    [
        "[training]\nbatch_size = 0",
        "[training]\ntemperature = 0",
        "[retrieval.decode]\nnum_beams = 0",
        '[retrieval.decode]\nmode = "both"',
        "[retrieval]\nmax_query_tokens = 1",
        "[training]\nphrase_share = 1.5",
        "[training]\ncheckpoint_steps = 0",
    ],
)
def test_setting_out_of_range_is_refused_before_the_build(inputs, tmp_path, setting):
    table, key = setting.splitlines()[0], setting.splitlines()[1].split(" = ")[0]
    lines = [line for line in (inputs / "settings.toml").read_text().splitlines() if not line.startswith(f"{key} =")]
    text = "\n".join(lines).replace(table, setting)
    text += "" if table in lines else f"\n{setting}"
    (tmp_path / "wrong.toml").write_text(text)
    outcome = build(inputs, tmp_path / "engine", tmp_path / "wrong.toml")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].startswith("error: ")
    assert key in outcome.err.splitlines()[-1]


def test_refused_build_leaves_the_engine_that_was_there(inputs, copied, tmp_path):
    (tmp_path / "wrong.toml").write_text(f'checkpoint = "{(tmp_path / "nowhere").as_posix()}"\n')
    assert build(inputs, copied, tmp_path / "wrong.toml").code == 1
    assert intently("query", copied, "drill").code == 0


def test_single_ad_builds(inputs, tmp_path):
    (tmp_path / "ads.tsv").write_text("ad_id\ttitle\na1\tElectric kettle\n")
    outcome = intently(
        "build", "--ads", tmp_path / "ads.tsv", "--out", tmp_path / "engine", "--settings", inputs / "settings.toml"
    )
    assert outcome.code == 0, outcome.err
    assert "a1" in intently("query", tmp_path / "engine", "kettle").out


def test_evaluate_shows_every_value_on_a_narrow_terminal(runs, inputs):
    clicks, qrels = inputs / "clicks.tsv", inputs / "qrels.trec"
    for columns in (200, 80):
        outcome = intently("evaluate", "--qrels", qrels, "--run", *runs, "--clicks", clicks, columns=columns)
        assert len(re.findall(r"\d\.\d{4}|–", outcome.out)) == len(runs) * 9, columns


def test_generations_are_listed_rolled_back_and_pruned(inputs, copied, tmp_path):
    old = current(copied).name
    text = (inputs / "settings.toml").read_text() + "[retrieval.decode]\nnum_beams = 3\n"
    (tmp_path / "fewer.toml").write_text(text)
    assert build(inputs, copied, tmp_path / "fewer.toml").code == 0
    new = current(copied).name
    assert new > old
    first, second = intently("generations", copied).out.splitlines()
    assert first.startswith(f"{new}  20")
    assert "MB, 9 ads, " in first
    assert first.endswith("  [current]")
    assert second.startswith(old)
    assert not second.endswith("]")

    rolled = intently("generations", copied, "--rollback")
    assert rolled.err == f"current: {old}\n"
    assert intently("generations", copied, "--rollback", new).code == 0
    listed = json.loads(intently("generations", copied, "--json").out)["generations"]
    assert [(each["id"], each["is_current"], each["problem"]) for each in listed] == [(new, True, ""), (old, False, "")]
    assert listed[0]["facts"]["num_ads"] == 9
    assert intently("generations", copied, "--prune", 1).err == f"removed: {old}\n"
    assert_refused(intently("generations", copied, "--rollback"), "no whole generation to roll back to")
    assert_refused(intently("generations", copied, new), "add --rollback")
    assert_refused(intently("generations", copied, "--prune", 0), "keep at least 1")
    assert_refused(intently("generations", tmp_path / "none"), "is not a directory")
