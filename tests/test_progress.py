import io
import re

import pytest
from rich.console import Console

from intently import progress as progress_module
from intently.progress import StageProgress


@pytest.fixture
def log() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=40)


def written(console: Console) -> list[str]:
    return console.file.getvalue().splitlines()


def test_a_log_gets_a_line_a_stage(log):
    with StageProgress(log) as progress:
        for done in range(100):
            progress("Reading the ads", done, 100)
        progress("Writing", 0, 0)
        assert len(written(log)) == 1  # said when it ended, not at the end of all
    assert [re.sub(r"\d+\.\d", "0.0", line) for line in written(log)] == [
        "Reading the ads: done in 0.0 s",
        "Writing: done in 0.0 s",
    ]


def test_a_log_gets_lines_now_and_then(log, monkeypatch):
    monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_LINES", 0.0)
    with StageProgress(log) as progress:
        progress("Training", 0, 2_000)
        progress("Training", 1_500, 2_000, "contrastive 1.25, query intention 0.50")
        progress("Reading", 0, 0)
        progress("Reading", 12_000, 0, "ads")
    told = [re.sub(r"\d+ min \d+ s|\d+\.\d s", "…", line) for line in written(log)]
    assert told == [
        "Training: 0 of 2,000",
        "Training: 1,500 of 2,000, … left contrastive 1.25, query intention 0.50",  # however narrow the console
        "Training: done in …",
        "Reading: …",
        "Reading: 12,000 ads",
        "Reading: done in …",
    ]


def test_time_left_counts_from_where_a_resumed_stage_began(log, monkeypatch):
    monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_LINES", 0.0)
    with StageProgress(log) as progress:
        progress("Training", 900, 1_000)
        progress("Training", 1_000, 1_000)
    assert written(log)[0] == "Training: 900 of 1,000"
    assert written(log)[1] == "Training: 1,000 of 1,000, 0 min 0 s left"


def test_a_failed_stage_is_not_done(log):
    with pytest.raises(KeyError), StageProgress(log) as progress:
        progress("Reading", 1, 2)
        progress("Training", 1, 2)
        raise KeyError
    assert [line.split(":")[0] for line in written(log)] == ["Reading"]


def test_nothing_to_show(log):
    with StageProgress(log):
        pass
    assert log.file.getvalue() == ""


def test_a_terminal_shows_bars():
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    with StageProgress(terminal) as progress:
        progress("Training", 5, 10, "loss 1.5")
        progress("Reading", 3, 0, "ads")
    shown = terminal.file.getvalue()
    assert "Training" in shown
    assert "10/10" in shown  # a stage that was left is complete
    assert "loss 1.5" in shown
    assert "Reading" in shown
    assert "done in" not in shown


def test_the_result_of_a_stage_stays(log):
    with StageProgress(log) as progress:
        progress("Estimating", 0, 1)
        progress("Estimating", 1, 1, "about 3 min: training 2 min, reading 1 min")
        progress("Training", 1, 2, "loss 2.5")  # which was left before it was done
    told = [re.sub(r"\d+\.\d s", "…", line) for line in written(log)]
    assert told == ["Estimating: done in …, about 3 min: training 2 min, reading 1 min", "Training: done in …"]


def test_a_narrow_terminal_shows_a_result_whole():
    terminal = Console(file=io.StringIO(), force_terminal=True, width=90, color_system=None)
    with StageProgress(terminal) as progress:
        progress("Estimating", 1, 1, "about 3 min: training 2 min, reading 48,000 ads 1 min")
    for word in ("training", "reading", "48,000"):
        assert word in terminal.file.getvalue()
