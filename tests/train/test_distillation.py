"""Learning a teacher's ranking: over which ads, and that the loss is the divergence written out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import InputError
from intently.train.distillation import ask_teacher, divergence, find_candidates
from intently.train.sources import BridgeData, Source

ADS = ("red", "drill", "Drill", "灯", "pan")
AD_ROWS = np.array([3, 1, 3, 0, 2, 4])  # of three positives, one twice, and three explicit negatives
CANDIDATES = np.array([[True, True, False, True, False, True], [False, True] + [False] * 4, [True] * 6])


def test_no_candidate_is_labelled_but_the_positive():
    clicks = Source("clicks", ("lamp", "tool", "灯", "灯"), np.array([3, 1, 3, 4]))
    keywords = Source("keywords", ("lamp",), np.array([1]))
    irrelevant = Source("irrelevant", ("tool", "灯"), np.array([0, 2]))
    data = BridgeData(ADS, (clicks, keywords), irrelevant=irrelevant)
    found = find_candidates(data, np.array([0, 1, 2]), AD_ROWS)
    assert found.tolist() == [
        [True, False, False, True, False, True],  # the drills are known answers, and the other lamp is one as well
        [True, True, True, False, False, True],  # "red" is irrelevant, and the other drill reads the same
        [False, False, True, True, False, False],  # "Drill" is irrelevant, thus "drill" too; "pan" is an answer
    ]


@settings(deadline=None)
@given(st.integers(0, 100))
def test_divergence_equals_its_definition(seed):
    rng = np.random.default_rng(seed)
    taught = rng.normal(size=(3, 6))
    said = torch.tensor(rng.normal(size=(3, 6)), requires_grad=True)
    loss = divergence(torch.tensor(taught, dtype=torch.float32), said, CANDIDATES)
    expected = 0.0
    for row, real in enumerate(CANDIDATES):
        p, q = np.exp(taught[row][real]), np.exp(said[row].detach().numpy()[real])
        p, q = p / p.sum(), q / q.sum()
        expected += float((p * np.log(p / q)).sum()) / 3
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    loss.backward()
    assert said.grad is not None
    assert bool(torch.isfinite(said.grad).all())
    assert said.grad[1].abs().max() == 0  # one candidate alone teaches nothing
    assert said.grad[torch.from_numpy(~CANDIDATES)].abs().max() == 0


@pytest.mark.parametrize("scores", [np.zeros((3, 3)), np.full((3, 6), np.nan), np.full((3, 6), -np.inf)])
def test_a_teachers_nonsense_is_refused(scores):
    with pytest.raises(InputError, match="finite score for each candidate"):
        ask_teacher(lambda texts, rows: scores, ["a", "扫地", "c"], AD_ROWS)


def test_the_teacher_is_asked_about_the_batch():
    asked = []

    def teacher(texts, rows):
        asked.append((list(texts), rows.tolist()))
        return rows * 0.5

    assert ask_teacher(teacher, ["a", "扫地", "c"], AD_ROWS).tolist() == [(AD_ROWS * 0.5).tolist()] * 3
    assert asked == [(["a", "扫地", "c"], [AD_ROWS.tolist()] * 3)]
