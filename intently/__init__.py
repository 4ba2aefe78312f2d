"""Intently: ad retrieval by commercial intention.

    from intently import Ad, Delete, Engine, Patch, Put, Request, UserContext, build

    build.build_engine("ads.tsv", "clicks.tsv", "engine")        # offline; `build_engine` alone can be imported too
    engine = Engine.load("engine")                               # online
    engine.apply([Put(Ad("a1", "Cordless drill")), Patch("a2", {"status": "paused"}), Delete("a3")])
    ranking = engine.answer(Request("drill", k=5, user=UserContext(country="US")))

`CurrentEngine` is an engine that goes over to new generations of its directory. Names that run models (`Engine`,
`CurrentEngine`, `build`, `build_engine`, `BuildSettings`) are imported on first use: reading catalogs and evaluating
need none of these. The package logs to the logger `intently`, and shows nothing until you configure `logging`.
"""

import importlib
import logging
from typing import TYPE_CHECKING, Any

from intently.errors import IntentlyError
from intently.types import (
    Ad,
    Channel,
    Delete,
    Intention,
    Patch,
    Put,
    PutList,
    Ranking,
    Reason,
    Request,
    ScoredAd,
    UserContext,
)

if TYPE_CHECKING:
    from intently import build
    from intently.build.pipeline import build_engine
    from intently.build.settings import BuildSettings
    from intently.engine.current import CurrentEngine
    from intently.engine.engine import Engine

__all__ = [
    "Ad",
    "BuildSettings",
    "Channel",
    "CurrentEngine",
    "Delete",
    "Engine",
    "Intention",
    "IntentlyError",
    "Patch",
    "Put",
    "PutList",
    "Ranking",
    "Reason",
    "Request",
    "ScoredAd",
    "UserContext",
    "build",
    "build_engine",
]

# Names that run models, and the module of each; `build` is a module itself.
_ON_FIRST_USE = {
    "BuildSettings": "intently.build.settings",
    "CurrentEngine": "intently.engine.current",
    "Engine": "intently.engine.engine",
    "build_engine": "intently.build.pipeline",
}

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name == "build":
        return importlib.import_module("intently.build")
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module 'intently' has no attribute '{name}'")
    return getattr(importlib.import_module(_ON_FIRST_USE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
