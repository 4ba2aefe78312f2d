"""The guidance that is learned is the one whose intention channel finds clicked ads best."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from intently.build import guidance as learning
from intently.build.guidance import learn_guidance
from intently.build.interactions import Interactions
from intently.engine.channels.base import Question
from intently.engine.channels.intention import IntentionChannel
from intently.engine.engine import Engine
from intently.engine.settings import RetrievalSettings
from intently.engine.understand import understand
from intently.intentions.decode import DecodeSettings
from intently.intentions.prior import Guidance
from intently.types import Channel
from tests.engine.small_engine import ADS, QUERIES, make_engine

SETTINGS = RetrievalSettings(decode=DecodeSettings(num_beams=3), runtime="torch", num_near=4)


@pytest.fixture(scope="module")
def engine(make_student):
    return make_engine(make_student(3), SETTINGS)


@pytest.fixture(scope="module")
def aside() -> Interactions:
    rng = np.random.default_rng(0)
    clicks = np.array(sorted({(q, a) for q in range(len(QUERIES)) for a in rng.integers(0, len(ADS), 2).tolist()}))
    none = np.empty((0, 2), dtype=np.int64)
    return Interactions(tuple(QUERIES), clicks, none, 0, np.ones(len(clicks), np.int64), np.empty((0, 3), np.int64))


def precision(engine: Engine, aside: Interactions, guidance: Guidance) -> float:
    near = replace(engine.intentions.near, guidance=guidance)
    parts = (engine.catalog, engine.student, replace(engine.intentions, near=near), engine.vectors, engine.lexical)
    other = Engine(*parts, engine.settings)
    total = []
    for row, query in enumerate(aside.queries):
        clicked = {ad for query_row, ad in aside.clicks.tolist() if query_row == row}
        if not clicked or other.read(query).says_nothing:
            continue
        text, everything = other.read(query), np.ones(len(ADS), dtype=bool)  # those that are paused, too
        (understood,) = understand(
            [text], (Channel.INTENTION,), other.intentions, other.query_models, None, other.settings
        )
        question = Question(text, understood, other.snapshot, other.intentions, other.settings)
        found = IntentionChannel().search(question, everything, 500).hits.rows.tolist()
        hits = [at for at, row in enumerate(found, start=1) if row in clicked]
        total.append(sum(number / at for number, at in enumerate(hits, start=1)) / len(clicked))
    return float(np.mean(total))


@pytest.mark.parametrize("says", [1.0, None])
def test_it_finds_the_best(engine, aside, says):
    start = Guidance(0.1, says)
    reader = replace(engine.query_models.intention_reader, guidance=start)
    models = replace(engine.query_models, intention_reader=reader)
    found = learn_guidance(models, engine.intentions, engine.read, aside, SETTINGS, lambda *_: None)
    assert found.facts["guidance_precision"] == pytest.approx(precision(engine, aside, found.guidance), abs=1e-4)
    alone = {
        temperature: precision(engine, aside, Guidance(temperature, None))
        for temperature in (0.1 * times for times in learning._SHARPNESS)
    }
    assert alone[found.guidance.prior_temperature] == pytest.approx(max(alone.values()), abs=1e-4)
    if says is None:
        assert found.guidance.model_temperature is None
        return
    spoken = {
        temperature: precision(engine, aside, Guidance(found.guidance.prior_temperature, temperature))
        for temperature in learning._SAYS
    }
    worth_it = max(alone.values()) + learning._SPEECH_GAINS
    if found.guidance.model_temperature is None:
        assert max(spoken.values()) <= worth_it + 1e-4
    else:
        assert spoken[found.guidance.model_temperature] == pytest.approx(max(spoken.values()), abs=1e-4)
        assert max(spoken.values()) >= worth_it - 1e-4
