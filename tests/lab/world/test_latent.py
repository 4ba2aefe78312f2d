from pathlib import Path

import numpy as np
import pytest

from intently.lab.world import load_vocabulary
from intently.lab.world.latent import Intents, Language, Market, Offers, grade, sample_intents, sample_offers
from intently.lab.world.traffic import HEAD, HEAD_SHARE, solve_increasing, zipf_means


@pytest.fixture
def market(tmp_path: Path, sample: str) -> Market:
    (tmp_path / "kettles.toml").write_text(sample)
    return Market.of(load_vocabulary(tmp_path))


def _intent(*, kind: int = 0, brand: int = -1, value: int = -1, language: int = Language.EN) -> Intents:
    group = 0 if value >= 0 else -1
    columns = ([kind], [brand], [[group, -1]], [[value, -1]], [language])
    return Intents(*(np.array(column, np.int32) for column in columns))


def _offer(*, kind: int = 0, brand: int = 0, value: int = -1, language: int = Language.EN) -> Offers:
    columns = ([kind], [brand], [[value]], [language])
    kinds, brands, values, languages = (np.array(column, np.int32) for column in columns)
    return Offers(kinds, brands, values, languages, np.array([0.5]), np.array([True]))


@pytest.mark.parametrize(
    ("intent", "offer", "expected"),
    [
        (_intent(), _offer(brand=1, value=1), 3),
        (_intent(brand=1, value=1), _offer(brand=1, value=1), 3),
        (_intent(brand=1, value=1), _offer(brand=1), 2),
        (_intent(brand=1, value=1), _offer(brand=1, value=0), 1),
        (_intent(brand=1), _offer(brand=0), 1),
        (_intent(), _offer(kind=1), 1),
        (_intent(kind=1), _offer(kind=0), 1),
        (_intent(language=Language.ZH), _offer(), 0),
        (_intent(), _offer(language=Language.ZH), 0),
        (_intent(language=Language.ZH), _offer(language=Language.MIXED), 3),
        (_intent(language=Language.MIXED), _offer(language=Language.ZH), 3),
    ],
)
def test_grades(market: Market, intent: Intents, offer: Offers, expected: int):
    row = np.zeros(1, np.int64)
    assert grade(market, intent, offer, row, row).tolist() == [expected]


def test_every_intent_is_satisfied_by_some_active_ad(market: Market):
    rng = np.random.default_rng(0)
    offers = sample_offers(market, 200, rng)
    assert (offers.values >= 0).any(axis=1).all()
    intents = sample_intents(offers, np.repeat(np.arange(3, dtype=np.int32), 30), rng)
    active = np.flatnonzero(offers.active)
    for row in range(len(intents)):
        grades = grade(market, intents, offers, np.full(len(active), row), active)
        assert grades.max() == 3


@pytest.mark.parametrize("num", [600, 9000, 200_000])
def test_the_zipf_exponent_gives_the_head_its_share(num: int):
    def share(exponent: float) -> float:
        means = zipf_means(num, 59 * num, exponent)
        return float(means[: round(HEAD * num)].sum() / means.sum())

    assert share(solve_increasing(share, HEAD_SHARE, 0.1, 3.0)) == pytest.approx(HEAD_SHARE, abs=1e-4)


def test_solving_out_of_reach_gives_the_nearer_end():
    assert solve_increasing(lambda x: x, 5.0, 0.0, 2.0) == 2.0
    assert solve_increasing(lambda x: x, -5.0, 0.0, 2.0) == 0.0
