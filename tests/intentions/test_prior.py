"""The prior against sums over all intentions, and guided decoding against brute force and a plain beam search."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import InputError, SettingsError
from intently.intentions.decode import ConstrainedDecoder, Decoded, DecodeSettings, ScoreMode, backed_off
from intently.intentions.live import LiveTrie
from intently.intentions.prior import Guidance, LeafOrder, Near
from intently.intentions.trie import Trie
from tests.intentions.test_decode import (
    BACKBONES,
    END,
    Model,
    Reference,
    assert_scores,
    models,
    sequences_strategy,
    temperatures,
)

weights = st.floats(-8, 8)


@st.composite
def near_ones(draw, num_intentions: int) -> Near:
    ids = draw(st.lists(st.integers(0, num_intentions - 1), unique=True, max_size=num_intentions))
    return Near(np.array(ids, dtype=np.int64), np.array([draw(weights) for _ in ids], dtype=float), draw(weights))


def weight_of(near: Near, intention_id: int) -> float:
    found = dict(zip(near.intention_ids.tolist(), near.log_weights.tolist(), strict=True))
    return math.exp(found.get(intention_id, near.log_floor))


class GuidedReference(Reference):
    """Choices that a prior guides: each token's score plus β times the log of all weights below it."""

    def __init__(self, model, row, sequences, near: Near, beta: float, **chosen) -> None:
        super().__init__(model, row, sequences, ScoreMode.TRIE, **chosen)
        self._near, self._beta = near, beta

    def choices(self, prefix: tuple) -> dict[int, float]:
        plain = super().choices(prefix)
        mass = {token: sum(weight_of(self._near, i) for i in self.below((*prefix, token))) for token in plain}
        scores = {token: score + self._beta * math.log(mass[token]) for token, score in plain.items()}
        normalizer = math.log(sum(map(math.exp, scores.values()))) if scores else 0.0
        return {token: score - normalizer for token, score in scores.items()}


def guided(model: Model, trie: Trie, near: list[Near], **chosen) -> list[Decoded]:
    return ConstrainedDecoder(trie, model.output(), END).decode(model.prompt(), DecodeSettings(**chosen), near)


@settings(max_examples=60)
@given(st.data(), models(), sequences_strategy, temperatures, st.sampled_from([0.0, 0.4, 1.0, 3.0]))
def test_equals_brute_force_when_beams_cover_all(data, model, sequences, temperature, beta):
    near = [data.draw(near_ones(len(sequences))) for _ in model.texts]
    found = guided(
        model, Trie.build(sequences), near, num_beams=len(sequences), temperature=temperature, prior_weight=beta
    )
    for row, one in enumerate(found):
        expected = GuidedReference(model, row, sequences, near[row], beta, temperature=temperature).log_probs()
        assert len(one.intention_ids) == len(sequences)
        assert_scores(one, expected)
        assert np.exp(one.log_probs).sum() == pytest.approx(1.0, abs=1e-4)


@settings(max_examples=60)
@given(st.data(), models(), sequences_strategy, st.integers(1, 6), st.sampled_from([0.4, 1.0]))
def test_narrow_beams_are_those_of_a_plain_search(data, model, sequences, num_beams, beta):
    near = [data.draw(near_ones(len(sequences))) for _ in model.texts]
    found = guided(model, Trie.build(sequences), near, num_beams=num_beams, prior_weight=beta)
    for row, one in enumerate(found):
        expected, gap = GuidedReference(model, row, sequences, near[row], beta).beam_search(num_beams)
        if gap > 1e-4:  # within rounding either is right
            assert one.intention_ids.tolist() == [i for i, _ in expected]
            np.testing.assert_allclose(one.log_probs, [log_prob for _, log_prob in expected], atol=1e-4)
        (alone,) = guided(model.alone(row), Trie.build(sequences), [near[row]], num_beams=num_beams, prior_weight=beta)
        if gap > 1e-4:
            assert alone.intention_ids.tolist() == one.intention_ids.tolist()


@settings(max_examples=40)
@given(models(), sequences_strategy, st.integers(1, 8))
def test_weight_zero_is_the_model_alone(model, sequences, num_beams):
    trie = Trie.build(sequences)
    near = [Near(np.array([0]), np.array([5.0]), 0.0)] * len(model.texts)
    plain = ConstrainedDecoder(trie, model.output(), END).decode(model.prompt(), DecodeSettings(num_beams=num_beams))
    for one, other in zip(guided(model, trie, near, num_beams=num_beams, prior_weight=0.0), plain, strict=True):
        assert one.intention_ids.tolist() == other.intention_ids.tolist()
        np.testing.assert_array_equal(one.log_probs, other.log_probs)


class Silent:
    """An output layer to which all tokens are alike: the prior alone decides."""

    def __init__(self, output) -> None:
        self.num_tokens, self.log_normalizer = output.num_tokens, output.log_normalizer

    def pack(self, tokens):
        return tokens

    def score_packed(self, states, packed):
        return np.zeros((len(states), len(packed)))

    def score(self, states, starts, tokens):
        return np.zeros(len(tokens))


@settings(max_examples=60)
@given(st.data(), sequences_strategy)
def test_without_the_model_a_prior_is_the_softmax(data, sequences):
    model = Model(BACKBONES[0], ((4, 5),))
    near = data.draw(near_ones(len(sequences)))
    decoder = ConstrainedDecoder(Trie.build(sequences), Silent(model.output()), END)
    (found,) = decoder.decode(model.prompt(), DecodeSettings(num_beams=len(sequences)), [near])
    all_weights = np.array([weight_of(near, i) for i in range(len(sequences))])
    np.testing.assert_allclose(
        found.log_probs, np.log(all_weights / all_weights.sum())[found.intention_ids], rtol=1e-9, atol=1e-9
    )


@settings(max_examples=60)
@given(st.data(), sequences_strategy, sequences_strategy, models())
def test_a_new_intention_only_needs_a_weight(data, sequences, others, model):
    live = LiveTrie(Trie.build(sequences))
    new = [each for each in others if each not in sequences]
    ids = live.add(new).tolist()
    live.remove(sequences[:1]) if len(sequences) > 1 else None
    left = {i: each for i, each in enumerate(sequences) if i or len(sequences) == 1}
    left |= dict(zip(ids, new, strict=True))
    near = [data.draw(near_ones(len(sequences) + len(new))) for _ in model.texts]
    found = guided(model, live.trie, near, num_beams=len(left))
    anew = Trie.build([left[i] for i in sorted(left)])
    renumbered = {i: at for at, i in enumerate(sorted(left))}
    kept = [np.array([i in left for i in one.intention_ids.tolist()], dtype=bool) for one in near]
    translated = [
        Near(np.array([renumbered[i] for i in one.intention_ids[keep].tolist()], dtype=np.int64), one.log_weights[keep],
             one.log_floor)
        for one, keep in zip(near, kept, strict=True)
    ]  # fmt: skip
    for one, other in zip(found, guided(model, anew, translated, num_beams=len(left)), strict=True):
        by_id = dict(zip([renumbered[i] for i in one.intention_ids.tolist()], one.log_probs.tolist(), strict=True))
        assert by_id == pytest.approx(
            dict(zip(other.intention_ids.tolist(), other.log_probs.tolist(), strict=True)), abs=1e-9
        )


@settings(max_examples=60)
@given(st.data(), sequences_strategy)
def test_masses_are_sums_over_all_below(data, sequences):
    trie = Trie.build(sequences)
    near = [data.draw(near_ones(len(sequences))) for _ in range(3)]
    prior = LeafOrder(trie).prior(near)
    paths = {(): 0}
    for sequence in sequences:
        for at in range(len(sequence)):
            paths[sequence[: at + 1]] = int(trie.walk(np.array([sequence[: at + 1]]))[0, -1])
    for prompt in range(3):
        total = {path: sum(weight_of(near[prompt], i) for i, each in enumerate(sequences) if each[: len(path)] == path)
                 for path in paths}  # fmt: skip
        nodes = np.array(list(paths.values()))
        prompts = np.full(len(nodes), prompt)
        found = prior.log_masses(prompts, nodes, np.zeros(len(nodes), dtype=bool))
        highest = max([*near[prompt].log_weights.tolist(), near[prompt].log_floor])
        np.testing.assert_allclose(found + highest, np.log(list(total.values())), rtol=1e-9, atol=1e-9)
        ends = np.array([paths[each] for each in sequences])
        found = prior.log_masses(np.full(len(ends), prompt), ends, np.ones(len(ends), dtype=bool))
        expected = [math.log(weight_of(near[prompt], i)) for i in range(len(sequences))]
        np.testing.assert_allclose(found + highest, expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=60)
@given(st.data(), st.lists(st.floats(0.01, 1), min_size=0, max_size=6), st.integers(1, 12))
def test_backing_off_gives_away_what_is_left(data, probabilities, num_intentions):
    probabilities = np.array(probabilities[:num_intentions])
    probabilities = probabilities / max(probabilities.sum(), 1.0) * 0.9
    decoded = Decoded(np.arange(len(probabilities)), np.log(probabilities))
    near = data.draw(near_ones(num_intentions))
    found = backed_off(decoded, near)
    ids = found.intention_ids.tolist()
    assert ids[: len(probabilities)] == list(range(len(probabilities)))
    assert ids[len(probabilities) :] == [i for i in near.intention_ids.tolist() if i >= len(probabilities)]
    if len(ids) > len(probabilities):
        assert np.exp(found.log_probs).sum() == pytest.approx(1.0)
        shares = np.exp(found.log_probs[len(probabilities) :])
        others = np.array([weight_of(near, i) for i in ids[len(probabilities) :]])
        np.testing.assert_allclose(shares / shares.sum(), others / others.sum(), rtol=1e-9)
    np.testing.assert_array_equal(found.log_probs[: len(probabilities)], decoded.log_probs)


def test_a_prior_finds_what_narrow_beams_miss():
    """One beam follows the likeliest first token; a prior knows of the better intention behind another."""
    sequences = [(4, token) for token in range(5, 10)] + [(5, 4)]
    model = Model(BACKBONES[0], ((4, 5),))
    trie = Trie.build(sequences)
    for target in range(len(sequences)):
        near = Near(np.array([target]), np.array([30.0]), 0.0)
        (found,) = guided(model, trie, [near], num_beams=1)
        assert found.intention_ids.tolist() == [target]


@pytest.mark.parametrize(
    ("near", "message"),
    [
        ([], "there are 1 prompts, and near intentions of 0"),
        ([Near(np.array([0]), np.array([np.nan]), 0.0)], "the weights of intentions near prompt 0 are not finite"),
        ([Near(np.array([0]), np.array([np.inf]), 0.0)], "the weights of intentions near prompt 0 are not finite"),
        ([Near(np.array([0]), np.array([1.0]), np.nan)], "the weights of intentions near prompt 0 are not finite"),
    ],
)
def test_wrong_weights_are_refused(near, message):
    model = Model(BACKBONES[0], ((4, 5),))
    with pytest.raises(InputError, match=message):
        guided(model, Trie.build([(5, 6), (7,)]), near)


def test_full_mode_takes_no_prior():
    model = Model(BACKBONES[0], ((4, 5),))
    near = [Near(np.array([0]), np.array([1.0]), 0.0)]
    with pytest.raises(SettingsError, match="a prior guides mode 'trie' alone"):
        guided(model, Trie.build([(5, 6), (7,)]), near, mode=ScoreMode.FULL)


def test_ids_that_the_trie_lacks_are_passed_over():
    model, trie = Model(BACKBONES[0], ((4, 5),)), Trie.build([(5, 6), (7,)])
    near = Near(np.array([1]), np.array([2.0]), 0.0)
    more = replace(near, intention_ids=np.array([9, 1, -1]), log_weights=np.array([50.0, 2.0, 50.0]))
    one, other = (guided(model, trie, [each], num_beams=2)[0] for each in (near, more))
    np.testing.assert_array_equal(one.log_probs, other.log_probs)


@pytest.mark.parametrize("chosen", [(0.0, 1.0), (-1.0, 1.0), (0.1, 0.0), (math.nan, None)])
def test_wrong_temperatures_are_refused(chosen):
    with pytest.raises(SettingsError, match="temperature"):
        Guidance(*chosen)
