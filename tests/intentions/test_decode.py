"""The decoder against brute force (every intention scored on its own) and against a plain beam search."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from intently.errors import InputError, SettingsError
from intently.intentions.decode import ConstrainedDecoder, Decoded, DecodeSettings, ScoreMode
from intently.intentions.live import LiveTrie
from intently.intentions.trie import Trie, as_padded
from intently.models.backbone import Backbone
from intently.models.output import OutputRows
from intently.models.student import StudentPrompt, read_tokens
from intently.models.torch_network import TorchNetwork
from intently.models.weights import BackboneConfig

END = 3
VOCAB = 24
FULL, TRIE = ScoreMode.FULL, ScoreMode.TRIE
modes = st.sampled_from(ScoreMode)


def make_backbone(seed: int) -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = Backbone(BackboneConfig(VOCAB, 16, 2, 2, 32, 40)).eval()
        with torch.no_grad():
            backbone.word_embeddings.weight.mul_(1.5)
            torch.nn.init.normal_(backbone.head_bias)
    return backbone


BACKBONES = [make_backbone(seed) for seed in range(4)]


@dataclass(frozen=True)
class Model:
    """A random backbone and a batch of texts it has to read."""

    backbone: Backbone
    texts: tuple[tuple[int, ...], ...]

    def prompt(self) -> StudentPrompt:
        lengths = np.array([len(text) for text in self.texts])
        ids = np.zeros((len(self.texts), int(lengths.max())), dtype=np.int64)
        for row, text in enumerate(self.texts):
            ids[row, : len(text)] = text
        return read_tokens(TorchNetwork(self.backbone), ids, lengths).prompt

    def output(self) -> OutputRows:
        return OutputRows(self.backbone.word_embeddings.weight, self.backbone.head_bias)

    def decode(self, trie: Trie, values=None, **chosen) -> list[Decoded]:
        return ConstrainedDecoder(trie, self.output(), END, values).decode(self.prompt(), DecodeSettings(**chosen))

    def alone(self, row: int) -> "Model":
        return replace(self, texts=(self.texts[row],))


@st.composite
def models(draw, max_batch: int = 3) -> Model:
    text = st.lists(st.integers(4, VOCAB - 1), min_size=2, max_size=6).map(tuple)
    texts = draw(st.lists(text, min_size=1, max_size=max_batch).map(tuple))
    return Model(draw(st.sampled_from(BACKBONES)), texts)


class Reference:
    """One text's choices as the backbone's causal pass over whole prefixes gives them; nothing is shared or batched."""

    def __init__(self, model: Model, row: int, sequences, mode, temperature=1.0, longest=math.inf) -> None:
        self.sequences = {each: i for i, each in enumerate(sequences)}
        self.candidates = {each: i for each, i in self.sequences.items() if len(each) <= longest}
        self.mode, self.temperature = mode, temperature
        self._backbone = model.backbone
        with torch.inference_mode():
            self._length = torch.tensor([len(model.texts[row])])
            states, self._source = self._backbone.encode(torch.tensor([model.texts[row]]), self._length)
            self._first = self._backbone.last_state(states, self._length)
        self._choices: dict[tuple, dict[int, float]] = {}

    def choices(self, prefix: tuple) -> dict[int, float]:
        """Return the log-probability of each token that may follow, `END` where an intention is complete."""
        if prefix not in self._choices:
            allowed = {
                each[len(prefix)] for each in self.candidates if each[: len(prefix)] == prefix and each != prefix
            }
            allowed |= {END} if prefix in self.candidates else set()
            with torch.inference_mode():
                state = self._first
                if prefix:
                    state = self._backbone.decode_all(self._source, self._length, torch.tensor([prefix]))[0, -1:]
                weight, bias = self._backbone.word_embeddings.weight, self._backbone.head_bias
                scores = (self._backbone.head(state) @ weight.T + bias)[0].double().numpy() / self.temperature
            over = scores if self.mode is FULL else scores[sorted(allowed)]
            normalizer = math.log(np.exp(over).sum()) if allowed else 0.0
            self._choices[prefix] = {token: float(scores[token]) - normalizer for token in sorted(allowed)}
        return self._choices[prefix]

    def log_probs(self, truncation: float = math.inf) -> dict[int, float]:
        """Return each candidate's log-probability, of those that `truncation` leaves."""
        found = {}
        for sequence, i in self.candidates.items():
            total = 0.0
            for at, token in enumerate([*sequence, END]):
                choices = self.choices(sequence[:at])
                kept = choices[token] >= max(choices.values()) - truncation
                total += choices[token] if kept else -math.inf
            if total > -math.inf:
                found[i] = total
        return found

    def gap(self, truncation: float) -> float:
        """Return how near any choice is to the threshold: within rounding, either outcome is right."""
        found = [
            abs(max(choices.values()) - truncation - each)
            for sequence in self.candidates
            for at in range(len(sequence) + 1)
            for choices in [self.choices(sequence[:at])]
            for each in choices.values()
        ]
        return min(found, default=math.inf)

    def beam_search(self, num_beams: int, values=None, weight: float = 0.0) -> tuple[list[tuple[int, float]], float]:
        """Search with narrow beams; a prefix is ranked by its log-probability and the highest value below it.

        In full mode as Hugging Face does with `length_penalty` 0 and `early_stopping` "never"; in trie mode finished
        and partial intentions share the `num_beams` places, and what leads to one intention only is finished. Returns
        (intention, log-probability) best first, and the smallest gap between what any cut kept and dropped.
        """
        gap = math.inf

        def rank(path):
            return weight * max(math.log(values[i]) for i in self.below(path)) if weight else 0.0

        def cut(entries, size):
            nonlocal gap
            entries = sorted(entries, reverse=True)
            if len(entries) > size:
                gap = min(gap, entries[size - 1][0] - entries[size][0])
            return entries[:size]

        running, finished = [(0.0, 0.0, ())], []
        while running:
            options = [
                (log_prob + choice + rank((*prefix, token)), log_prob + choice, (*prefix, token))
                for _, log_prob, prefix in running
                for token, choice in self.choices(prefix).items()
            ]
            if self.mode is TRIE:
                best = cut(finished + options, num_beams)
                running = [each for each in best if len(self.below(each[2])) > 1]
                finished = [each for each in best if each not in running]
                continue
            best = cut(options, 2 * num_beams)
            finished = cut(finished + [each for each in cut(best, num_beams) if each[2][-1] == END], num_beams)
            running = cut([each for each in best if each[2][-1] != END], num_beams)
            if running and len(finished) == num_beams:
                gap = min(gap, abs(running[0][0] - finished[-1][0]))
                if running[0][0] <= finished[-1][0]:
                    break
        gap = min([gap, *(one[0] - other[0] for one, other in pairwise(finished))])  # between neighbours, too
        return [(self.below(path)[0], log_prob) for _, log_prob, path in finished], gap

    def below(self, path: tuple) -> list[int]:
        """Return the intentions that a path, its end included, may lead to."""
        return [i for each, i in self.sequences.items() if (*each, END)[: len(path)] == path]


def assert_scores(found: Decoded, expected: dict[int, float], values=None, weight: float = 0.0) -> None:
    """Hold one result against all intentions' scores: right scores, none twice, and none better left out."""
    ids = found.intention_ids.tolist()
    assert len(set(ids)) == len(ids)
    np.testing.assert_allclose(found.log_probs, [expected[i] for i in ids], atol=1e-4)
    bonus = np.zeros(1000) if values is None else weight * np.log(values)
    ranked = found.log_probs + bonus[found.intention_ids]
    assert (np.diff(ranked) <= 1e-12).all()
    left = [log_prob + bonus[i] for i, log_prob in expected.items() if i not in ids]
    if left and ids:
        assert max(left) <= ranked[-1] + 1e-4


sequences_strategy = st.lists(
    st.lists(st.integers(4, 9), min_size=1, max_size=4).map(tuple), min_size=1, max_size=25, unique=True
)
temperatures = st.sampled_from([0.2, 0.7, 2.5])  # the first makes the model sure of itself
longest_strategy = st.none() | st.integers(1, 5)
PREFIXES = [(5, 6, 7), (5,), (5, 6), (5, 6, 7, 8)]


@settings(max_examples=45, deadline=None)
@given(models(), sequences_strategy, modes, temperatures, longest_strategy)
@example(Model(BACKBONES[0], ((4, 5), (9, 8, 7))), [(5, 6, 7)], TRIE, 1.0, None)  # one entry
@example(Model(BACKBONES[0], ((4, 5), (9, 8, 7))), [(5, 6, 7)], FULL, 1.0, None)
@example(Model(BACKBONES[1], ((4, 5), (9, 8, 7))), PREFIXES, TRIE, 1.0, 3)
@example(Model(BACKBONES[1], ((4, 5), (9, 8, 7))), PREFIXES, FULL, 0.7, 2)
@example(Model(BACKBONES[1], ((4, 5), (9, 8, 7))), [(5, 6), (5, 6, 7)], TRIE, 1.0, 1)  # nothing is so short
@example(Model(BACKBONES[1], ((4, 5), (9, 8, 7))), [(5, 6), (5, 6, 7)], FULL, 1.0, 1)
def test_equals_brute_force_when_beams_cover_all(model, sequences, mode, temperature, longest):
    chosen = {"num_beams": len(sequences) + 3, "mode": mode, "temperature": temperature, "max_new_tokens": longest}
    decoded = model.decode(Trie.build(sequences), **chosen)
    assert len(decoded) == len(model.texts)
    for row, found in enumerate(decoded):
        expected = Reference(model, row, sequences, mode, temperature, longest or math.inf).log_probs()
        assert set(found.intention_ids.tolist()) == set(expected)
        assert_scores(found, expected)
        if expected:
            total = np.exp(found.log_probs).sum()
            assert total == pytest.approx(1.0, abs=1e-4) if mode is TRIE else total < 1.0 + 1e-6


@settings(max_examples=30, deadline=None)
@given(models(), sequences_strategy, modes, st.integers(1, 6), longest_strategy)
def test_narrow_beams_are_valid_and_batching_changes_nothing(model, sequences, mode, num_beams, longest):
    chosen = {"num_beams": num_beams, "mode": mode, "max_new_tokens": longest}
    for row, found in enumerate(model.decode(Trie.build(sequences), **chosen)):
        expected = Reference(model, row, sequences, mode, longest=longest or math.inf).log_probs()
        ids = found.intention_ids.tolist()
        assert min(1, len(expected)) <= len(ids) <= min(num_beams, len(expected))
        assert len(set(ids)) == len(ids)
        np.testing.assert_allclose(found.log_probs, [expected[i] for i in ids], atol=1e-4)
        assert (np.diff(found.log_probs) <= 0).all()
        (alone,) = model.alone(row).decode(Trie.build(sequences), **chosen)
        np.testing.assert_array_equal(alone.intention_ids, found.intention_ids)
        np.testing.assert_allclose(alone.log_probs, found.log_probs, atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(
    models(2),
    sequences_strategy,
    modes,
    st.integers(1, 6),
    temperatures,
    longest_strategy,
    st.sampled_from([0.0, 0.0, 0.7]),
)
@example(Model(BACKBONES[2], ((4, 5),)), PREFIXES, FULL, 2, 1.0, None, 0.0)
@example(Model(BACKBONES[2], ((4, 5),)), PREFIXES, TRIE, 2, 1.0, 3, 0.7)
def test_narrow_beams_are_those_of_a_plain_search(model, sequences, mode, num_beams, temperature, longest, weight):
    chosen = {"num_beams": num_beams, "mode": mode, "temperature": temperature, "max_new_tokens": longest}
    values = np.exp(np.random.default_rng(len(sequences)).normal(0, 2, size=len(sequences)))
    for row, found in enumerate(model.decode(Trie.build(sequences), values, **chosen, value_weight=weight)):
        reference = Reference(model, row, sequences, mode, temperature, longest or math.inf)
        expected, gap = reference.beam_search(num_beams, values, weight)
        if gap > 1e-4:  # else rounding may cut either way
            assert found.intention_ids.tolist() == [i for i, _ in expected]
            np.testing.assert_allclose(found.log_probs, [score for _, score in expected], atol=1e-4)


def test_full_mode_with_narrow_beams_is_not_always_exact():
    """Else the comparison above would say little: there are searches that lose the best, and they agree on it."""
    rng = np.random.default_rng(0)
    num_lost = 0
    for seed in range(30):
        model = Model(BACKBONES[seed % 4], (tuple(rng.integers(4, VOCAB, size=4).tolist()),))
        sequences = sorted({tuple(rng.integers(4, 7, size=rng.integers(1, 5)).tolist()) for _ in range(20)})
        reference = Reference(model, 0, sequences, FULL)
        exact = sorted(reference.log_probs(), key=reference.log_probs().get, reverse=True)[:2]
        (found,) = model.decode(Trie.build(sequences), num_beams=2, mode=FULL)
        expected, gap = reference.beam_search(2)
        assert gap < 1e-4 or found.intention_ids.tolist() == [i for i, _ in expected]
        num_lost += found.intention_ids.tolist() != exact
    assert 3 < num_lost < 30


def test_full_mode_goes_on_while_a_partial_one_may_still_displace_a_finished_one():
    """By hand: (4) and (4, 6) have ended when (4, 6, 7) is begun, which then ends better than (4, 6)."""
    log_probs = [{4: -1.0}, {END: -0.1, 6: -0.15}, {END: -0.1, 7: -0.01}, {END: -0.01}]  # by depth

    class Table:  # prompt and output layer in one; a state is a depth
        depth, num_tokens = 0, VOCAB

        def first(self):
            return torch.tensor([0])

        def advance(self, parents, tokens):
            self.depth += 1
            return torch.full(parents.shape, self.depth)

        def pack(self, tokens):
            return tokens

        def score_packed(self, states, packed):
            return np.array([[log_probs[0][token] for token in packed.tolist()]])

        def score(self, states, starts, tokens):
            return np.array([log_probs[self.depth][token] for token in tokens.tolist()])

        def log_normalizer(self, states, temperature):
            return np.zeros(len(states))

    table = Table()
    decoder = ConstrainedDecoder(Trie.build([(4,), (4, 6), (4, 6, 7)]), table, END)
    (found,) = decoder.decode(table, DecodeSettings(num_beams=2, mode=FULL))
    assert found.intention_ids.tolist() == [0, 2]
    np.testing.assert_allclose(found.log_probs, [-1.1, -1.17])


@settings(max_examples=45, deadline=None)
@given(models(2), sequences_strategy, modes, temperatures, longest_strategy, st.floats(0, 4))
def test_truncation_drops_what_is_far_below_its_best_sibling(model, sequences, mode, temperature, longest, truncation):
    chosen = {"mode": mode, "temperature": temperature, "max_new_tokens": longest, "num_beams": len(sequences)}
    trie = Trie.build(sequences)
    untruncated = model.decode(trie, **chosen)
    for far, found in zip(model.decode(trie, **chosen, truncation=1e9), untruncated, strict=True):
        np.testing.assert_array_equal(far.intention_ids, found.intention_ids)
        np.testing.assert_array_equal(far.log_probs, found.log_probs)
    for row, found in enumerate(model.decode(trie, **chosen, truncation=truncation)):
        reference = Reference(model, row, sequences, mode, temperature, longest or math.inf)
        assert set(found.intention_ids.tolist()) <= set(untruncated[row].intention_ids.tolist())
        assert len(found.intention_ids) >= min(1, len(reference.candidates))
        if reference.gap(truncation) > 1e-4:
            expected = reference.log_probs(truncation)
            assert set(found.intention_ids.tolist()) == set(expected)
            assert_scores(found, expected)


def test_truncation_at_zero_follows_the_best_token():
    model = Model(BACKBONES[3], ((4, 5, 6),))
    sequences = [(a, b) for a in range(4, 9) for b in range(4, 9)]
    choices = Reference(model, 0, sequences, TRIE).choices
    first = max(choices(()), key=choices(()).get)
    second = max(choices((first,)), key=choices((first,)).get)
    for mode in ScoreMode:
        (found,) = model.decode(Trie.build(sequences), truncation=0.0, mode=mode)
        assert [sequences[i] for i in found.intention_ids] == [(first, second)]


@settings(max_examples=45, deadline=None)
@given(models(2), sequences_strategy, modes, longest_strategy, st.sampled_from([0.3, 1.0, 4.0]), st.integers(0, 99))
def test_values_rank_with_probabilities(model, sequences, mode, longest, weight, seed):
    values = np.exp(np.random.default_rng(seed).normal(0, 2, size=len(sequences)))
    trie = Trie.build(sequences)
    for extra in (0, 2):
        chosen = {"num_beams": len(sequences) + extra, "mode": mode, "max_new_tokens": longest, "value_weight": weight}
        for row, found in enumerate(model.decode(trie, values, **chosen)):
            expected = Reference(model, row, sequences, mode, longest=longest or math.inf).log_probs()
            assert set(found.intention_ids.tolist()) == set(expected)
            assert_scores(found, expected, values, weight)


@pytest.mark.parametrize("mode", ScoreMode)
def test_a_high_value_is_found_deep_below_an_improbable_beginning(mode):
    """One beam alone follows it, because a partial intention is ranked by the best value below it."""
    model = Model(BACKBONES[0], ((4, 5, 6),))
    sequences = [(a, b, c) for a in (4, 5, 6) for b in (4, 5) for c in (4, 5)]
    trie = Trie.build(sequences)
    for wanted in range(len(sequences)):
        values = np.where(np.arange(len(sequences)) == wanted, 1e6, 1.0)
        (found,) = model.decode(trie, values, num_beams=1, mode=mode, value_weight=5.0)
        assert found.intention_ids.tolist() == [wanted]
        (unweighted,) = model.decode(trie, values, num_beams=len(sequences), mode=mode)
        (without,) = model.decode(trie, num_beams=len(sequences), mode=mode)
        assert unweighted.intention_ids.tolist() == without.intention_ids.tolist()


def equal_tokens() -> Model:
    """Return a model to which the tokens 4 … 9 are one and the same."""
    backbone = make_backbone(1)
    with torch.no_grad():
        backbone.word_embeddings.weight[4:10] = backbone.word_embeddings.weight[4]
        backbone.head_bias[4:10] = backbone.head_bias[4]
    return Model(backbone, ((12, 13, 14),))


@pytest.mark.parametrize("mode", ScoreMode)
@pytest.mark.parametrize(
    "sequences", [[(9,), (4,), (7,), (5,)], [(9, 4), (4, 9), (7, 5), (5, 7)], [(9, 4), (9, 5), (4, 4), (4, 5)]]
)
def test_ties_break_by_intention_id(sequences, mode):
    trie, model = Trie.build(sequences), equal_tokens()
    for num_beams in (4, 9):
        (found,) = model.decode(trie, num_beams=num_beams, mode=mode)
        assert found.intention_ids.tolist() == [0, 1, 2, 3]
        assert np.ptp(found.log_probs) < 1e-9
        (found,) = model.decode(trie, np.array([2.0, 3.0, 2.0, 3.0]), num_beams=num_beams, mode=mode, value_weight=2.0)
        assert found.intention_ids.tolist() == [1, 3, 0, 2]
    for num_beams in (1, 2, 3):
        (found,) = model.decode(trie, num_beams=num_beams, mode=mode)
        assert found.intention_ids.tolist() == list(range(num_beams))


def test_one_intention_is_certain_and_costs_no_step():
    model = Model(BACKBONES[0], ((4, 5), (6, 7, 8)))

    class Unled:
        def __init__(self):
            self._prompt = model.prompt()

        def first(self):
            return self._prompt.first()

        def advance(self, parents, tokens):
            raise AssertionError("the model was asked again")

    decoder = ConstrainedDecoder(Trie.build([(5, 6, 7)]), model.output(), END)
    for found in decoder.decode(Unled(), DecodeSettings(num_beams=4)):
        assert found.intention_ids.tolist() == [0]
        np.testing.assert_allclose(found.log_probs, 0.0, atol=1e-9)


@pytest.mark.parametrize("mode", ScoreMode)
@pytest.mark.parametrize("chosen", [{}, {"max_new_tokens": 2}, {"truncation": 1.0}, {"value_weight": 1.0}])
def test_an_emptied_vocabulary_gives_empty_results(mode, chosen):
    live = LiveTrie(Trie.build(PREFIXES))
    live.remove(PREFIXES)
    model = Model(BACKBONES[0], ((4, 5), (6, 7, 8)))
    for found in model.decode(live.trie, np.ones(4), mode=mode, **chosen):
        assert (found.intention_ids.tolist(), found.log_probs.tolist()) == ([], [])
    live.add([(8, 9)])
    assert [found.intention_ids.tolist() for found in model.decode(live.trie, mode=mode)] == [[4], [4]]


def same(one: list[Decoded], other: list[Decoded]) -> bool:
    return [found.intention_ids.tolist() for found in one] == [found.intention_ids.tolist() for found in other] and all(
        np.array_equal(a.log_probs, b.log_probs) for a, b in zip(one, other, strict=True)
    )


@settings(max_examples=25, deadline=None)
@given(models(2), sequences_strategy, sequences_strategy, modes, st.integers(1, 6))
def test_a_version_decodes_as_it_was_while_the_vocabulary_changes(model, sequences, others, mode, num_beams):
    live = LiveTrie(Trie.build(sequences))
    chosen = DecodeSettings(num_beams=num_beams, mode=mode)
    old = ConstrainedDecoder(live.trie, model.output(), END)
    before = old.decode(model.prompt(), chosen)

    class Swapping:
        """A prompt during whose decoding the vocabulary is replaced."""

        def __init__(self):
            self._prompt, self._swapped = model.prompt(), False

        def first(self):
            return self._prompt.first()

        def advance(self, parents, tokens):
            if not self._swapped:
                live.change([each for each in others if each not in sequences], sequences)
                self._swapped = True
            return self._prompt.advance(parents, tokens)

    swapping = Swapping()
    assert same(old.decode(swapping, chosen), before)
    if not swapping._swapped:
        live.change([each for each in others if each not in sequences], sequences)
    assert same(old.decode(model.prompt(), chosen), before)
    kept = [each for each in others if each not in sequences]
    ids = np.arange(len(kept)) + len(sequences)
    anew = model.decode(Trie.from_items(ids, as_padded(kept)), num_beams=num_beams, mode=mode) if kept else []
    for like in (None, old):
        new = ConstrainedDecoder(live.trie, model.output(), END, like=like).decode(model.prompt(), chosen)
        assert len(new) == len(model.texts)
        for found, expected in zip(new, anew, strict=bool(kept)):
            np.testing.assert_array_equal(found.intention_ids, expected.intention_ids)
            np.testing.assert_allclose(found.log_probs, expected.log_probs, atol=1e-6)
        assert kept or not any(len(found.intention_ids) for found in new)


@pytest.mark.parametrize(
    ("add", "remove", "num_packed"),
    [([(5, 9)], [(5, 6)], 1), ([(4,)], [], 2), ([], [(7,)], 2), ([(8, 8)], [(7,)], 2)],
    ids=["same root", "new root token", "root token gone", "root token replaced"],
)
def test_like_takes_packed_rows_over_only_if_they_fit(add, remove, num_packed):
    model, live = Model(BACKBONES[0], ((4, 5), (6, 7, 8))), LiveTrie(Trie.build([(5, 6), (6,), (7,)]))
    packed = []

    class Counting(OutputRows):
        def pack(self, tokens):
            packed.append(tokens.tolist())
            return super().pack(tokens)

    output = Counting(model.backbone.word_embeddings.weight, model.backbone.head_bias)
    old = ConstrainedDecoder(live.trie, output, END)
    live.change(add, remove)
    new = ConstrainedDecoder(live.trie, output, END, like=old)
    assert len(packed) == num_packed
    for mode in ScoreMode:
        assert same(new.decode(model.prompt(), DecodeSettings(mode=mode)), model.decode(live.trie, mode=mode))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"num_beams": 0}, "'num_beams' is 0; it takes a whole number ≥ 1"),
        ({"temperature": 0.0}, "'temperature' is 0.0; it takes a number > 0"),
        ({"temperature": math.nan}, "'temperature' is nan"),
        ({"temperature": math.inf}, "'temperature' is inf"),
        ({"mode": "both"}, "'mode' is 'both'; it takes one of trie, full"),
        ({"max_new_tokens": 0}, "'max_new_tokens' is 0; it takes a whole number ≥ 1"),
        ({"truncation": -0.1}, "'truncation' is -0.1; it takes a number ≥ 0"),
        ({"truncation": math.nan}, "'truncation' is nan"),
        ({"value_weight": -1.0}, "'value_weight' is -1.0; it takes a number ≥ 0"),
        ({"value_weight": math.inf}, "'value_weight' is inf"),
    ],
)
def test_wrong_settings_are_refused(chosen, message):
    with pytest.raises(SettingsError, match=message):
        DecodeSettings(**chosen)


def test_mode_may_be_named():
    assert DecodeSettings(mode="full").mode is FULL


def test_value_weight_needs_values():
    with pytest.raises(SettingsError, match="'value_weight' is set, but the decoder was given no values"):
        Model(BACKBONES[0], ((4, 5),)).decode(Trie.build(PREFIXES), value_weight=1.0)


@pytest.mark.parametrize(
    "values", [[1.0, 2.0, 3.0], [], [1, 2, 3, 0.0], [1, 2, 3, -1], [1, 2, 3, math.nan], [math.inf] * 4]
)
def test_wrong_values_are_refused(values):
    with pytest.raises(InputError, match=r"numbers, one for each intention id|must be above 0 and finite"):
        Model(BACKBONES[0], ((4, 5),)).decode(Trie.build(PREFIXES), np.array(values))
    Model(BACKBONES[0], ((4, 5),)).decode(Trie.build(PREFIXES), np.array([1.0, 2.0, 3.0, 4.0, 5.0]))  # some to spare


def test_tokens_that_the_model_does_not_have_are_refused():
    model = Model(BACKBONES[0], ((4, 5),))
    for sequences in ([(1, 25), (2,)], [(25,), (2, 4)], [(2, 2_000_000_000)]):
        with pytest.raises(InputError, match=r"contains the token (25|2000000000), and the model has 24"):
            model.decode(Trie.build(sequences))
        live = LiveTrie(Trie.build([(7,), (5, 6)]))
        first = ConstrainedDecoder(live.trie, model.output(), END)
        live.change(sequences, [(7,)])
        with pytest.raises(InputError, match="and the model has 24"):
            later = ConstrainedDecoder(live.trie, model.output(), END, like=first)
            later.decode(model.prompt(), DecodeSettings(mode=FULL))  # which looks at every token
    for end_id in (500, -5, 1.5, VOCAB):
        with pytest.raises(InputError, match="is none of the model's 24 tokens"):
            ConstrainedDecoder(Trie.build([(2,)]), model.output(), end_id)


def test_the_end_token_within_an_intention_is_refused_as_long_as_it_is_there():
    model = Model(BACKBONES[0], ((4, 5),))
    with pytest.raises(InputError, match="contains the token 3, which is to mean that one ends"):
        model.decode(Trie.build([(5, END), (4,)]))
    live = LiveTrie(Trie.build([(5,), (4, 6)]))
    first = ConstrainedDecoder(live.trie, model.output(), END)
    live.add([(5, END)])
    with pytest.raises(InputError, match="which is to mean that one ends"):
        ConstrainedDecoder(live.trie, model.output(), END, like=first).decode(model.prompt(), DecodeSettings(mode=FULL))
    live.remove([(5, END)])
    (found,) = ConstrainedDecoder(live.trie, model.output(), END, like=first).decode(model.prompt(), DecodeSettings())
    assert sorted(found.intention_ids) == [0, 1]


def test_like_is_of_the_same_model():
    trie = Trie.build([(5,), (4, 6)])
    first = ConstrainedDecoder(trie, Model(BACKBONES[0], ((4, 5),)).output(), END)
    for output, end_id in ((Model(BACKBONES[1], ((4, 5),)).output(), END), (Model(BACKBONES[0], ()).output(), END + 4)):
        with pytest.raises(InputError, match="'like' is a decoder of another model"):
            ConstrainedDecoder(trie, output, end_id, like=first)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], r"values must be 2 numbers, one for each intention id; they are \(1,\)"),
        ([["a", "b"]], "values must be 2 numbers"),
        ([1.0, float("nan")], "the value of intention 1 is nan"),
        ([0.0, 1.0], r"the value of intention 0 is 0\.0; it must be above 0"),
    ],
)
def test_wrong_values_are_named(values, message):
    with pytest.raises(InputError, match=message):
        ConstrainedDecoder(Trie.build([(5,), (4,)]), Model(BACKBONES[0], ()).output(), END, values)


def test_scores_that_are_not_finite_are_refused():
    model = Model(BACKBONES[0], ((4, 5),))
    with pytest.raises(InputError, match="the model's scores are not finite"):
        model.decode(Trie.build([(5,), (4,)]), temperature=1e-320)
