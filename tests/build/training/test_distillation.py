"""Learning a teacher's ranking: what it proposes, what labels add, and that the loss is the divergence written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.build.training.distillation import DistillationSettings, add_labels, ask_teacher, divergence, propose
from intently.build.training.sources import BridgeData, Source
from intently.errors import InputError, SettingsError

TITLES = ("red", "drill", "Drill", "灯", "pan")
AD_ROWS = np.array([3, 1, 3, 0, 2, 4])  # of three positives, one twice, and three others
TEXTS = ["a", "扫地", "c"]


def proposed_by(scores, seed: int = 0, **chosen: int) -> np.ndarray:
    rows = np.array(scores, dtype=np.float32)
    return propose(rows, DistillationSettings(**chosen), np.random.default_rng(seed))


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(0, 4), st.integers(1, 12))
def test_what_is_proposed_is_among_the_first(seed, num_proposed, depth):
    scores = np.random.default_rng(seed).integers(-3, 4, size=(5, 9)).astype(np.float32)
    proposed = proposed_by(scores, seed, num_proposed=num_proposed, proposed_depth=depth)
    assert proposed.shape == (5, num_proposed)
    for own, rows in zip(scores.tolist(), proposed.tolist(), strict=True):
        first = sorted((row for row in range(9) if own[row] > 0), key=lambda row: (-own[row], row))[:depth]
        drawn = [row for row in rows if row >= 0]
        assert len(drawn) == len(set(drawn)) == min(num_proposed, len(first))
        assert set(drawn) <= set(first)
        assert rows[len(drawn) :] == [-1] * (num_proposed - len(drawn))


def test_all_of_the_first_are_proposed_in_turn_and_the_generator_decides():
    scores = [[0.5, 9.0, 0.0, 3.0, 2.0, -1.0, 4.0]] * 200
    proposed = proposed_by(scores, num_proposed=2, proposed_depth=4)
    assert np.bincount(proposed.ravel(), minlength=7) == pytest.approx(np.array([0, 100, 0, 100, 100, 0, 100]), abs=30)
    assert np.array_equal(proposed, proposed_by(scores, num_proposed=2, proposed_depth=4))
    assert not np.array_equal(proposed, proposed_by(scores, 1, num_proposed=2, proposed_depth=4))


def labelled() -> BridgeData:
    clicks = Source("clicks", ("lamp", "tool", "灯", "灯"), np.array([3, 1, 3, 4]))
    keywords = Source("keywords", ("lamp",), np.array([1]))
    irrelevant = Source("irrelevant", ("tool", "灯"), np.array([0, 2]))
    return BridgeData(tuple("abcde"), (clicks, keywords), irrelevant=irrelevant, titles=TITLES)


@pytest.mark.parametrize("bonuses", [(4.0, 1.0, 0.5), (0.0, 3.0, 0.0), (0.0, 0.0, 2.0)])
def test_labels_raise_answers_and_lower_what_was_judged_irrelevant(bonuses):
    scores = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    before = scores.copy()
    raised = add_labels(scores, labelled(), np.array([0, 1, 2]), AD_ROWS, np.array(bonuses))
    labels = [
        [1, 1, 1, 0, 1, 0],  # the lamp, and what a keyword says, and the other drill, which reads the same
        [0, 1, 0, -1, 1, 0],  # "red" is irrelevant
        [1, -1, 1, 0, -1, 1],  # "Drill" is irrelevant, thus "drill" too; "pan" is an answer
    ]
    for row, bonus in enumerate(bonuses):
        assert raised[row] == pytest.approx(before[row] + bonus * np.array(labels[row]))
        if bonus == 0:
            assert np.array_equal(raised[row], before[row])
    assert raised.dtype == np.float32
    assert np.array_equal(scores, before)


def test_ads_of_other_titles_are_other_answers():
    apart = replace(labelled(), titles=("red", "drill", "drills", "灯", "pan"))
    raised = add_labels(np.zeros((1, 6), dtype=np.float32), apart, np.array([1]), AD_ROWS, np.array([1.0]))
    assert raised.tolist() == [[0, 1, 0, -1, 0, 0]]


@settings(deadline=None)
@given(st.integers(0, 100), st.sampled_from([1.0, 30.0, 400.0]))
def test_divergence_equals_its_definition(seed, scale):
    rng = np.random.default_rng(seed)
    taught, said = scale * rng.normal(size=(3, 6)), torch.tensor(scale * rng.normal(size=(3, 6)), requires_grad=True)
    loss = divergence(torch.tensor(taught), said)
    expected = 0.0
    wrong = np.empty((3, 6))  # the gradient: what was said less what was taught
    for row in range(3):
        logs = []
        for scores in (taught[row], said[row].detach().numpy()):
            scores = scores - scores.max()
            logs.append(scores - np.log(np.exp(scores).sum()))
        expected += float((np.exp(logs[0]) * (logs[0] - logs[1])).sum()) / 3
        wrong[row] = (np.exp(logs[1]) - np.exp(logs[0])) / 3
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    loss.backward()
    assert said.grad is not None
    assert said.grad.numpy() == pytest.approx(wrong, abs=1e-5)


def test_who_says_what_was_taught_learns_nothing():
    taught = torch.tensor([[3.0, 1.0, -2.0], [0.0, 0.0, 5.0]])
    said = (taught + torch.tensor([[7.0], [-1.0]])).requires_grad_()  # the softmax ignores what is added to all
    loss = divergence(taught, said)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    loss.backward()
    assert said.grad is not None
    assert said.grad.abs().max() < 1e-6
    assert divergence(taught, said.flip(1)).item() > 1


@pytest.mark.parametrize(
    "scores",
    [np.zeros((3, 4)), np.zeros((2, 5)), np.zeros(5), np.full((3, 5), np.nan), np.full((3, 5), -np.inf)],
    ids=["too few ads", "too few queries", "flat", "nan", "infinite"],
)
def test_a_teachers_nonsense_is_refused(scores):
    with pytest.raises(InputError, match=r"for 3 queries and 5 ads.*finite score of each ad for each query"):
        ask_teacher(lambda texts: scores, TEXTS, 5)


def test_the_teacher_is_asked_about_the_texts():
    asked = []

    def teacher(texts):
        asked.append(list(texts))
        return np.arange(15).reshape(3, 5)

    scores = ask_teacher(teacher, TEXTS, 5)
    assert scores.tolist() == np.arange(15).reshape(3, 5).tolist()
    assert scores.dtype == np.float32
    assert asked == [TEXTS]


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight": -1},
        {"temperature": 0},
        {"cosine_weight": -0.1},
        {"label_bonus": float("nan")},
        {"num_proposed": 1.5},
        {"num_proposed": -1},
        {"proposed_depth": 0},
    ],
    ids=str,
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        DistillationSettings(**wrong)
