"""The manners of the command line, which no engine is needed for: what is refused, shown, piped and interrupted."""

import io
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from rich.console import Console

from intently.catalog import Catalog, read_run, write_run
from intently.cli import main
from intently.terminal import SafeConsole, reason_in_words, show_ranking, visible
from intently.types import Ad, Channel, Intention, Ranking, Reason, ScoredAd

RUN = "q1 Q0 a1 1 0.5 x\nq1 Q0 a2 2 0.4 x\nq2 Q0 a1 1 0.3 x\n"
QRELS = "q1 0 a1 1\nq1 0 a3 0\n"


def command(*arguments: object, **options) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "intently", *map(str, arguments)],
        capture_output=True,
        timeout=60,
        check=False,
        **options,
    )


def in_process(monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["intently", *map(str, arguments)])
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, *capsys.readouterr()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, text in (("x.trec", RUN), ("qrels.trec", QRELS)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_version_and_module():
    done = command("--version")
    assert (done.returncode, done.stdout.decode().strip()) == (0, f"intently {version('intently')}")
    assert b"--show-completion" in command("--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "--ads", "a", "--clicks", "b", "--clicks", "c", "--out", "e"),
        ("run", "e", "--queries", "q", "--out", "r", "--queries", "p"),
        ("evaluate", "--qrels", "q", "--run", "r", "--qrels", "p"),
        ("experiment", "bridge", "--out", "a", "--out", "b"),
    ],
)
def test_an_option_given_twice_is_refused(monkeypatch, capsys, arguments):
    code, out, err = in_process(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert "given twice, but takes one value" in err


def test_runs_may_be_given_twice(monkeypatch, capsys, files):
    (files / "y.trec").write_text(RUN)
    paths = ("--run", files / "x.trec", "--run", files / "y.trec")
    code, out, err = in_process(monkeypatch, capsys, "evaluate", "--qrels", files / "qrels.trec", *paths)
    assert (code, err) == (0, "")
    assert "x answers 1 of them and 1 that nobody judged; 1 of 2 returned ads are judged" in " ".join(out.split())


def test_names_are_shown_as_they_are(monkeypatch, capsys, files):
    names = ("bm25[plain]", "bm25[tuned]", "shop:100:red", "[/x]")
    for name in names:
        (files / f"{name.replace('/', '')}.trec").write_text(RUN)
    paths = [files / f"{name.replace('/', '')}.trec" for name in names]
    for more in ((), ("--markdown",)):
        monkeypatch.setenv("COLUMNS", "200")
        code, out, _ = in_process(monkeypatch, capsys, "evaluate", "--qrels", files / "qrels.trec", *paths, *more)
        assert code == 0
        for name in ("bm25[plain]", "bm25[tuned]", "shop:100:red", "[x]"):
            assert name in out


def test_json_is_one_object_on_standard_output(files):
    arguments = ("evaluate", "--qrels", files / "qrels.trec", "--run", files / "x.trec", "--json")
    assert json.loads(command(*arguments).stdout)["joins"]["x"]["num_answered"] == 1


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_any_code_page_takes_the_output(files, encoding, more):
    (files / "锅é.trec").write_bytes((files / "x.trec").read_bytes())
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = command("evaluate", "--qrels", files / "qrels.trec", "--run", files / "锅é.trec", *more, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    if more == ("--json",):
        assert "锅é" in json.loads(done.stdout)["runs"]
    done = command("evaluate", "--qrels", files / "锅.trec", "--run", files / "x.trec", env=environment)
    assert done.returncode == 1
    assert b"no such file" in done.stderr


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_reader_that_goes_is_no_error(files, more):
    (files / "long.trec").write_text("".join(f"q{n} Q0 a1 1 1 x\n" for n in range(20_000)))
    (files / "long.qrels").write_text("".join(f"q{n} 0 a1 1\n" for n in range(20_000)))
    arguments = ["evaluate", "--qrels", files / "long.qrels", "--run", files / "long.trec", *more]
    with subprocess.Popen(
        [sys.executable, "-m", "intently", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait(timeout=60) == 141


def test_wrong_rows_are_listed(monkeypatch, capsys, files):
    (files / "bad.trec").write_text("q1 Q0 a1 1 x t\n" * 30)
    code, out, err = in_process(
        monkeypatch, capsys, "evaluate", "--qrels", files / "qrels.trec", "--run", files / "bad.trec"
    )
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert len(lines) == 21
    assert lines[0].startswith(f"error: {files}/bad.trec:1 field 'score'")
    assert lines[19].startswith(f"  {files}/bad.trec:20 field")
    assert lines[20] == "30 rows are wrong, 10 not shown"


def test_errors_hold_no_escape_sequences(monkeypatch, capsys, files):
    code, _, err = in_process(
        monkeypatch, capsys, "evaluate", "--qrels", files / "\x1b]0;owned\x07", "--run", files / "x.trec"
    )
    assert code == 1
    assert "\x1b" not in err and "\\u001b]0;owned" in err


@pytest.mark.parametrize(
    ("name", "told"),
    [("build", "interrupted; the same command continues\n"), ("query", "interrupted\n")],
)
def test_only_what_goes_on_says_so(monkeypatch, capsys, name, told):
    def interrupted() -> None:
        raise SystemExit(130)

    monkeypatch.setattr("intently.cli.app", interrupted)
    assert in_process(monkeypatch, capsys, name) == (130, "", told)


def test_a_build_refuses_what_can_be_read_once_only(monkeypatch, capsys, tmp_path):
    os.mkfifo(tmp_path / "clicks")
    for path in ("-", tmp_path / "clicks"):
        arguments = ("--ads", "a", "--clicks", path, "--out", tmp_path / "e")
        code, _, err = in_process(monkeypatch, capsys, "build", *arguments)
        assert code == 1
        assert "--clicks is read more than once, which a pipe cannot be; write it to a file first" in err


HOSTILE = Ranking(
    "shoes [/x] :red_heart:",
    (
        ScoredAd("a[1]", 1, 1.0, (Reason(Channel.LEXICAL, 1, 1.0, (("drill", 0.004), ("bit", 0.25))),)),
        ScoredAd("b", 2, 0.5, (Reason(Channel.LEXICAL, 2, 0.5, (("drill", 0.001),)),)),
    ),
    (Intention("[bold]shoe", -0.1),),
)


@pytest.mark.parametrize("make", [SafeConsole, lambda: Console(force_terminal=True)])
def test_text_of_users_is_shown_and_never_obeyed(monkeypatch, make):
    monkeypatch.setenv("COLUMNS", "200")
    title = "T\x1b]0;owned\x07 \u202eevil\nnext [red]line[/red] :smiley:"
    catalog = Catalog.from_ads([Ad("a[1]", title), Ad("b", "[/bold]")])
    console = make()
    console.file = io.StringIO()
    show_ranking(console, catalog, HOSTILE, explain=False)
    shown = console.file.getvalue()
    for text in ("shoes [/x] :red_heart:", "[bold]shoe", "a[1]", "next [red]line[/red] :smiley:", "[/bold]"):
        assert text in shown
    assert "\x1b]" not in shown and "\u202e" not in shown
    assert r"T\u001b]0;owned\u0007 \u202eevil next" in shown


def test_contributions_of_nothing_are_no_reasons():
    first, second = (ad.reasons[0] for ad in HOSTILE.ads)
    assert reason_in_words(first) == "by words, rank 1: bit 0.25"
    assert reason_in_words(second) == ""


def test_the_console_shows_text_as_it_is():
    console = SafeConsole()
    console.file = io.StringIO()
    console.print("[bold]x[/bold] :smiley: \x1b[31m", "锅", soft_wrap=True)
    assert console.file.getvalue() == "[bold]x[/bold] :smiley: \\u001b[31m 锅\n"
    assert visible("a\tb\nc") == "a\tb\nc"


def test_ids_with_blanks_go_round(files):
    with write_run(files / "blank.trec") as run:
        run.write("my query", ["SKU 1", "SKU  2"], [2, 1])
    assert (files / "blank.trec").read_text().startswith("my␣query Q0 SKU␣1 1 ")
    assert read_run(files / "blank.trec").ad_ids.to_pylist() == ["SKU 1", "SKU  2"]
    (files / "judged.tsv").write_text("query_id\tad_id\trelevance\nmy query\tSKU  2\t1\n")
    done = command("evaluate", "--qrels", files / "judged.tsv", "--run", files / "blank.trec", "--json")
    assert json.loads(done.stdout)["runs"]["blank"]["means"]["MRR"] == 0.5
    done = command("evaluate", "--qrels", files / "judged.tsv", "--run", "-", input=(files / "blank.trec").read_bytes())
    assert done.returncode == 0


def test_a_run_may_go_to_standard_output():
    code = "from intently.catalog import write_run\nwith write_run('-') as run: run.write('q', ['a'], [1])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    assert done.stdout == b"q Q0 a 1 1.0 intently\n"
