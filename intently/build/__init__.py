"""The offline story: `build_engine` makes an engine from files, as `BuildSettings` say; its stages are the modules."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intently.build.pipeline import build_engine
    from intently.build.report import BuildReport
    from intently.build.settings import BuildSettings

__all__ = ["BuildReport", "BuildSettings", "build_engine"]

_ON_FIRST_USE = {"BuildReport": "report", "BuildSettings": "settings", "build_engine": "pipeline"}  # need PyTorch


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module 'intently.build' has no attribute '{name}'")
    return getattr(importlib.import_module(f"intently.build.{_ON_FIRST_USE[name]}"), name)
