"""The demonstration: two builds into one directory, and a page that shows them one after the other."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from rich.console import Console
from test_cli import write_checkpoint

from intently.build.training.fusion import FusionSettings
from intently.build.training.student import TrainingSettings
from intently.generation.layout import ids_of
from intently.lab import demo


def test_instant_engine_comes_first_then_what_training_adds(
    tmp_path: Path, tokenizer_json: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path / "checkpoint", tokenizer_json)
    start = str(tmp_path / "checkpoint")
    training = TrainingSettings(batch_size=8, min_steps=3, max_steps=3)
    fusion = FusionSettings(learned=False)
    monkeypatch.setattr(demo, "INSTANT", replace(demo.INSTANT, checkpoint=start))
    monkeypatch.setattr(demo, "TRAINED", replace(demo.TRAINED, checkpoint=start, training=training, fusion=fusion))
    monkeypatch.setattr(demo, "_NUM_TIMED", 2)

    monkeypatch.setattr(demo, "_NUM_QUERIES", 60)
    out = Console(file=io.StringIO(), width=100)
    demo.run_demo(tmp_path / "demo", 100, 0, out, Console(file=io.StringIO()))
    shown = out.file.getvalue()  # type: ignore[attr-defined]

    headings = ["1. An engine of 100 simulated ads", "2. The same directory after 3 steps", "What training added"]
    headings += ["Latency", "3. Six of the held-out queries", "What to do next"]
    places = [shown.find(heading) for heading in headings]
    assert -1 not in places and places == sorted(places)
    examples = shown[places[4] : places[5]]
    assert examples.count("  intentions  ") == 6 and len(re.findall("[\u4e00-\u9fff]", examples)) > 20
    assert f"intently serve {tmp_path / 'demo' / 'engine'}" in shown.replace("\n", "")
    assert len(ids_of(tmp_path / "demo" / "engine")) == 2  # the trained engine is beside the instant one
