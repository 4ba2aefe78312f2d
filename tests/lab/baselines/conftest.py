"""A world of forty ads, a checkpoint small enough to be trained in seconds, and a budget for that."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from intently.intentions.vocabulary import Vocabulary
from intently.lab.baselines.task import Budget, Task
from intently.models.backbone import Backbone
from intently.models.tokenizer import StudentTokenizer
from intently.models.weights import BackboneConfig
from tests.conftest import as_bert, wordpiece

COLOURS = ("red", "blue", "green", "black", "white", "yellow", "pink", "grey")
THINGS = ("robot", "vacuum", "drill", "lamp", "kettle")
STYLES = ("small", "large", "cheap")
UNUSED = tuple(f"[unused{number}]" for number in range(120))


@pytest.fixture(scope="session")
def tokenizer() -> StudentTokenizer:
    return StudentTokenizer(wordpiece((*COLOURS, *THINGS, *STYLES, *UNUSED, "for", "home", "want")))


@pytest.fixture(scope="session")
def task() -> Task:
    """Ads are a colour, a thing and a style; a query names colour and thing in its own order, and clicks that ad."""
    pairs = list(product(COLOURS, THINGS))
    titles = tuple(
        f"{STYLES[row % len(STYLES)]} {colour} {thing} for home" for row, (colour, thing) in enumerate(pairs)
    )
    queries = tuple(f"{thing} {colour}" for colour, thing in pairs)
    rows = np.arange(len(pairs))
    phrases = (*COLOURS, *THINGS, *(f"{colour} {thing}" for colour, thing in pairs))
    found = [(phrase, row) for phrase, text in enumerate(phrases) for row, title in enumerate(titles) if text in title]
    asked = [(len(COLOURS) + len(THINGS) + row, row) for row in rows.tolist()]
    return Task(
        ad_ids=tuple(f"ad{row}" for row in rows.tolist()),
        ad_texts=titles,
        titles=titles,
        keywords=((),) * len(titles),
        queries=queries,
        clicks=np.stack((rows, rows), axis=1),
        irrelevant=np.array([[0, 7], [3, 1]]),
        test_queries=queries,
        vocabulary=Vocabulary(phrases, np.array(found), np.array(asked)),
    )


@pytest.fixture(scope="session")
def bilingual(task: Task) -> Task:
    """The same ads, and Chinese ones of which a query names colour and thing; every fourth query clicks nothing."""
    pairs = list(product("红蓝绿黑", ("扫地机器人", "水壶", "电钻", "台灯", "鞋")))
    titles = (*task.titles, *(f"家用{colour}色{thing}" for colour, thing in pairs))
    queries = (*task.queries, *(f"{thing}{colour}" for colour, thing in pairs))
    rows = np.arange(len(titles))
    clicked = rows[rows % 4 != 3]
    return replace(
        task,
        ad_ids=tuple(f"ad{row}" for row in rows.tolist()),
        ad_texts=titles,
        titles=titles,
        keywords=((),) * len(titles),
        queries=queries,
        clicks=np.stack((clicked, clicked), axis=1),
        test_queries=queries,
    )


@pytest.fixture(scope="session")
def checkpoint(tokenizer: StudentTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint in the layout of a BERT encoder, its weights random."""
    directory = tmp_path_factory.mktemp("checkpoint")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Backbone(BackboneConfig(tokenizer.vocab_size, 32, 2, 2, 64, 64))
    config = vars(backbone.config) | {"model_type": "bert", "hidden_act": "gelu"}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer.json").write_text(tokenizer.definition)
    save_file(as_bert(backbone), directory / "model.safetensors")
    return directory


@pytest.fixture
def budget(checkpoint: Path) -> Budget:
    return Budget(
        num_steps=150,
        batch_size=24,
        learning_rate=6e-3,
        num_beams=12,
        num_ads=30,
        checkpoint=str(checkpoint),
        checkpoint_steps=50,
    )


@pytest.fixture
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in float32 even where bfloat16 is fast, so that results can be compared closely."""
    monkeypatch.setattr("intently.lab.baselines.tower.autocast", lambda device: contextlib.nullcontext())


class Interruption(Exception):
    """What stops a training in a test."""


def quiet(stage: str, done: int, total: int, note: str) -> None:
    """Show nothing."""


def stops_at(stage: str, step: int) -> Callable[[str, int, int, str], None]:
    """Return a progress that interrupts a stage."""

    def progress(now: str, done: int, total: int, note: str) -> None:
        if (now, done) == (stage, step):
            raise Interruption

    return progress


def first_ads(answers) -> list[str]:
    return [ads[0] if ads else "" for ads, _ in answers.rankings]


def assert_well_formed(answers, task: Task, budget: Budget) -> None:
    """Assert what holds for every baseline: known ads, each once, best first, as many as asked for at most."""
    assert len(answers.rankings) == len(task.test_queries)
    for ads, scores in answers.rankings:
        assert len(ads) == len(scores) == len(set(ads)) <= budget.num_ads
        assert set(ads) <= set(task.ad_ids)
        assert np.isfinite(scores).all()
        assert (np.diff(scores) <= 0).all()
    if answers.num_identifiers is not None:
        assert len(answers.num_identifiers) == len(task.test_queries)
        assert 0 <= min(answers.num_identifiers) <= max(answers.num_identifiers) <= budget.num_beams
