"""Learning a teacher's ranking: over which ads, and that the loss is the divergence written out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import InputError
from intently.train.distillation import ask_teacher, divergence, find_candidates

AD_ROWS = np.array([7, 3, 7, 5, 9])  # of three positives, one twice, and two explicit negatives
NEGATIVES = np.array([[9, 5, -1], [-1, -1, -1], [3, 9, 5]])


def test_candidates_are_a_querys_own():
    found = find_candidates(AD_ROWS, NEGATIVES, 3)
    assert found.columns[:, 0].tolist() == [0, 1, 2]
    assert found.real.tolist() == [[True, True, True, False], [True, False, False, False], [True] * 4]
    assert found.ad_rows.tolist() == [[7, 9, 5, 7], [3, 3, 3, 3], [7, 3, 9, 5]]
    assert AD_ROWS[found.columns].tolist() == found.ad_rows.tolist()


def test_without_negatives_the_batch_is_ranked():
    found = find_candidates(AD_ROWS, None, 3)
    assert found.columns.tolist() == [[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [2, 0, 1, 3, 4]]
    assert found.real.all()


@settings(deadline=None)
@given(st.integers(0, 100), st.booleans())
def test_divergence_equals_its_definition(seed, explicit):
    rng = np.random.default_rng(seed)
    candidates = find_candidates(AD_ROWS, NEGATIVES if explicit else None, 3)
    taught = rng.normal(size=candidates.columns.shape)
    said = torch.tensor(rng.normal(size=(3, 5)), requires_grad=True)
    loss = divergence(torch.tensor(taught, dtype=torch.float32), said, candidates)
    expected = 0.0
    for row in range(3):
        columns = candidates.columns[row][candidates.real[row]]
        p = np.exp(taught[row][candidates.real[row]])
        q = np.exp(said[row].detach().numpy()[columns])
        p, q = p / p.sum(), q / q.sum()
        expected += float((p * np.log(p / q)).sum()) / 3
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    loss.backward()
    assert said.grad is not None
    assert bool(torch.isfinite(said.grad).all())
    if explicit:
        assert said.grad[1].abs().max() == 0  # one candidate alone teaches nothing


@pytest.mark.parametrize("scores", [np.zeros((3, 3)), np.full((3, 4), np.nan), np.full((3, 4), -np.inf)])
def test_a_teachers_nonsense_is_refused(scores):
    candidates = find_candidates(AD_ROWS, NEGATIVES, 3)
    with pytest.raises(InputError, match="finite score for each candidate"):
        ask_teacher(lambda texts, rows: scores, ["a", "扫地", "c"], candidates)


def test_the_teacher_is_asked_about_the_candidates():
    asked = []

    def teacher(texts, rows):
        asked.append((list(texts), rows.tolist()))
        return rows * 0.5

    candidates = find_candidates(AD_ROWS, NEGATIVES, 3)
    assert ask_teacher(teacher, ["a", "扫地", "c"], candidates).tolist() == (candidates.ad_rows * 0.5).tolist()
    assert asked == [(["a", "扫地", "c"], candidates.ad_rows.tolist())]
