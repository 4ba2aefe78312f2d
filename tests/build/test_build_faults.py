"""Builds that fail or die while they publish, and leftovers of theirs that are damaged: nothing is trained again."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from building_world import Stages
from faults import Faults, injected
from test_cli import all_files, current, files_of, whole

from intently.build import pipeline
from intently.engine.engine import Engine
from intently.errors import ArtifactError, InputError
from intently.generation import Draft, current_id, list_generations, roll_back

pytest.importorskip("lightgbm")


@pytest.fixture(scope="module")
def plain(chosen):
    """Settings of a build without an encoder and a fusion, which takes a second."""
    fusion = replace(chosen.fusion, held_out_share=0.0)
    return replace(chosen, fusion=fusion, bridge=replace(chosen.bridge, enabled=False))


@pytest.fixture(scope="module")
def first(build, plain, tmp_path_factory) -> Path:
    """An engine with one generation, and the work of a build of another that was interrupted at its end."""
    out = tmp_path_factory.mktemp("first") / "engine"
    build(out, plain)
    with pytest.raises(KeyboardInterrupt):
        build(out, other(plain), Stages("Writing"))
    return out


def other(plain):
    return replace(plain, training=replace(plain.training, seed=5))


@pytest.fixture(scope="module")
def second(build, plain, first, tmp_path_factory) -> tuple[dict, dict]:
    """The files of the first generation, and those that the second has when nothing goes wrong."""
    out = Path(shutil.copytree(first, tmp_path_factory.mktemp("second") / "engine"))
    build(out, other(plain))
    return files_of(first), files_of(out)


class FromDraftOn:
    """Lets the faults begin with the draft: what comes before it only reads and computes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, faults: Faults) -> None:
        self._stack = contextlib.ExitStack()

        def begun(*given):
            self._stack.enter_context(injected(faults))
            return Draft(*given)

        monkeypatch.setattr(pipeline, "Draft", begun)

    def end(self) -> None:
        self._stack.close()


def num_steps(build, plain, first, tmp_path, monkeypatch) -> int:
    faults = Faults(10**9)
    with monkeypatch.context() as patch:
        counting = FromDraftOn(patch, faults)
        try:
            build(Path(shutil.copytree(first, tmp_path / "counted")), other(plain))
        finally:
            counting.end()
    return faults.count


def test_a_build_that_cannot_publish_leaves_the_old_and_is_finished_by_the_next(
    build, plain, first, second, tmp_path, monkeypatch
):
    """A sample of the steps; tests/generation tries each of them without models. INTENTLY_ALL_FAULTS=1 tries all."""
    total = num_steps(build, plain, first, tmp_path, monkeypatch)
    assert total > 60
    tried = range(1, total + 1) if os.environ.get("INTENTLY_ALL_FAULTS") else (1, total // 3, total - 40, total - 12)
    for at in tried:
        out = Path(shutil.copytree(first, tmp_path / str(at)))
        with monkeypatch.context() as patch:
            failing = FromDraftOn(patch, Faults(at))
            try:
                with contextlib.suppress(OSError, ArtifactError):
                    build(out, other(plain))
            finally:
                failing.end()
        assert files_of(out) in second
        assert Engine.load(out).retrieve("red drill").ads
        stages = Stages()
        build(out, other(plain), stages)
        assert stages.trained == set(), at
        assert files_of(out) == second[1]
        assert all_files(out) == whole(out)
        shutil.rmtree(out)


CHILD = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[1].split(os.pathsep)
import pickle
from faults import Faults, injected
from intently.build import pipeline
from intently.generation import Draft
given = pickle.loads(Path(sys.argv[2]).read_bytes())
injection = injected(Faults(given.pop("at"), kill=True))
def begun(*named):
    injection.__enter__()
    return Draft(*named)
pipeline.Draft = begun
pipeline.build_engine(**given)
"""


def test_a_build_that_is_killed_while_it_publishes_is_finished_by_the_next(
    build, world, plain, first, second, tmp_path, monkeypatch
):
    import pickle

    out = Path(shutil.copytree(first, tmp_path / "engine"))
    total = num_steps(build, plain, first, tmp_path, monkeypatch)
    folders = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    for at in (total // 2, total - 14):
        given = {"ads": world.ads, "clicks": world.clicks, "out": out, "settings": other(plain), "pages": world.pages}
        (tmp_path / "given").write_bytes(pickle.dumps(given | {"at": at}))
        done = subprocess.run([sys.executable, "-c", CHILD, folders, str(tmp_path / "given")], capture_output=True)
        assert done.returncode == -9, done.stderr.decode()
        assert files_of(out) in second
        assert Engine.load(out).retrieve("red drill").ads
    stages = Stages()
    build(out, other(plain), stages)
    assert stages.trained == set()
    assert files_of(out) == second[1]
    assert all_files(out) == whole(out)


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [torn, zeros, flipped])
@pytest.mark.parametrize(
    ("pattern", "trained"),
    [
        ("student-*/ads-*.npz", set()),
        ("student-*/checkpoint.pt", set()),
        ("student-*/student/done", {"student"}),
        ("student-*/student/model.safetensors", {"student"}),
    ],
)
def test_damaged_leftovers_are_set_aside_and_done_again(
    build, plain, first, second, tmp_path, damage: Callable[[Path], None], pattern, trained, caplog
):
    out = Path(shutil.copytree(first, tmp_path / "engine"))
    (path,) = (out / ".build").glob(pattern)
    damage(path)
    stages = Stages()
    build(out, other(plain), stages)
    assert stages.trained == trained
    assert ("it is done again, and kept as" in caplog.text) == (path.name != "checkpoint.pt")  # which is not read again
    assert files_of(out) == second[1]
    assert all_files(out) == whole(out)


@pytest.mark.parametrize("damage", [torn, zeros, flipped])
def test_a_damaged_checkpoint_begins_again(build, plain, second, tmp_path, damage, caplog):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "engine", other(plain), Stages("Training the student", 5))
    (path,) = (tmp_path / "engine" / ".build").glob("student-*/checkpoint.pt")
    damage(path)
    build(tmp_path / "engine", other(plain))
    assert "checkpoint.pt is torn or has been altered" in caplog.text
    assert files_of(tmp_path / "engine") == second[1]


def test_half_directories_are_done_again(build, plain, first, second, tmp_path):
    out = Path(shutil.copytree(first, tmp_path / "engine"))
    for work in (out / ".build").glob("encoder-*"):
        shutil.rmtree(work)
        work.write_text("a file where a directory should be")
    for work in (out / ".build").glob("student-*"):
        (work / "student" / "done").unlink()
        (work / "student" / "model.safetensors").unlink()
    stages = Stages()
    build(out, other(plain), stages)
    assert stages.trained == {"student"}  # from its last checkpoint on
    assert files_of(out) == second[1]


def test_a_trained_student_is_taken_from_any_generation(build, plain, first, second, tmp_path):
    out = Path(shutil.copytree(first, tmp_path / "engine"))
    build(out, other(plain))
    stages = Stages()
    changed = replace(plain, postings=replace(plain.postings, length_power=0.1))  # of the first's student
    build(out, changed, stages)
    assert stages.trained == set()
    student = {name: file for name, file in files_of(out).items() if name.startswith("student/")}
    assert student == {name: file for name, file in second[0].items() if name.startswith("student/")}
    assert len(list_generations(out)) == 3


def test_building_what_was_rolled_back_makes_it_current_again(build, plain, first, second, tmp_path):
    out = Path(shutil.copytree(first, tmp_path / "engine"))
    new = build(out, other(plain)).generation
    roll_back(out)
    assert files_of(out) == second[0]
    stages = Stages()
    report = build(out, other(plain), stages)
    assert stages.seen == ["Reading"]
    assert report.generation == new == current_id(out)
    assert report.notes[-1].endswith(f"generation {new} is the current one again")
    assert len(list_generations(out)) == 2


def test_another_version_of_the_code_is_not_already_built(build, plain, first, tmp_path, monkeypatch):
    from intently.build import work

    out = Path(shutil.copytree(first, tmp_path / "engine"))
    monkeypatch.setattr(work, "TEXT_RULES_VERSION", work.TEXT_RULES_VERSION + 1)
    stages = Stages()
    assert not any(note.startswith("already built") for note in build(out, plain, stages).notes)
    assert "Training the student" in stages.seen


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "model.safetensors"])
def test_every_file_of_the_checkpoint_decides(plain, world, tmp_path, name):
    from intently.build.work import fingerprints_of

    checkpoint = Path(shutil.copytree(plain.checkpoint, tmp_path / "checkpoint"))
    settings = replace(plain, checkpoint=str(checkpoint))
    before = fingerprints_of([world.ads], settings, False)
    (checkpoint / name).write_bytes((checkpoint / name).read_bytes() + b" ")
    assert fingerprints_of([world.ads], settings, False).student != before.student


def test_engines_and_generations_know_each_other(build, plain, first, second, tmp_path):
    out = Path(shutil.copytree(first, tmp_path / "engine"))
    old = Engine.load(out)
    for seed in (5, 6, 7, 8):
        build(out, replace(plain, training=replace(plain.training, seed=seed)))
    assert old.retrieve("red drill").ads
    ids = [each.id for each in list_generations(out)]
    assert ids[-1] == old.generation  # pinned, and so one more than three
    assert len(ids) == 4
    assert Engine.load(out).generation == ids[0] == current_id(out)
    assert Engine.load(out, generation=ids[1]).generation == ids[1]
    with pytest.raises(ArtifactError, match="there is no generation"):
        Engine.load(out, generation="20260101T000000Z-0000-abcdef")


def test_parts_of_other_ads_and_stray_parts_are_not_used(build, plain, first, tmp_path):
    out = Path(shutil.copytree(first, tmp_path / "engine"))
    for name in ("cache.bin", "fusion.json", "tokens", "encoder"):  # torn, if they were opened
        (current(out) / name).write_bytes(b"\0")
    engine = Engine.load(out)
    assert (engine.cache, engine.fusion, engine.encoder, engine.tokens) == (None, None, None, None)


def test_a_second_build_into_a_foreign_directory_is_refused_before_anything_is_trained(build, plain, tmp_path):
    (tmp_path / ".build").mkdir()
    (tmp_path / ".build" / "precious").write_text("x")
    (tmp_path / "manifest.json").write_text(json.dumps({"name": "an app"}))
    stages = Stages()
    with pytest.raises(InputError, match="holds files that are not an Intently engine"):
        build(tmp_path, plain, stages)
    assert stages.trained == set()
    assert (tmp_path / ".build" / "precious").read_text() == "x"
