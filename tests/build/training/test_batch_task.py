"""What a batch is to learn, against plain sums over the pairs that meet."""

import numpy as np
import pytest
import torch

from intently.build.training.batch_task import BatchTask

B, M, K, TEMPERATURE = 4, 7, 3, 0.2


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def scores() -> torch.Tensor:
    return drawn(0, B, M)


@pytest.fixture
def masked() -> torch.Tensor:
    """Some ads, but no answer."""
    masked = drawn(1, B, M) > 0.4
    masked[range(B), range(B)] = False
    assert 3 < masked.sum() < 20
    return masked


def task(masked: torch.Tensor, contrasted=(True,) * B, taught: torch.Tensor | None = None) -> BatchTask:
    return BatchTask(masked, torch.tensor(contrasted), taught, TEMPERATURE)


def loss_of(logits: list[float], answer: float) -> float:
    """Return −log of the answer's share in a softmax over it and the others."""
    return float(np.log(sum(np.exp(one) for one in (*logits, answer))) - answer)


def slow_contrastive(scores, masked, contrasted, queued=None) -> float:
    forth, back = [], []
    for row in range(B):
        if not contrasted[row]:
            continue
        answer = float(scores[row, row]) / TEMPERATURE
        ads = [float(scores[row, ad]) / TEMPERATURE for ad in range(M) if ad != row and not masked[row, ad]]
        before = [] if queued is None else [float(one) for one in queued[row] if one > -np.inf]
        forth.append(loss_of([*ads, *before], answer))
        others = [float(scores[at, row]) / TEMPERATURE for at in range(B) if at != row and not masked[at, row]]
        back.append(loss_of(others, answer))
    return float(np.mean(forth) + np.mean(back))


@pytest.mark.parametrize("contrasted", [(True,) * B, (True, False, True, False), (False, False, False, True)])
@pytest.mark.parametrize("with_queue", [True, False])
def test_contrast_is_the_sum_of_two_softmaxes(scores, masked, contrasted, with_queue):
    queued = drawn(2, B, K) / TEMPERATURE if with_queue else None
    if queued is not None:
        queued[1, 0] = queued[2, 1] = -torch.inf  # known answers among the batches before
    losses = task(masked, contrasted).losses(scores, queued)
    assert set(losses) == {"contrastive"}
    assert float(losses["contrastive"]) == pytest.approx(slow_contrastive(scores, masked, contrasted, queued), rel=1e-5)


def test_an_empty_queue_is_none(scores, masked):
    one = task(masked)
    assert torch.equal(
        one.losses(scores, torch.empty((B, 0)))["contrastive"], one.losses(scores)["contrastive"]
    )  # as in the first step


def test_masked_ads_teach_no_contrast(scores, masked):
    raised = torch.where(masked, scores + 9, scores)
    assert torch.equal(task(masked).losses(raised)["contrastive"], task(masked).losses(scores)["contrastive"])
    one = scores.clone().requires_grad_()
    task(masked).losses(one)["contrastive"].backward()
    assert not one.grad[masked].any()
    assert (one.grad.diagonal() < 0).all()  # answers are to rise
    others = ~masked
    others[range(B), range(B)] = False
    assert (one.grad[others] > 0).all()


@pytest.mark.parametrize("contrasted", [(True,) * B, (False, True, False, False)])
def test_the_teachers_ranking_is_learnt_of_all_ads_and_queries(scores, masked, contrasted):
    taught = drawn(3, B, M) * 3
    losses = task(masked, contrasted, taught).losses(scores)
    assert set(losses) == {"contrastive", "distillation"}
    expected = 0.0
    for row in range(B):
        told, said = (np.exp(each.double().numpy()) for each in (taught[row], scores[row] / TEMPERATURE))
        told, said = told / told.sum(), said / said.sum()
        expected += float((told * np.log(told / said)).sum()) / B
    assert float(losses["distillation"]) == pytest.approx(expected, rel=1e-4)  # masked ones too
    assert task(masked, contrasted, taught).losses(taught * TEMPERATURE)["distillation"] == pytest.approx(0, abs=1e-5)


def test_the_queue_is_no_matter_for_the_teacher(scores, masked):
    one, queued = task(masked, taught=drawn(3, B, M)), drawn(2, B, K)
    assert torch.equal(one.losses(scores, queued)["distillation"], one.losses(scores)["distillation"])


def test_without_contrast_only_the_teacher_is_left(scores, masked):
    nobody = (False,) * B
    assert set(task(masked, nobody, drawn(3, B, M)).losses(scores, drawn(2, B, K))) == {"distillation"}
    assert task(masked, nobody).losses(scores) == {}


def test_accuracy_is_the_share_of_answers_that_come_first():
    scores = torch.tensor([[0.9, 0.1, 0.3], [0.8, 0.2, 0.1]])
    allowed, hidden = torch.zeros((2, 3), dtype=torch.bool), torch.tensor([[False] * 3, [True, False, False]])
    both = torch.tensor([True, True])
    assert BatchTask(allowed, both, None, 0.05).accuracy(scores) == 0.5
    assert BatchTask(hidden, both, None, 0.05).accuracy(scores) == 1.0  # what beats the second answer is no negative
    assert BatchTask(hidden, ~both, None, 0.05).accuracy(scores) == 1.0  # whether it is contrasted or not
