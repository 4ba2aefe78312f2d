"""Cross-batch and denoised negatives: what counts as one, what the cross-encoder reads, and what it takes out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from intently.errors import InputError, SettingsError
from intently.lab.baselines.contrastive import TEMPERATURE, Clicks, fit
from intently.lab.baselines.dual_encoder import DualEncoder
from intently.lab.baselines.rocketqa import (
    CrossEncoder,
    RocketSettings,
    click_probabilities,
    cross_batch_loss,
    retrieve_negatives,
    rocketqa,
)
from intently.lab.baselines.tower import load_tower
from tests.lab.baselines.conftest import quiet

pytestmark = pytest.mark.usefixtures("full_precision")


@pytest.mark.parametrize("num_batches", [0, 1, 3])
def test_ads_of_earlier_batches_are_negatives_unless_clicked(num_batches, bilingual, budget):
    several = np.concatenate((bilingual.clicks, np.stack((np.arange(40), np.arange(40) + 20), axis=1)))
    clicks = Clicks(replace(bilingual, clicks=several), replace(budget, batch_size=10))
    tower = load_tower(bilingual, budget)
    model = DualEncoder(tower, tower, budget)
    num_left_out = 0
    for step in (0, 1, 7):
        batch = clicks.batch(step)
        loss = cross_batch_loss(model, bilingual, clicks, step, num_batches)
        before = {ad for one in range(max(0, step - num_batches), step) for ad in clicks.drawn(one)[:, 1].tolist()}
        candidates = [*batch.ad_rows.tolist(), *sorted(before - set(batch.ad_rows.tolist()))]
        assert (len(candidates) > len(batch.ad_rows)) == (num_batches > 0 and step > 0)
        with torch.no_grad():
            scores = model.queries(bilingual, batch.query_rows) @ model.ads(bilingual, candidates).T / TEMPERATURE
        expected = []
        for row, query in enumerate(batch.query_rows.tolist()):
            own = set(clicks.of(query).tolist())
            seen = [column for column, ad in enumerate(candidates) if column == row or ad not in own]
            num_left_out += sum(ad in own for ad in candidates[len(batch.ad_rows) :])
            expected.append(float(torch.logsumexp(scores[row, seen], 0) - scores[row, row]))
        assert loss.item() == pytest.approx(np.mean(expected), rel=1e-4)
        loss.backward()
    assert (num_left_out > 0) == (num_batches > 0)
    assert tower.backbone.network.layers[0].qkv.weight.grad.abs().sum() > 0


def test_negatives_are_the_nearest_that_were_not_clicked(bilingual, budget):
    clicks, tower = Clicks(bilingual, budget), load_tower(bilingual, budget)
    model = DualEncoder(tower, tower, budget)
    rows = np.array([0, 5, 41])
    pairs = retrieve_negatives(bilingual, clicks, model, rows, 4, quiet)
    answers = model.answer(replace(bilingual, test_queries=bilingual.queries), budget, quiet)
    for row in rows.tolist():
        ranked = [int(ad[2:]) for ad in answers.rankings[row][0]]
        expected = [ad for ad in ranked if ad not in clicks.of(row)][:4]
        assert pairs[pairs[:, 0] == row, 1].tolist() == expected


def test_the_cross_encoder_reads_query_and_ad_together(bilingual, budget):
    model = CrossEncoder(load_tower(bilingual, budget), budget)
    with torch.no_grad():
        assert model(bilingual, np.array([0, 1]), np.array([3, 4])).tolist() == [0.0, 0.0]
        torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
        together = model(bilingual, np.array([0, 45, 2]), np.array([3, 50, 4]))
        tokenizer = model.tower.tokenizer
        for row, (query, ad) in enumerate(((0, 3), (45, 50), (2, 4))):
            texts = tokenizer.encode_bare((bilingual.queries[query], bilingual.ad_texts[ad]))
            ids = [tokenizer.cls_id, *texts[0], tokenizer.sep_id, *texts[1], tokenizer.sep_id]
            states, _ = model.tower.read(np.array([ids]), np.array([len(ids)]))
            torch.testing.assert_close(model.head(states[:, 0])[0, 0], together[row], atol=1e-4, rtol=1e-4)


def test_the_cross_encoder_finds_answers_among_the_negatives(bilingual, budget, tmp_path):
    """Clicks that were left out of the log come back as candidates; the cross-encoder knows them for what they are."""
    budget = replace(budget, num_steps=250, learning_rate=3e-3)
    clicks, model = Clicks(bilingual, budget), CrossEncoder(load_tower(bilingual, budget), budget)

    def loss_of(step):
        drawn, rng = clicks.drawn(step), np.random.default_rng(step)
        other = (drawn[:, 0] + rng.integers(1, bilingual.num_ads, size=len(drawn))) % bilingual.num_ads
        return model.loss(bilingual, drawn, np.stack((drawn[:, 0], other), axis=1))

    fit(model, loss_of, budget.num_steps, budget, tmp_path / "cross", quiet)
    left_out = np.arange(3, bilingual.num_ads, 4)
    true = click_probabilities(bilingual, model, np.stack((left_out, left_out), axis=1), quiet)
    false = click_probabilities(
        bilingual, model, np.stack((left_out, (left_out + 11) % bilingual.num_ads), axis=1), quiet
    )
    assert np.mean(true > 0.5) >= 0.5
    assert np.mean(false > 0.5) <= 0.2


@pytest.mark.parametrize(("limit", "kept"), [(0.0, "none"), (1.0, "all")])
def test_candidates_that_look_clicked_are_removed(limit, kept, bilingual, budget, tmp_path):
    settings = RocketSettings(num_candidates=3, max_probability=limit)
    rocketqa(bilingual, replace(budget, num_steps=10), tmp_path, quiet, settings)
    (place,) = tmp_path.glob("rocketqa-*")
    candidates, negatives = np.load(place / "candidates.npy"), np.load(place / "negatives.npy")
    assert len(candidates) > 100
    assert len(negatives) == (0 if kept == "none" else len(candidates))


def test_steps_are_split_and_none_is_lost():
    assert RocketSettings().steps(900) == (360, 180, 360)
    for number in (3, 4, 5, 7, 10, 99):
        for settings in (RocketSettings(), RocketSettings(0.0, 0.0), RocketSettings(1.0, 1.0)):
            assert sum(settings.steps(number)) == number
            assert min(settings.steps(number)) >= 1
    with pytest.raises(InputError, match="2 steps"):
        RocketSettings().steps(2)
    with pytest.raises(SettingsError, match="'cross_share' is"):
        RocketSettings(cross_share=1.5)
