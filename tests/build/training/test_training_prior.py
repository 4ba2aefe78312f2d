"""The prior of training: that of decoding, from embeddings that are renewed."""

import numpy as np
import pytest
import torch

from intently.build.training.prior import TrainingPrior
from intently.build.training.student import IntentionLoss, read_sources
from intently.index.near import NearIntentions, spread
from intently.intentions.prior import Guidance, LeafOrder
from intently.intentions.trie import Trie

SEQUENCES = [(5,), (5, 6), (5, 6, 7), (6,), (6, 5), (7, 4), (8, 4, 9), (9,)]


def nothing(done: int, total: int) -> None:
    pass


def unit(*shape: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("num_near", [3, len(SEQUENCES), 200])
def test_it_is_the_prior_of_decoding(num_near):
    trie, intentions, texts = Trie.build(SEQUENCES), unit(len(SEQUENCES), 16, seed=0), unit(4, 16, seed=1)
    prior = TrainingPrior(trie, lambda _: intentions, 0.6, num_near)
    prior.renew(torch.device("cpu"), nothing)
    found = prior.of(torch.from_numpy(texts))
    near = NearIntentions.build(intentions, Guidance(0.6 * spread(intentions), None))
    temperature = near.guidance.prior_temperature
    expected = LeafOrder(trie).prior([near.of(text, num_near, temperature) for text in texts])
    np.testing.assert_array_equal(found.keys, expected.keys)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-4)
    np.testing.assert_allclose(found.floors, expected.floors, rtol=1e-4)


def test_renewing_sees_what_the_student_has_become():
    trie, now = Trie.build(SEQUENCES), [unit(len(SEQUENCES), 16, seed=0)]
    prior = TrainingPrior(trie, lambda _: now[0], 0.6, 3)
    text = torch.from_numpy(unit(1, 16, seed=1))
    prior.renew(torch.device("cpu"), nothing)
    before = prior.of(text)
    now[0] = unit(len(SEQUENCES), 16, seed=2)
    np.testing.assert_array_equal(prior.of(text).weights, before.weights)
    prior.renew(torch.device("cpu"), nothing)
    assert not np.array_equal(prior.of(text).weights, before.weights)


def test_what_is_near_already_need_not_be_said(make_student):
    """A text whose own embedding is that of its intention has little to learn, and no gradient through the prior."""
    student = make_student(0)
    texts = ["red", "robot vacuum", "drill bit", "kettle"]
    token_ids = student.tokenizer.encode_bare(texts)
    trie = Trie.build(token_ids)
    loss = IntentionLoss(trie, token_ids, student.tokenizer.sep_id)
    tokens = student.tokenizer.encode(texts, 16)

    def of(targets: list[int], prior: TrainingPrior | None) -> float:
        return read_sources(student.backbone, *tokens, np.array(targets), loss, prior=prior)[1].item()

    prior = TrainingPrior(trie, lambda _: student.embed(texts, 16), 0.1, 4)
    prior.renew(torch.device("cpu"), nothing)
    assert of([0, 1, 2, 3], prior) < 0.5 * of([0, 1, 2, 3], None)
    assert of([1, 2, 3, 0], prior) > of([1, 2, 3, 0], None)
