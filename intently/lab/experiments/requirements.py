"""What an experiment needs that a build does not: missed before the first step, not hours into it."""

import importlib.util
from collections.abc import Iterable

from intently.errors import MissingDependencyError, install_hint
from intently.lab.baselines.registry import ALL
from intently.models.packaged import packaged_model


def require(baselines: Iterable[str], models: Iterable[str]) -> None:
    """Raise `MissingDependencyError` unless these baselines and language models, named as in settings, can be had."""
    for module, extra in (("bm25s", "experiments"), ("matplotlib", "experiments"), ("transformers", "llm")):
        if importlib.util.find_spec(module) is None:
            raise MissingDependencyError(f"experiments need {module}; {install_hint(extra)}")
    for model in models:
        packaged_model(model)
    for name in baselines:
        ALL[name].require()
