"""Engines answer, change their ads and are served in a process that never imports PyTorch, and as one that does."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from test_cli import write_checkpoint

from intently.build.settings import BuildSettings
from intently.engine.engine import Engine
from intently.models.student import Runtime
from intently.types import Ad, Delete, Patch, Put, Span
from tests.conftest import unigram

QUERIES = ["red drill", "家用水壶", "heavy vacuum lamp", "红色 跑鞋"]
TITLES = {"new": "cordless kettle drill", "新": "家用电钻 水管"}
CHANGES = [
    Put(Ad("new", TITLES["new"], landing_spans=(Span("Ships at night. Red drill for free.", 0.95),))),
    Put(Ad("新", TITLES["新"])),
    Patch("a1", {"status": "paused"}),
    Delete("a2"),
]
STORY = f"""
import json, sys
from pathlib import Path
from intently import Ad, Delete, Engine, Patch, Put, Request
from intently.types import Span

directory, queries = sys.argv[1], {QUERIES!r}
engine = Engine.load(directory)
before = [[[one.ad_id, one.score] for one in engine.answer(Request(query, k=40)).ads] for query in queries]
engine.apply({CHANGES!r})
after = [[[one.ad_id, one.score] for one in engine.answer(Request(query, k=40)).ads] for query in queries]
new = [engine.answer(Request(title, k=1)).ads[0].ad_id for title in {list(TITLES.values())!r}]
engine.explain(Request(queries[0]), ["a0"])

from tests.serve.serving import Served
served = Served(Path(directory))
put = served.ask("PUT", "/v1/ads/served", {{"title": "blue heavy hose"}})
asked = served.post("/v1/retrieve", {{"query": "blue heavy hose", "min_seq": put.json()["seq"]}})
served.close()
found = [ad["ad_id"] for ad in asked.json()["ads"]]
heavy = [name for name in ("torch", "transformers", "sklearn", "pandas") if name in sys.modules]
print(json.dumps([before, after, new, put.status_code, "served" in found, heavy]))
"""


@pytest.fixture(scope="module")
def trained(build, chosen, tmp_path_factory) -> Path:
    """Return an engine with WordPiece vocabulary, trained student, encoder, learned fusion and query cache."""
    out = tmp_path_factory.mktemp("trained") / "engine"
    build(out, replace(chosen, retrieval=replace(chosen.retrieval, runtime=Runtime.ONNX_INT8)))
    return out


@pytest.fixture(scope="module")
def instant(build, tmp_path_factory) -> Path:
    """Return an engine of the preset that trains nothing, on a Unigram vocabulary."""
    folder = tmp_path_factory.mktemp("instant")
    write_checkpoint(folder / "checkpoint", unigram())
    build(folder / "engine", replace(BuildSettings.preset("instant"), checkpoint=str(folder / "checkpoint")))
    return folder / "engine"


@pytest.mark.parametrize("kind", ["trained", "instant"])
def test_an_engine_lives_without_pytorch(kind, request):
    directory = request.getfixturevalue(kind)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run(
        [sys.executable, "-c", STORY, str(directory)], capture_output=True, text=True, env=environment, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    before, after, new, status, is_found, heavy = json.loads(ran.stdout.splitlines()[-1])
    assert heavy == []
    assert (new, status, is_found) == (["new", "新"], 201, True)
    gone = {"a1", "a2"}
    assert gone & {ad_id for answer in before for ad_id, _ in answer}
    assert not gone & {ad_id for answer in after for ad_id, _ in answer}
    here = Engine.load(directory)  # in a process that has PyTorch
    assert before == [[[one.ad_id, one.score] for one in here.retrieve(query, k=40).ads] for query in QUERIES]
    here.apply(CHANGES)
    assert after == [[[one.ad_id, one.score] for one in here.retrieve(query, k=40).ads] for query in QUERIES]


@pytest.mark.parametrize("kind", ["trained", "instant"])
def test_float32_answers_are_those_of_pytorch(kind, request, monkeypatch):
    for place in ("device", "encoder.torch_reader"):  # PyTorch reads new ads in bfloat16 where it can
        monkeypatch.setattr(f"intently.models.{place}.autocast", lambda _: nullcontext())
    directory = request.getfixturevalue(kind)
    quick, reference = (Engine.load(directory, runtime=runtime) for runtime in (Runtime.ONNX, Runtime.TORCH))
    for engine in (quick, reference):
        engine.apply(CHANGES)
    for query in QUERIES:
        found, expected = quick.retrieve(query, k=40), reference.retrieve(query, k=40)
        assert [one.text for one in found.intentions] == [one.text for one in expected.intentions]
        log_probs = [[one.log_prob for one in ranking.intentions] for ranking in (found, expected)]
        np.testing.assert_allclose(*log_probs, atol=1e-4)
        assert [one.ad_id for one in found.ads] == [one.ad_id for one in expected.ads]
        scores = [[one.score for one in ranking.ads] for ranking in (found, expected)]
        np.testing.assert_allclose(*scores, atol=1e-4)
