from dataclasses import replace

import numpy as np
import pytest

from intently.build.training.fusion import (
    FusionExample,
    FusionSettings,
    _average_precision,
    _linear_ranker,
    _sampled,
    held_out,
    train_fusion,
)
from intently.errors import InputError, SettingsError

RISING = (False, True, False)
SETTINGS = FusionSettings(
    min_queries=10, num_negatives=20, max_trees=30, num_folds=3, num_leaves=4, min_leaf=5, learning_rate=0.2
)


def examples(number: int, seed: int = 0) -> list[FusionExample]:
    """Return queries whose relevant candidates are those with a high second feature; the others are noise."""
    rng = np.random.default_rng(seed)
    tables = [rng.normal(size=(40, 3)).astype(np.float32) for _ in range(number)]
    return [FusionExample(table, (table[:, 1] > 1).astype(np.int64)) for table in tables]


def test_held_out_is_about_the_share_and_only_of_the_text():
    queries = [f"query {number}" for number in range(4000)]
    mask = held_out(queries, 0.1)
    assert 0.08 < mask.mean() < 0.12
    assert held_out(queries[::-1], 0.1).tolist() == mask[::-1].tolist()
    assert held_out(queries[7:8], 0.1).tolist() == mask[7:8].tolist()
    assert (held_out(queries, 0.1, seed=1) != mask).any()
    assert not (mask & ~held_out(queries, 0.2)).any()  # a larger share adds queries


@pytest.mark.parametrize("same", [("LED Lamp", "led  lamp", "ＬＥＤ　lamp"), ("扫地机器人", " 扫地机器人 ")])
def test_spellings_of_one_query_are_on_the_same_side(same):
    for seed in range(20):
        assert len(set(held_out(same, 0.5, seed).tolist())) == 1


def test_nothing_or_no_query_is_held_out():
    assert not held_out(["a", "b"], 0.0).any()
    assert held_out([], 0.5).shape == (0,)


def test_learns_what_makes_candidates_relevant():
    lightgbm = pytest.importorskip("lightgbm")
    trained = train_fusion(examples(60), RISING, SETTINGS)
    assert trained.num_queries == 60
    assert trained.precision > 0.9 > 0.5 > trained.baseline
    booster = lightgbm.Booster(model_str=trained.model)
    assert booster.num_trees() == trained.num_trees
    for example in examples(5, seed=1):
        table = np.column_stack((example.features, example.features @ np.array(trained.weights)))
        order = np.argsort(-booster.predict(table), kind="stable")
        assert _average_precision(example.gains[order]) > 0.9


def test_scores_never_fall_with_what_can_only_be_better():
    lightgbm = pytest.importorskip("lightgbm")
    # Where the lowest are the relevant ones, trees that may fall do so.
    lowest = [FusionExample(each.features, (each.features[:, 1] < -1).astype(np.int64)) for each in examples(40)]
    free, held = (train_fusion(lowest, (False, bound, False), SETTINGS).model for bound in (False, True))
    table = np.zeros((50, 4), dtype=np.float32)
    table[:, 1] = np.linspace(-3, 3, 50)
    falls = [(np.diff(lightgbm.Booster(model_str=model).predict(table)) < 0).any() for model in (free, held)]
    assert falls == [True, False]


def test_noise_is_not_better_than_reciprocal_rank_fusion():
    rng = np.random.default_rng(0)
    noise = [
        FusionExample(rng.normal(size=(40, 3)).astype(np.float32), (np.arange(40) < 5).astype(np.int64))
        for _ in range(40)
    ]
    trained = train_fusion(noise, RISING, SETTINGS)
    assert trained.baseline == 1 > trained.precision


def test_the_same_examples_give_the_same_model():
    once, again = (train_fusion(examples(30), RISING, SETTINGS) for _ in range(2))
    assert once == again
    assert train_fusion(examples(30), RISING, replace(SETTINGS, seed=1)).model != once.model


def test_queries_without_relevant_candidates_are_left_out():
    nothing = FusionExample(np.zeros((4, 3), dtype=np.float32), np.zeros(4, dtype=np.int64))
    with_nothing = [each for example in examples(20) for each in (nothing, example)]
    assert train_fusion(with_nothing, RISING, SETTINGS) == train_fusion(examples(20), RISING, SETTINGS)
    with pytest.raises(InputError, match=r"5 held-out queries .* min_queries"):
        train_fusion([*examples(5), nothing, nothing, nothing, nothing, nothing], RISING, SETTINGS)


def test_tells_how_far_it_is():
    told = []
    trained = train_fusion(examples(20), RISING, SETTINGS, lambda *step: told.append(step))
    assert told[-1] == ("Learning the fusion", 4, 4, f"{trained.num_trees} trees")
    assert [done for _, done, _, _ in told] == [0, 1, 2, 3, 4]


def test_the_linear_ranker_is_at_the_minimum():
    rng = np.random.default_rng(0)
    few = [FusionExample(rng.normal(size=(12, 3)).astype(np.float32), rng.integers(0, 4, 12)) for _ in range(20)]
    for each in few:
        each.gains[0] = 1
        each.features[:, 2] = 7.0  # says nothing
    deviations = np.concatenate([each.features for each in few]).std(axis=0)
    deviations[2] = 1.0

    def loss(weights: np.ndarray) -> float:
        total = 0.0
        for each in few:
            scores = each.features.astype(np.float64) @ weights
            log_chances = scores - np.log(np.exp(scores).sum())
            total -= log_chances @ each.gains / each.gains.sum()
        return total / len(few) + 0.05 * ((weights * deviations) ** 2).sum()

    best = _linear_ranker(few, 0.05)
    assert best[2] == pytest.approx(0, abs=1e-9)
    for at in range(3):
        for move in (-1e-3, 1e-3):
            assert loss(best + move * np.eye(3)[at]) > loss(best)


def test_samples_all_relevant_ones_the_first_others_and_some_more():
    features = np.arange(100, dtype=np.float32)[:, None]
    gains = np.zeros(100, dtype=np.int64)
    gains[[3, 50, 99]] = (1, 2, 1)
    sampled = _sampled(FusionExample(features, gains), 20, np.random.default_rng(0))
    rows = sampled.features[:, 0].astype(int).tolist()
    assert rows == sorted(set(rows))
    assert len(rows) == 23
    assert {3, 50, 99} | set(range(11)) - {3} <= set(rows)
    assert sampled.gains.tolist() == gains[rows].tolist()
    everything = _sampled(FusionExample(features, gains), 500, np.random.default_rng(0))
    assert everything.gains.tolist() == gains.tolist()


def test_average_precision_by_hand():
    assert _average_precision(np.array([0, 1, 0, 2])) == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_wrong_settings_are_refused():
    with pytest.raises(SettingsError, match="held_out_share"):
        FusionSettings(held_out_share=0.9)
    with pytest.raises(SettingsError, match="num_leaves"):
        FusionSettings(num_leaves=1)
    with pytest.raises(SettingsError, match="num_folds"):
        FusionSettings(num_folds=1)
    with pytest.raises(SettingsError, match="min_queries"):
        FusionSettings(min_queries=4, num_folds=5)
