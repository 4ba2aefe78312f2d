"""Explicit negatives: at which ranks they stand, and that no likely answer is among them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.build.training import negatives
from intently.build.training.negatives import Asked, NegativeSampler, NegativeSettings, mixture
from intently.build.training.sources import BridgeData, Source
from intently.errors import SettingsError

NUM_ADS, NUM_QUERIES = 40, 12


def make(seed: int, chosen: NegativeSettings) -> tuple[BridgeData, NegativeSampler, Asked]:
    rng = np.random.default_rng(seed)
    # Two ads in three read as another does.
    texts = tuple(f"广告 {number}" for number in rng.integers(NUM_ADS // 2, size=NUM_ADS))
    query_rows, ad_rows = rng.integers(NUM_QUERIES, size=30), rng.integers(NUM_ADS, size=30)
    data = BridgeData(texts, (Source("clicks", tuple(f"q{row}" for row in query_rows), ad_rows),))
    sampler = NegativeSampler(data, chosen)
    ads, queries = (torch.from_numpy(rng.normal(size=(num, 4)).astype(np.float32)) for num in (NUM_ADS, 30))
    sampler.embeddings = torch.nn.functional.normalize(ads, dim=1)
    asked = Asked(data.pairs.query_rows, data.pairs.ad_rows, torch.nn.functional.normalize(queries, dim=1))
    return data, sampler, asked


def is_suspect(data: BridgeData, sampler: NegativeSampler, asked: Asked, row: int, ad: int, margin: float) -> bool:
    own, other = (float(asked.embeddings[row] @ sampler.embeddings[at]) for at in (int(asked.ad_rows[row]), ad))
    return bool(data.is_positive(asked.query_rows[row], np.array(ad))) or other > own + margin


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([-0.3, 0.05, 2.0]), st.sampled_from([2**24, 100]))
def test_ranks_are_those_of_a_full_sort_without_suspects(seed, margin, block):
    data, sampler, asked = make(seed, NegativeSettings(margin=margin))
    ranks = np.random.default_rng(seed).integers(-1, NUM_ADS + 5, size=(30, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(negatives, "_BLOCK", block)
        found = sampler._at_ranks(asked, ranks)
    suspects = sampler.suspects(asked, np.arange(NUM_ADS))
    for row in range(30):
        similarity = (sampler.embeddings @ asked.embeddings[row]).numpy()
        expected = [is_suspect(data, sampler, asked, row, ad, margin) for ad in range(NUM_ADS)]
        assert suspects[row].tolist() == expected
        left = [ad for ad in np.argsort(-similarity) if not expected[ad]]
        for rank, ad in zip(ranks[row].tolist(), found[row].tolist(), strict=True):
            assert ad == (-1 if rank < 0 or not left else left[min(rank, len(left) - 1)])


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_tiers_move_from_easy_to_hard(progress):
    chosen = NegativeSettings(
        num_per_query=4, mid_share=0.4, hard_share=0.6, hard_first=2, hard_last=4, mid_first=10, mid_last=14, margin=2.0
    )
    _, sampler, asked = make(5, chosen)
    counts = np.zeros(3)
    for seed in range(5):
        drawn = sampler.draw(asked, progress, np.random.default_rng(seed))
        assert drawn.shape == (30, 4)
        for row in range(30):
            every = sampler._at_ranks(asked, np.tile(np.arange(14), (30, 1)))[row].tolist()
            places = [every.index(ad) if ad in every else -1 for ad in drawn[row].tolist()]
            assert not sampler._data.is_positive(asked.query_rows[row], drawn[row][drawn[row] >= 0]).any()
            counts += [
                sum(p < 1 or 4 <= p < 9 for p in places),
                sum(p >= 9 for p in places),
                sum(1 <= p < 4 for p in places),
            ]
        if seed > 3:
            break
    shares = counts / counts.sum()
    if progress == 0:
        assert shares[0] > 0.6  # a random ad may be a hard one
    if progress == 1:
        assert shares == pytest.approx([0, 0.4, 0.6], abs=0.08)
    assert mixture(chosen, progress) == pytest.approx([1 - progress, 0.4 * progress, 0.6 * progress])


def test_one_query_gets_different_hard_negatives():
    chosen = NegativeSettings(num_per_query=4, mid_share=0, hard_share=1, hard_first=2, hard_last=5, margin=2.0)
    _, sampler, asked = make(2, chosen)
    for row in sampler.draw(asked, 1.0, np.random.default_rng(0)):
        assert len(set(row.tolist())) == 4


def test_by_default_a_negative_is_clearly_less_similar_than_the_positive():
    _, sampler, asked = make(4, NegativeSettings(num_per_query=4, mid_share=0, hard_share=1, hard_first=1))
    own = (asked.embeddings * sampler.embeddings[asked.ad_rows]).sum(dim=1)
    drawn = sampler.draw(asked, 1.0, np.random.default_rng(0))
    some = drawn >= 0
    cosines = (asked.embeddings @ sampler.embeddings.T).gather(1, torch.from_numpy(np.maximum(drawn, 0)))
    assert some.sum() > 50
    assert bool((cosines <= own[:, None] - 0.05 + 1e-6)[torch.from_numpy(some)].all())


def test_random_negatives_need_no_embeddings():
    data, sampler, asked = make(3, NegativeSettings(num_per_query=3, mid_share=0, hard_share=0))
    sampler.embeddings = None
    drawn = sampler.draw(asked, 1.0, np.random.default_rng(0))
    assert (drawn >= 0).mean() > 0.5
    known = data.is_positive(asked.query_rows[:, None], np.arange(NUM_ADS)[None, :])
    assert np.array_equal(sampler.suspects(asked, np.arange(NUM_ADS)), known)
    hard = NegativeSampler(data, NegativeSettings(num_per_query=1))
    with pytest.raises(RuntimeError, match="before the ads were embedded"):
        hard.draw(asked, 1.0, np.random.default_rng(0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"mid_share": 0.7, "hard_share": 0.5},
        {"mid_first": 20, "mid_last": 10},
        {"hard_first": 9, "hard_last": 3},
        {"margin": 3},
        {"num_per_query": 1.5},
    ],
    ids=str,
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        NegativeSettings(**wrong)
