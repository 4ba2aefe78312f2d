"""A trace tells the search as it was, and does not change it."""

import numpy as np
import pytest

from intently.errors import InputError
from intently.intentions.decode import ConstrainedDecoder, DecodeSettings, ScoreMode
from intently.intentions.prior import Near
from intently.intentions.trace import NUM_CUT, Trace
from intently.intentions.trie import Trie
from tests.intentions.test_decode import BACKBONES, END, Model

RNG = np.random.default_rng(5)
SEQUENCES = sorted({tuple(RNG.integers(4, 12, RNG.integers(1, 5)).tolist()) for _ in range(60)})
TRIE = Trie.build(SEQUENCES)
NEAR = Near(np.arange(12), np.linspace(3.0, 0.0, 12), -1.0)


def decoded(backbone: int, near: Near | None, trace: Trace | None, **settings):
    model = Model(BACKBONES[backbone], ((5, 9, 7),))
    decoder = ConstrainedDecoder(TRIE, model.output(), END)
    [found] = decoder.decode(model.prompt(), DecodeSettings(**settings), [near] if near else None, trace=trace)
    return found


CASES = [
    (None, {"mode": ScoreMode.FULL}),
    (None, {}),
    (None, {"truncation": 1.0}),
    (NEAR, {"prior_weight": 0.7}),
    (None, {"max_new_tokens": 2}),
]


@pytest.mark.parametrize("backbone", range(4))
@pytest.mark.parametrize(("near", "settings"), CASES)
def test_a_trace_changes_nothing_and_ends_in_the_result(backbone, near, settings):
    trace = Trace()
    found = decoded(backbone, near, trace, num_beams=4, **settings)
    expected = decoded(backbone, near, None, num_beams=4, **settings)
    assert found.intention_ids.tolist() == expected.intention_ids.tolist()
    assert found.log_probs.tolist() == expected.log_probs.tolist()
    kept = {
        (choice.intention_id, choice.log_prob)
        for step in trace.steps
        for choice in step
        if choice.is_kept and choice.intention_id is not None
    }
    assert set(zip(found.intention_ids.tolist(), found.log_probs.tolist(), strict=True)) <= kept


@pytest.mark.parametrize("backbone", range(4))
@pytest.mark.parametrize("near", [None, NEAR])
def test_shares_multiply_to_the_probability(backbone, near):
    trace = Trace()
    decoded(backbone, near, trace, num_beams=5, prior_weight=0.7)
    probability = {TRIE.root: 1.0}
    hidden = {cut.parent: cut for cut in trace.cuts}
    for step in trace.steps:
        for parent in {choice.parent for choice in step}:
            choices = [choice for choice in step if choice.parent == parent]
            num_allowed = int(TRIE.num_children[parent]) + int(TRIE.intention_ids[parent] >= 0)
            cut = hidden.get(parent)
            assert len(choices) + (cut.num_choices if cut else 0) == num_allowed
            assert sum(not choice.is_kept for choice in choices) <= NUM_CUT
            total = sum(choice.probability for choice in choices) + (cut.probability if cut else 0.0)
            assert total == pytest.approx(probability[parent])
            for choice in choices:
                if near is None:
                    assert choice.prior_share is None
                    assert choice.probability == pytest.approx(probability[parent] * choice.model_share)
                if choice.is_kept and not choice.is_end:
                    probability[choice.node] = choice.probability
            if near is not None and cut is None:
                together = [choice.model_share * choice.prior_share**0.7 for choice in choices]
                for choice, one in zip(choices, together, strict=True):
                    assert choice.probability == pytest.approx(probability[parent] * one / sum(together))
            if near is not None:
                mass = {choice.node: _mass(choice.node, choice.is_end) for choice in choices}
                whole = _mass(parent, False)
                for choice in choices:
                    assert choice.prior_share == pytest.approx(mass[choice.node] / whole)


def _mass(node: int, only_here: bool) -> float:
    """Return what the prior weighs at and below a node, intention by intention."""
    weights = dict(zip(NEAR.intention_ids.tolist(), np.exp(NEAR.log_weights).tolist(), strict=True))
    here = int(TRIE.intention_ids[node])
    total = weights.get(here, float(np.exp(NEAR.log_floor))) if here >= 0 else 0.0
    if not only_here:
        for child in TRIE.children(np.array([node]))[0].tolist():
            total += _mass(child, False)
    return total


def test_one_prompt_is_traced_at_a_time():
    model = Model(BACKBONES[0], ((5, 9), (7, 8)))
    decoder = ConstrainedDecoder(TRIE, model.output(), END)
    with pytest.raises(InputError, match="trace one prompt at a time"):
        decoder.decode(model.prompt(), DecodeSettings(), trace=Trace())


def test_an_empty_trie_leaves_no_step():
    model = Model(BACKBONES[0], ((5, 9),))
    trace = Trace()
    empty = Trie.from_items(np.empty(0, dtype=np.int64), np.empty((0, 1), dtype=np.int64))
    [found] = ConstrainedDecoder(empty, model.output(), END).decode(model.prompt(), DecodeSettings(), trace=trace)
    assert (len(found.intention_ids), trace.steps) == (0, [])
