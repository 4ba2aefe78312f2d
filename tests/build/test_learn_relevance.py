"""What relevance is learned from, and when an engine does not tell it."""

from dataclasses import replace

import numpy as np
import pytest

from intently import Engine
from intently.build.calibration import Asked, learn_relevance, questions
from intently.build.interactions import Interactions
from intently.build.settings import BuildSettings
from intently.build.training.calibration import CalibrationSettings
from intently.catalog import Catalog
from intently.engine.relevance import WORDS
from intently.errors import InputError
from intently.index.lexical import LexicalIndex, LexicalSettings
from intently.types import Ad, Channel, Put

SETTINGS = CalibrationSettings(min_queries=20, max_queries=60, depth=5, num_strangers=3)
COLORS, THINGS = ("red", "blue", "green", "白色"), ("lamp", "kettle", "shoe", "drill", "水壶", "跑鞋")
PARTS = ("steel", "cordless", "轻便", "large", "silent")
ADS = [
    Ad(f"a{number}", f"{color} {part} {thing}")
    for number, (color, part, thing) in enumerate(
        (color, part, thing) for color in COLORS for part in PARTS for thing in THINGS
    )
]


def told(*call: object) -> None:
    pass


class FakeEngine:
    """Tells evidence that says how relevant an ad is: the row, up to a hundred."""

    channels = (Channel.LEXICAL,)

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], int]] = []

    def evidence(self, queries, depth, others):
        self.asked.append((tuple(queries), depth))
        for query, more in zip(queries, others, strict=True):
            rows = np.concatenate((np.random.default_rng(list(query.encode())).permutation(100)[:depth], more))
            yield rows, {"coverage": rows / 100}


def asked(number: int) -> Asked:
    """Return queries whose relevant ads are more often than not the higher rows."""
    rng = np.random.default_rng(0)
    rows = tuple(np.flatnonzero(rng.random(100) < np.arange(100) / 150) for _ in range(number))
    return Asked(tuple(f"query {each} 查询" for each in range(number)), rows, "clicked queries")


def test_the_probability_is_the_share_of_relevant_ads():
    engine, settings = FakeEngine(), replace(SETTINGS, num_strangers=0, depth=50, min_queries=200)
    learned = learn_relevance(engine, asked(400), settings, told)
    assert learned.notes == () and learned.facts["relevance_queries"] == 400
    (model,) = learned.calibrator.models.values()
    assert tuple(model.weights) == WORDS
    for row in (10, 50, 90):
        assert model.of({"coverage": row / 100}) == pytest.approx(row / 150, abs=0.06)
    keeping = learned.calibrator.keeping
    assert keeping[0.99] < keeping[0.95] < keeping[0.9] == pytest.approx(model.of({"coverage": 0.32}), abs=0.03)
    assert learned.facts["relevance_keeping_95_percent"] == keeping[0.95]


def test_too_few_queries_are_told():
    learned = learn_relevance(FakeEngine(), asked(10), SETTINGS, told)
    assert (learned.calibrator, learned.facts) == (None, {})
    (note,) = learned.notes
    assert note.startswith("the engine does not tell relevance: ") and "'min_queries' is 20" in note
    assert learn_relevance(FakeEngine(), asked(0), SETTINGS, told).calibrator is None


def test_clicked_queries_come_first_then_the_catalogs_own():
    catalog = Catalog.from_ads(ADS)
    lexical = LexicalIndex.build(catalog.strings("title"), LexicalSettings())
    pairs = np.array([(query, query % 7) for query in range(30)] + [(3, 50)], dtype=np.int64)
    clicked = Interactions(tuple(f"q{each}" for each in range(40)), pairs, pairs[:0], 0, pairs[:, 0], pairs[:0])
    found = questions(catalog, lexical, clicked, SETTINGS)
    assert found.told == "clicked queries" and sorted(found.queries) == sorted(clicked.queries[:30])
    assert found.relevant[found.queries.index("q3")].tolist() == [3, 50]
    assert len(questions(catalog, lexical, clicked, replace(SETTINGS, max_queries=25)).queries) == 25
    own = questions(catalog, lexical, clicked, replace(SETTINGS, min_queries=31))
    assert own.told == "queries made of titles" and len(own.queries) == len(own.relevant) > 30
    assert questions(catalog, lexical, clicked, SETTINGS).queries == found.queries


@pytest.fixture(scope="module")
def lexical() -> BuildSettings:
    return replace(BuildSettings.preset("lexical"), calibration=SETTINGS)


@pytest.mark.parametrize("with_clicks", [True, False])
def test_a_build_without_models_tells_relevance(lexical, with_clicks):
    clicks = [(" ".join(ad.title.split()[::-2]), ad.ad_id) for ad in ADS] + [
        ("silent steel", ads) for ads in ("a1", "a9")
    ]
    engine = Engine.build(ADS, clicks if with_clicks else None, settings=lexical)
    assert engine.calibrator.learned_from == ("clicked queries" if with_clicks else "queries made of titles")
    best = engine.retrieve("red silent lamp")[0]
    assert engine.ad(best.ad_id).title == "red silent lamp"
    for foreign in ("cheap flights to rome", "lamp insurance broker london", "银行付款单 白色"):
        ranking = engine.retrieve(foreign)
        assert all(ad.relevance < best.relevance / 2 for ad in ranking), foreign
        assert not engine.retrieve(foreign, min_relevance=0.9 * best.relevance).ads
    engine.apply([Put(Ad("new", "Rome flights, cheap"))])
    ranking = engine.retrieve("cheap flights to rome")
    assert ranking[0].ad_id == "new" and all(ad.relevance < ranking[0].relevance / 2 for ad in ranking[1:])


def test_a_build_that_is_told_not_to_does_not(lexical):
    off = replace(lexical, calibration=replace(SETTINGS, enabled=False))
    engine = Engine.build(ADS, settings=off)
    assert engine.calibrator is None
    with pytest.raises(InputError, match="does not tell relevance"):
        engine.retrieve("red lamp", min_relevance=0.5)


def test_the_same_input_is_calibrated_alike(lexical):
    assert Engine.build(ADS, settings=lexical).calibrator == Engine.build(ADS, settings=lexical).calibrator
