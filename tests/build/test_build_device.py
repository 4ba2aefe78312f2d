"""Builds on a device: what is moved there, and what a device that is not there leads to."""

from dataclasses import replace

import pytest
import torch
from building_world import Stages
from test_cli import current, files_of

from intently.build import limits
from intently.build.settings import BuildSettings
from intently.build.teacher import TeacherSettings
from intently.errors import SettingsError
from intently.models.backbone import Backbone
from intently.models.causal_lm import LanguageModelSettings
from intently.models.encoder.embedder import Embedder
from intently.models.encoder.model import BridgeEncoder
from intently.models.student import Student

pytest.importorskip("lightgbm")

ABSENT = "cuda:99"


def test_trainings_and_readings_are_where_the_settings_say(build, built, chosen, tmp_path, monkeypatch):
    """The CPU under its other name: what goes there shows, and nothing comes out otherwise."""
    moved, asked = [], []
    to = torch.nn.Module.to

    def spy_on_moves(module, *place):
        moved.append((type(module), *map(str, place)))
        return to(module, *place)

    def spy_on_readers(kind):
        on = kind.on

        def spy(self, device):
            asked.append((kind, device))
            return on(self, device)

        monkeypatch.setattr(kind, "on", spy)

    monkeypatch.setattr(torch.nn.Module, "to", spy_on_moves)
    spy_on_readers(Student)
    spy_on_readers(Embedder)
    build(tmp_path / "engine", replace(chosen, device="cpu:0"))
    # Timing three steps; training the student; computing features; training the encoder.
    assert moved == [(Backbone, "cpu:0")] * 4 + [(BridgeEncoder, "cpu:0"), (BridgeEncoder, "cpu:0")]
    # Timing how ads are read; measuring what training gained, twice; reading ads, pages, and ads.
    assert asked == [(Student, "cpu:0")] * 5 + [(Embedder, "cpu:0")]
    assert files_of(tmp_path / "engine") == files_of(built.out)


def test_another_device_trains_nothing_again(build, chosen, copied):
    stages = Stages()
    build(copied, replace(chosen, device="cpu:0"), stages)
    assert "Writing" in stages.seen
    assert not any(stage.startswith("Training") for stage in stages.seen)


def test_a_device_that_is_not_there_is_told_before_anything_is_read(build, chosen, tmp_path):
    stages = Stages()
    with pytest.raises(SettingsError, match=f"^'device' is '{ABSENT}', which PyTorch cannot use .*; set it to 'cpu'"):
        build(tmp_path / "engine", replace(chosen, device=ABSENT), stages)
    assert stages.seen == ["Reading"]
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize(
    ("table", "changed"),
    [
        ("teacher.model", lambda model: {"teacher": TeacherSettings(model=model)}),
        ("ocr_model", lambda model: {"ocr_model": model}),
    ],
)
def test_so_is_one_of_a_language_model_that_is_named(build, chosen, tmp_path, table, changed):
    named = replace(chosen, **changed(LanguageModelSettings("smollm2", device=ABSENT)))
    with pytest.raises(SettingsError, match=rf"^'{table}\.device' is '{ABSENT}', which PyTorch cannot use"):
        build(tmp_path / "engine", named)
    limits.check_devices(BuildSettings(**changed(LanguageModelSettings(device=ABSENT))))  # which names none


def test_a_reader_on_the_same_device_is_no_copy(built):
    student, embedder = Student.load(current(built.out) / "student"), Embedder.load(current(built.out) / "encoder")
    assert student.on("cpu") is student
    assert embedder.on("cpu:0") is embedder
