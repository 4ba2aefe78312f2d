"""Dense baselines: they learn from clicks what other queries mean, and interruptions leave no trace."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from intently.errors import InputError
from intently.lab.baselines.colbert import colbert
from intently.lab.baselines.contrastive import Clicks, contrastive_loss
from intently.lab.baselines.dpr import dpr
from intently.lab.baselines.dual_encoder import DualEncoder, bert_base, dual_encoder
from intently.lab.baselines.lexical import bm25, lexical_negatives
from intently.lab.baselines.rocketqa import RocketSettings, rocketqa
from intently.lab.baselines.tower import load_tower
from tests.lab.baselines.conftest import COLOURS, THINGS, Interruption, assert_well_formed, first_ads, quiet, stops_at

METHODS = {
    "dual encoder": dual_encoder,
    "one layer": lambda *given: dual_encoder(*given, num_layers=1),
    "dpr": dpr,
    "colbert": colbert,
    "rocketqa": lambda *given: rocketqa(*given, RocketSettings(other_batches=2, num_candidates=3)),
}
STAGES = {"rocketqa": ("Training the encoder", "Training the cross-encoder", "Training with hard negatives")}


def share_found(answers, rows, depth):
    """Return the share of the queries of `rows` that have their ad among the first `depth`."""
    return np.mean([f"ad{row}" in answers.rankings[row][0][:depth] for row in rows])


@pytest.fixture
def quick(budget):
    return replace(budget, num_steps=150, batch_size=24, learning_rate=2e-3)


@pytest.fixture
def other_words(bilingual):
    """Queries that share no word with the ads that they click, nor a Chinese character."""
    names = "ruby azure olive jet ivory amber rose ash 朱 青 翠 玄"
    colours = dict(zip((*COLOURS, *"红蓝绿黑"), names.split(), strict=True))
    things = dict(zip(THINGS, ("android", "hoover", "borer", "light", "jug"), strict=True))
    things |= {"扫地机器人": "吸尘", "水壶": "烧煮", "电钻": "打孔", "台灯": "照明", "鞋": "靴"}
    english = [f"{things[thing]} {colours[colour]}" for thing, colour in map(str.split, bilingual.queries[:40])]
    chinese = [things[query[:-1]] + colours[query[-1]] for query in bilingual.queries[40:]]
    return replace(bilingual, queries=(*english, *chinese), test_queries=(*english, *chinese))


@pytest.mark.parametrize("name", METHODS)
def test_learns_from_clicks_what_words_mean(name, other_words, quick, tmp_path):
    untrained = METHODS[name](other_words, replace(quick, num_steps=3, learning_rate=1e-9), tmp_path, quiet)
    stages = set()
    trained = METHODS[name](other_words, quick, tmp_path, lambda stage, *_: stages.add(stage))
    assert set(STAGES.get(name, ("Training",))) <= stages
    assert_well_formed(trained, other_words, quick)
    rows = np.arange(other_words.num_ads)
    for language in (rows[:40], rows[40:]):
        clicked, others = language[language % 4 != 3], language[language % 4 == 3]
        assert share_found(trained, clicked, 1) >= 0.6
        assert share_found(untrained, clicked, 1) <= 0.2
        # A query of which no click is known finds its ad as well: words were learnt, not pairs.
        assert share_found(trained, others, 5) >= 0.4
        assert share_found(untrained, others, 5) <= 0.2
    # Again, from what was kept: nothing is trained.
    stages.clear()
    again = METHODS[name](other_words, quick, tmp_path, lambda stage, *_: stages.add(stage))
    assert not any(stage.startswith("Training") for stage in stages)
    assert first_ads(again) == first_ads(trained)


@pytest.mark.parametrize("name", ["dpr", "colbert", "rocketqa"])
def test_resumed_is_the_run_that_was_not_interrupted(name, bilingual, budget, tmp_path):
    budget = replace(budget, num_steps=20, checkpoint_steps=2)
    whole = METHODS[name](bilingual, budget, tmp_path / "whole", quiet)
    for stage in STAGES.get(name, ("Training",)):
        with pytest.raises(Interruption):
            METHODS[name](bilingual, budget, tmp_path / "resumed", stops_at(stage, 3))
    resumed = METHODS[name](bilingual, budget, tmp_path / "resumed", quiet)
    for (ads, scores), (other_ads, other_scores) in zip(resumed.rankings, whole.rankings, strict=True):
        assert ads == other_ads
        np.testing.assert_allclose(scores, other_scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_without_clicks_there_is_nothing_to_learn(name, bilingual, budget, tmp_path):
    with pytest.raises(InputError, match="there are no clicks"):
        METHODS[name](replace(bilingual, clicks=np.empty((0, 2), dtype=np.int64)), budget, tmp_path, quiet)


def test_base_class_takes_any_checkpoint(bilingual, quick, tmp_path):
    few = replace(quick, num_steps=2)
    own = dual_encoder(bilingual, few, tmp_path, quiet)
    other = bert_base(bilingual, replace(few, checkpoint="not there"), tmp_path, quiet, checkpoint=quick.checkpoint)
    assert first_ads(other) == first_ads(own)


def test_towers_part_from_the_same_start(bilingual, budget, tmp_path):
    dpr(bilingual, replace(budget, num_steps=2), tmp_path, quiet)
    (kept,) = tmp_path.glob("dpr-*/training.weights")
    weights = torch.load(kept, weights_only=True)["model"]
    start = load_tower(bilingual, budget).state_dict()
    name = "backbone.network.layers.0.qkv.weight"
    towers = [weights[f"{tower}.{name}"] for tower in ("query_tower", "ad_tower")]
    assert not torch.equal(*towers)
    for tower in towers:
        torch.testing.assert_close(tower, start[name], atol=0.1, rtol=0)


# Batches


def test_every_click_is_seen_once_an_epoch(bilingual, budget):
    clicks = Clicks(bilingual, replace(budget, batch_size=9))
    drawn = np.concatenate([clicks.drawn(step) for step in range(5)])
    assert len(drawn) == 45
    np.testing.assert_array_equal(np.unique(drawn, axis=0), clicks.pairs)
    assert not np.array_equal(clicks.drawn(0), clicks.drawn(5))


def test_known_answers_are_no_negatives(bilingual, budget):
    several = np.array([[0, 0], [0, 1], [1, 1], [2, 0], [2, 5]])
    task = replace(bilingual, clicks=several, irrelevant=np.array([[0, 1], [0, 7], [2, 9]]))
    clicks = Clicks(task, budget)
    batch = clicks.batch(0)
    known = {tuple(pair) for pair in several.tolist()}
    assert len(batch.query_rows) == 5
    assert batch.masked.any()
    for row, query in enumerate(batch.query_rows.tolist()):
        for column, ad in enumerate(batch.ad_rows.tolist()):
            assert batch.masked[row, column] == ((query, ad) in known and row != column)
    # One judged irrelevant for each query that has one; (0, 1) was clicked, whatever was judged.
    assert sorted(batch.ad_rows[5:].tolist()) == [7, 7, 9, 9]
    assert clicks.of(2).tolist() == [0, 5]
    assert not clicks.are(np.array([1]), np.array([-1])).any()


def test_the_loss_is_the_cross_entropy_of_what_is_visible():
    scores = torch.tensor([[2.0, 1.0, 0.5], [3.0, 0.0, -1.0]])
    masked = np.array([[False, True, False], [False, False, True]])
    expected = np.mean([-np.log(np.exp(2) / (np.exp(2) + np.exp(0.5))), -np.log(1 / (np.exp(3) + 1))])
    assert float(contrastive_loss(scores, masked)) == pytest.approx(expected, rel=1e-5)


# BM25


def test_the_lexical_negative_is_the_best_ad_that_was_not_clicked(bilingual, budget):
    clicks = Clicks(bilingual, budget)
    negatives = lexical_negatives(bilingual, clicks, quiet)
    wide = replace(budget, num_ads=bilingual.num_ads)
    ranked = bm25(replace(bilingual, test_queries=bilingual.queries), wide, None, quiet).rankings
    some = 0
    for query in range(len(bilingual.queries)):
        own = negatives.intention_ids[negatives.offsets[query] : negatives.offsets[query + 1]].tolist()
        others = [int(ad[2:]) for ad in ranked[query][0] if int(ad[2:]) not in clicks.of(query)]
        assert own == (others[:1] if len(clicks.of(query)) else [])
        some += len(own)
    assert some >= 40


@pytest.mark.usefixtures("full_precision")
def test_exact_search_is_by_cosine(bilingual, budget):
    tower = load_tower(bilingual, budget)
    model = DualEncoder(tower, tower, budget)
    answers = model.answer(bilingual, replace(budget, num_ads=7), quiet)
    with torch.inference_mode():
        ads = torch.cat([tower([text], 48) for text in bilingual.ad_texts])
        for query, (found, scores) in list(zip(bilingual.test_queries, answers.rankings, strict=True))[::10]:
            cosines = torch.nn.functional.cosine_similarity(tower([query], 32), ads).numpy()
            np.testing.assert_allclose(scores, np.sort(cosines)[::-1][:7], atol=1e-5)
            np.testing.assert_allclose([cosines[int(ad[2:])] for ad in found], scores, atol=1e-5)
