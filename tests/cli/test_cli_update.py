"""`intently update` and what goes with a daily cycle, as a user gives the commands."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from test_cli import ADS, CLICKS, build, copied, current, engine, inputs, intently  # noqa: F401

from intently.engine.engine import Engine
from intently.generation import current_id, open_generation


def feed(path: Path, *changes: tuple[str, str]) -> Path:
    text = ADS
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_feed_updates_an_engine(copied, tmp_path):  # noqa: F811
    today = feed(
        tmp_path / "today.tsv", ("Garden Hose 25 m", "Garden Hose 50 m"),
        ("a9\t", "b1\tReading Lamp\tWarm light\tlamp\t\t\na9\t"), ("\tCN\tzh\na5", "\tCN|SG\tzh\na5"),
        ("a7\tTrail Running Shoes\tGrip on mud\trunning shoes|trail shoes\t\t\n", ""),
    )  # fmt: skip
    before = current_id(copied)
    tried = intently("update", copied, "--ads", today, "--dry-run", "--json")
    assert (tried.code, current_id(copied)) == (0, before)
    outcome = intently("update", copied, "--ads", today)
    assert outcome.code == 0, outcome.err
    assert "ads: 9 before, 9 after" in outcome.out
    assert "title: Garden Hose 25 m → Garden Hose 50 m" in outcome.out
    assert "countries: CN → CN|SG" in outcome.out
    report = json.loads(tried.out)
    assert [report[f"num_{kind}"] for kind in ("came", "went", "new_text", "new_attributes")] == [1, 1, 1, 1]
    assert current_id(copied) != before
    query = intently("query", copied, "reading lamp", "--channel", "lexical", "--json")
    assert json.loads(query.out)["ads"][0]["ad_id"] == "b1"
    again = intently("update", copied, "--ads", today)
    assert "nothing changed" in again.out


def test_a_feed_that_ends_most_ads_is_refused(copied, tmp_path):  # noqa: F811
    short = tmp_path / "short.tsv"
    short.write_text("".join(ADS.splitlines(keepends=True)[:2]), encoding="utf-8")
    outcome = intently("update", copied, "--ads", short)
    assert outcome.code == 1
    assert "8 of 9 ads would end" in outcome.err
    assert "--force" in outcome.err
    forced = intently("update", copied, "--ads", short, "--force")
    assert "ads: 9 before, 1 after" in forced.out


def test_a_delta_of_bids(copied, tmp_path):  # noqa: F811
    delta = tmp_path / "delta.tsv"
    delta.write_text("ad_id\tbid\tstatus\na1\t0.5\t\na2\t\tended\n", encoding="utf-8")
    outcome = intently("update", copied, "--ads", delta, "--delta")
    assert outcome.code == 0, outcome.err
    assert "fields: bid 1" in outcome.out
    assert "bid: (empty) → 0.5" in outcome.out
    assert Engine.load(copied).ad("a2") is None


def test_a_build_starts_from_the_last_student_and_learns_from_a_log(engine, inputs, tmp_path):  # noqa: F811
    _, *rows = CLICKS.splitlines()
    log = tmp_path / "log.tsv"
    events = [
        f"{query}\t{ad}\t0.3\t{session}\t1" for query, ad, _ in (row.split("\t") for row in rows) for session in "xy"
    ]
    log.write_text("\n".join(("query\tad_id\tscore\tsession_id\tclicked", *events)) + "\n", encoding="utf-8")
    out = tmp_path / "engine"
    command = ["build", "--ads", inputs / "ads.tsv", "--clicks", log, "--out", out, "--from", engine]
    command += ["--settings", inputs / "settings.toml"]
    refused = intently(*command)
    assert refused.code == 1
    assert '--map-clicks "score=relevance" or "clicked=clicks"' in refused.err
    outcome = intently(*command, "--map-clicks", "clicked=clicks")
    assert outcome.code == 0, outcome.err
    with open_generation(out) as built:
        assert built.manifest.settings["checkpoint"] == str(current(engine) / "student")
        assert built.manifest.facts["num_clicks"] == len(rows)
    first, second = Engine.load(engine), Engine.load(out)
    assert second.student.tokenizer.vocab_size == first.student.tokenizer.vocab_size
    assert second.student.speaks
