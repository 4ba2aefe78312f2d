"""The decoder against brute force: every intention scored on its own, token by token."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import SettingsError
from intently.intentions.trie import Trie
from intently.models.backbone import Backbone, BackboneConfig
from intently.models.student import IntentionDecoder, Reading, StudentPrompt

END = 3
VOCAB = 24


class _Tokenizer:
    sep_id = END


class _Student:
    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        config = BackboneConfig(VOCAB, 16, 2, 2, 32, 40)
        self.backbone = Backbone(config).eval()
        with torch.no_grad():
            self.backbone.word_embeddings.weight.mul_(1.5)
        self.tokenizer = _Tokenizer()

    def read(self, token_ids: np.ndarray, lengths: np.ndarray) -> Reading:
        ids, num = torch.from_numpy(token_ids), torch.from_numpy(lengths)
        with torch.inference_mode():
            states, cache = self.backbone.encode(ids, num)
            prompt = StudentPrompt(self.backbone, cache, num, self.backbone.last_state(states, num))
            return Reading(self.backbone.pool(states, num).numpy(), prompt)


def brute_force(student: _Student, token_ids, lengths, sequences, temperature=1.0):
    """Return log-probabilities (B, I), each intention decoded alone in one causal pass."""
    trie_children: dict[tuple[int, ...], set[int]] = {}
    for sequence in sequences:
        for at in range(len(sequence)):
            trie_children.setdefault(tuple(sequence[:at]), set()).add(sequence[at])
        trie_children.setdefault(tuple(sequence), set()).add(END)
    backbone = student.backbone
    scores = np.zeros((len(token_ids), len(sequences)))
    for row in range(len(token_ids)):
        ids = torch.from_numpy(token_ids[row : row + 1, : lengths[row]])
        num = torch.tensor([int(lengths[row])])
        with torch.inference_mode():
            states, cache = backbone.encode(ids, num)
            for column, sequence in enumerate(sequences):
                decoded = backbone.decode_all(cache, num, torch.tensor([list(sequence)]))[0]
                every = torch.cat((backbone.last_state(states, num), decoded))
                logits = backbone.head(every) @ backbone.word_embeddings.weight.T + backbone.head_bias
                for at, token in enumerate([*sequence, END]):
                    allowed = sorted(trie_children[tuple(sequence[:at])])
                    log_probs = torch.log_softmax(logits[at, allowed].double() / temperature, dim=0)
                    scores[row, column] += float(log_probs[allowed.index(token)])
    return scores


sequences_strategy = st.lists(
    st.lists(st.integers(4, 9), min_size=1, max_size=4).map(tuple), min_size=1, max_size=25, unique=True
)


def prompts(seed: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 7, size=batch)
    token_ids = np.zeros((batch, int(lengths.max())), dtype=np.int64)
    for row, length in enumerate(lengths):
        token_ids[row, :length] = rng.integers(4, VOCAB, size=length)
    return token_ids, lengths


@settings(max_examples=40, deadline=None)
@given(sequences_strategy, st.integers(0, 5), st.integers(1, 3), st.sampled_from([0.7, 1.0]))
def test_equals_brute_force_when_beams_cover_all(sequences, seed, batch, temperature):
    student = _Student(seed)
    token_ids, lengths = prompts(seed, batch)
    decoder = IntentionDecoder(student, Trie.build(sequences))
    decoded = decoder.decode(student.read(token_ids, lengths), len(sequences) + 3, temperature)
    expected = brute_force(student, token_ids, lengths, sequences, temperature)
    np.testing.assert_allclose(np.exp(expected).sum(axis=1), 1.0, atol=1e-6)
    for row, result in enumerate(decoded):
        assert sorted(result.intention_ids) == list(range(len(sequences)))
        np.testing.assert_allclose(result.log_probs, expected[row, result.intention_ids], atol=1e-4)
        assert (np.diff(result.log_probs) <= 0).all()


@settings(max_examples=30, deadline=None)
@given(sequences_strategy, st.integers(0, 3), st.integers(1, 6))
def test_narrow_beams_return_valid_distinct_intentions_and_batching_changes_nothing(sequences, seed, num_beams):
    student = _Student(seed)
    token_ids, lengths = prompts(seed, 3)
    decoder = IntentionDecoder(student, Trie.build(sequences))
    together = decoder.decode(student.read(token_ids, lengths), num_beams)
    expected = brute_force(student, token_ids, lengths, sequences)
    for row, result in enumerate(together):
        assert 1 <= len(result.intention_ids) <= num_beams
        assert len(set(result.intention_ids)) == len(result.intention_ids)
        np.testing.assert_allclose(result.log_probs, expected[row, result.intention_ids], atol=1e-4)
        alone = decoder.decode(
            student.read(token_ids[row : row + 1, : lengths[row]], lengths[row : row + 1]), num_beams
        )
        np.testing.assert_array_equal(alone[0].intention_ids, result.intention_ids)


def test_one_intention_is_certain():
    student = _Student(0)
    token_ids, lengths = prompts(0, 2)
    for result in IntentionDecoder(student, Trie.build([(5, 6, 7)])).decode(student.read(token_ids, lengths), 4):
        assert result.intention_ids.tolist() == [0]
        np.testing.assert_allclose(result.log_probs, 0.0, atol=1e-9)


def test_ties_break_by_intention_id():
    student = _Student(1)
    with torch.no_grad():
        student.backbone.word_embeddings.weight[4:10] = student.backbone.word_embeddings.weight[4]
    token_ids, lengths = prompts(1, 1)
    decoder = IntentionDecoder(student, Trie.build([(9,), (4,), (7,), (5,)]))
    assert decoder.decode(student.read(token_ids, lengths), 3)[0].intention_ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("num_beams", "temperature"), [(0, 1.0), (3, 0.0), (3, float("nan"))])
def test_wrong_settings_are_refused(num_beams, temperature):
    student = _Student(0)
    token_ids, lengths = prompts(0, 1)
    decoder = IntentionDecoder(student, Trie.build([(5,)]))
    with pytest.raises(SettingsError):
        decoder.decode(student.read(token_ids, lengths), num_beams, temperature)
