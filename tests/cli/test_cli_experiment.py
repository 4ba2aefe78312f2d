"""`intently experiment rare`: how it is asked for, and what it says when it goes wrong.

(The experiment itself is run in tests/experiments/test_rare.py.)
"""

import re
from itertools import combinations

import pytest

pytest.importorskip("torch")

from test_cli import ADS, CLICKS, assert_refused, intently

TEST = "query\tad_id\trelevance\ncordless drill\ta1\t2\n跑步鞋\ta8\t2\n"
NAMES = {"--ads": "ads.tsv", "--clicks": "clicks.tsv", "--test": "test.tsv"}


@pytest.fixture
def folder(tmp_path):
    for name, text in (("ads.tsv", ADS), ("clicks.tsv", CLICKS), ("test.tsv", TEST)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def given(folder, *options: str) -> list[object]:
    return [each for option in options for each in (option, folder / NAMES[option])]


def rare(folder, *arguments: object):
    return intently("experiment", "rare", "--out", folder / "out", *arguments)


def last_line(outcome):
    """Return the outcome without the lines of finished stages and the page about what was understood of the ads."""
    *progress, line = outcome.err.splitlines()
    assert all(re.search(r": done in| of them active|: tsv, plain; ", shown) for shown in progress)
    return type(outcome)(outcome.code, outcome.out, line)


def test_the_group_lists_its_experiments():
    outcome = intently("experiment", "--help")
    assert outcome.code == 0
    assert "rare" in outcome.out
    assert "Resumable" in outcome.out


def test_out_is_asked_for():
    outcome = intently("experiment", "rare")
    assert outcome.code == 2
    assert "Missing option '--out'" in outcome.err


def test_an_unknown_experiment_points_at_the_help():
    outcome = intently("experiment", "commonplace")
    assert outcome.code == 2
    assert "--help" in outcome.err


@pytest.mark.parametrize("options", [each for size in (1, 2) for each in combinations(NAMES, size)])
def test_the_three_files_belong_together(folder, options):
    outcome = rare(folder, *given(folder, *options))
    assert_refused(outcome, "--ads, --clicks and --test belong together", "give all three, or none for a world")
    assert not (folder / "out").exists()


def test_a_taxonomy_is_not_of_the_simulated_world(folder):
    assert_refused(rare(folder, "--taxonomy", folder / "ads.tsv"), "--taxonomy goes with --ads, --clicks and --test")
    assert not (folder / "out").exists()


@pytest.mark.parametrize("missing", NAMES)
def test_a_file_that_is_not_there_is_told(folder, missing):
    (folder / NAMES[missing]).unlink()
    outcome = last_line(rare(folder, *given(folder, *NAMES)))
    assert_refused(outcome, NAMES[missing], "no such file")
    assert not (folder / "out").exists()


def test_a_taxonomy_that_is_not_there_is_told(folder):
    outcome = last_line(rare(folder, *given(folder, *NAMES), "--taxonomy", folder / "none.tsv"))
    assert_refused(outcome, "none.tsv", "no such file")


@pytest.mark.parametrize("world", [True, False])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('baselines = "dsi, bm26"', ["'baselines' names 'bm26'; known are simbert, "]),
        ("num_lm_queries = 0", ["'num_lm_queries' is 0"]),
        ("lm_beams = 2.5", ["'lm_beams' is 2.5; it takes int"]),
        ("steps = 3", ["unknown setting 'steps'", "num_lm_queries"]),
        ("[budget]\nnum_steps = 0", ["'budget'", "'num_steps' is 0"]),
        ("[build.teacher.model]\nprecision = 'int1'", ["'precision' is 'int1'"]),
        ("[build]\ncheckpoint = 'mine'", ["'budget.checkpoint' is 'all-MiniLM-L6-v2', 'build.checkpoint' 'mine'"]),
        ("[torn", ["not valid TOML"]),
        (None, ["cannot be read"]),
    ],
)
def test_wrong_settings_are_told_before_anything_is_done(folder, world, text, told):
    path = folder / "settings.toml"
    if text is not None:
        path.write_text(text)
    outcome = rare(folder, "--settings", path, *([] if world else given(folder, *NAMES)))
    assert_refused(outcome, str(path), *told)  # one line: no world was simulated for it
    assert not (folder / "out").exists()


def test_the_teacher_is_named(folder):
    (folder / "settings.toml").write_text('[build.teacher.model]\nname = ""\n')
    outcome = last_line(rare(folder, "--settings", folder / "settings.toml", *given(folder, *NAMES)))
    assert_refused(outcome, "'build.teacher.model.name' is empty")
    assert not (folder / "out").exists()


def test_a_directory_of_other_things_is_left_alone(folder):
    (folder / "out" / "all").mkdir(parents=True)
    (folder / "out" / "all" / "diary.txt").write_text("dear diary")
    outcome = last_line(rare(folder, *given(folder, *NAMES)))
    assert_refused(outcome, "holds files that are not an experiment")
    assert [path.name for path in (folder / "out" / "all").iterdir()] == ["diary.txt"]
