"""The examples run as they are, from anywhere, and print what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
# What an example prints; one that is not named here fails its test.
PRINTED = {
    "read_messy_catalogue.py": ("6 of 8 rows are left out", "field 'bid': 'free' is not a number", "2 ads are kept"),
    "constrained_decoding.py": ("6 intentions make a trie of 11 nodes", "with 6 beams", "1.000  in all"),
    "build_and_ask.py": ("num_ads: 150", "intentions: ", "by meaning, rank 1: cosine", "by words, rank 1: "),
    "compare_two_runs.py": ("Recall@10", "MRR: new is +0.", "p = 0.0"),
    "live_ads.py": ("One ad added", "['race'], ['race']", "All or nothing: ad 'hose'"),
    "filters_and_caps.py": (
        'A filter: price < 80 and not brand == "Drip"',
        "s5       Running shoes for women | Peak | None",
        "s4       越野跑鞋 男 防滑 | Peak | 39",
        "On sale now: sale == true",
        "1 s1       Trail running shoes, red | Acme | 29",
    ),
    "targeting.py": ("us-only, office-hours", "everybody, cn-only, bilingual", "Saturday"),
}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_example_runs(path, tmp_path):
    ended = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONUTF8": "1", "TMPDIR": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        timeout=1800,  # it hangs; how long it takes is not what is tested
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    for text in PRINTED[path.name]:
        assert text in ended.stdout
    left = [path.name for path in tmp_path.iterdir() if not path.name.startswith("torchinductor")]  # PyTorch's own
    assert not left


SEARCHADS = Path(os.environ.get("INTENTLY_DATA") or EXAMPLES.parents[1] / "shared" / "data") / "searchads"


@pytest.mark.skipif(not (SEARCHADS / "ads.tsv.gz").exists(), reason=f"no {SEARCHADS}; set INTENTLY_DATA to the data")
def test_filters_and_caps_of_real_ads(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "filters_and_caps.py", SEARCHADS / "ads.tsv.gz"],
        cwd=tmp_path, env=os.environ | {"PYTHONUTF8": "1", "TMPDIR": str(tmp_path)}, capture_output=True,
        encoding="utf-8", timeout=1800,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    parts = {part.split(":")[0]: part.splitlines()[1:] for part in re.split(r"\n(?=\S)", ended.stdout)}
    assert all(len(lines) == 5 for lines in parts.values())
    assert parts["A filter"] == parts["The same as an object"]
    assert all(0 < float(line.rsplit("|", 1)[1]) < 80 for line in parts["A filter"])
    assert all(line.endswith("| None") for line in parts["Without a price"])
    brands = [line.rsplit("|", 2)[1].strip() for line in parts["One of a brand"]]
    named = [brand for brand in brands if brand != "None"]  # an ad without a brand is not capped
    assert len(set(named)) == len(named)


def test_every_promise_is_kept_by_an_example():
    assert set(PRINTED) == {path.name for path in EXAMPLES.glob("*.py")}
