"""Checks an installed Intently with its base dependencies only; `make package` runs it in an empty environment.

python -I tests/package/installed.py
"""

import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import intently
from intently.catalog import read_ads
from intently.catalog.texts import ad_texts
from intently.index.lexical import LexicalIndex, LexicalSettings

QRELS = "q1 0 a1 1\nq2 0 a2 1\n"
RUN = "q1 Q0 a1 1 2.0 tiny\nq1 Q0 a2 2 1.0 tiny\nq2 Q0 a2 1 1.0 tiny\n"


def main() -> None:
    """Run the command line, read a catalog, search it by words, evaluate a run, and meet a missing extra."""
    assert Path(intently.__file__).is_relative_to(sysconfig.get_path("purelib")), "this is not the installed package"
    assert find_spec("torch") is None, "this environment is not empty"
    pages = Path(intently.__file__).parent / "serve" / "inspector"
    assert (pages / "templates" / "base.html").is_file() and (pages / "static" / "inspector.css").is_file()
    with TemporaryDirectory() as directory:
        folder = Path(directory)
        (folder / "qrels.trec").write_text(QRELS)
        (folder / "tiny.trec").write_text(RUN)
        (folder / "ads.tsv").write_text("ad_id\ttitle\na1\tCordless drill\na2\tElectric kettle\n")
        assert "build an engine" in command(folder, "--help")
        command(folder, "world", "world", "--ads", "100")
        assert "1.0000" in command(folder, "evaluate", "--run", "tiny.trec", "--qrels", "qrels.trec")
        command(folder, "knowledge", "--ads", "ads.tsv", "--out", "knowledge.jsonl")
        told = command(folder, "build", "--ads", "ads.tsv", "--out", "engine", succeeds=False)
        assert "pip install 'intently[models]'" in told, told

        catalog = read_ads(folder / "ads.tsv").catalog
        index = LexicalIndex.build(ad_texts(catalog), LexicalSettings())
        best = int(index.scores(index.analyze("kettle")).argmax())
        assert catalog.strings("ad_id")[best] == "a2"
        assert read_ads(folder / "world" / "ads.jsonl.gz").catalog.num_ads == 100
    print("installed: complete")


def command(folder: Path, *arguments: str, succeeds: bool = True) -> str:
    """Return what `intently` prints when it runs in `folder`."""
    program = Path(sysconfig.get_path("scripts")) / "intently"
    ended = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    assert (ended.returncode == 0) == succeeds, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


if __name__ == "__main__":
    sys.exit(main())
