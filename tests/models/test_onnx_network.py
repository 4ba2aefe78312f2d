"""The layers in ONNX Runtime, and NumPy around them, against the PyTorch reference."""

import copy

import numpy as np
import pytest
import torch

from intently.errors import SettingsError
from intently.intentions.decode import DecodeSettings, ScoreMode
from intently.intentions.trie import Trie
from intently.models import processor
from intently.models.backbone import Backbone
from intently.models.onnx_network import OnnxNetwork
from intently.models.student import Runtime, Student
from intently.models.torch_network import TorchNetwork
from intently.models.weights import BackboneConfig

TEXTS = ["red robot vacuum", "红色扫地机器人", "", "drill bit for red lamp", "pan"]


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(1)
    backbone = Backbone(BackboneConfig(50, 48, 3, 4, 96, 40)).eval()
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if "norm" not in name:
                parameter.normal_(std=0.25)
            else:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return backbone


def inputs(backbone: Backbone, batch: int, num: int, num_past: int, seed: int):
    """Return token ids, and the hidden states, past and visibility of `Network.run` as arrays."""
    rng = np.random.default_rng(seed)
    config = backbone.config
    shape = (batch, config.num_attention_heads, num_past, config.hidden_size // config.num_attention_heads)
    ids = rng.integers(config.vocab_size, size=(batch, num))
    hidden = TorchNetwork(backbone).embed(ids, np.arange(num), segment=1).numpy()
    past = [
        tuple(rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
        for _ in range(config.num_hidden_layers if num_past else 0)
    ]
    visible = rng.random((batch, 1, num, num_past + num)) > 0.4
    visible[..., -1] = True  # a position that sees nothing is no position
    return ids, hidden, past, visible


def reference(backbone: Backbone, hidden, past, visible):
    """Return what PyTorch makes of the same, as arrays."""
    tensors = [tuple(map(torch.from_numpy, pair)) for pair in past]
    states, head, grown = TorchNetwork(backbone).run(torch.from_numpy(hidden), tensors, visible)
    return states.numpy(), head.numpy(), [tuple(each.numpy() for each in pair) for pair in grown]


@pytest.mark.parametrize(("batch", "num", "num_past"), [(1, 1, 0), (1, 7, 0), (3, 4, 5), (2, 1, 9), (1, 30, 40)])
def test_float32_is_the_reference(backbone, batch, num, num_past):
    network = OnnxNetwork(backbone.weights(), int8=False, num_threads=1)
    ids, *given = inputs(backbone, batch, num, num_past, seed=batch + num)
    for segment in (0, 1):
        expected = TorchNetwork(backbone).embed(ids, np.arange(num), segment).numpy()
        np.testing.assert_allclose(network.embed(ids, np.arange(num), segment), expected, atol=2e-6, rtol=1e-5)
    states, head, grown = reference(backbone, *given)
    found_states, found_head, found_grown = network.run(*given)
    np.testing.assert_allclose(found_states, states, atol=2e-5, rtol=1e-4)
    np.testing.assert_allclose(found_head, head, atol=5e-5, rtol=1e-4)
    for found, expected in zip(found_grown, grown, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-4)
    lengths = np.random.default_rng(0).integers(1, num + 1, batch)
    pooled = TorchNetwork(backbone).pool(torch.from_numpy(states), lengths)
    np.testing.assert_allclose(network.pool(states, lengths), pooled, atol=1e-6)


def test_the_output_layer_is_the_reference(backbone):
    network, torch_output = OnnxNetwork(backbone.weights(), int8=False, num_threads=1), TorchNetwork(backbone).output()
    output, rng = network.output(), np.random.default_rng(0)
    states = rng.standard_normal((5, 48), dtype=np.float32)
    tensors = torch.from_numpy(states)
    tokens, starts = rng.integers(50, size=23), np.array([0, 3, 3, 10, 22, 23])  # the second state asks for none
    np.testing.assert_allclose(output.score(states, starts, tokens), torch_output.score(tensors, starts, tokens), 1e-4)
    packed = output.score_packed(states, output.pack(tokens))
    np.testing.assert_allclose(packed, torch_output.score_packed(tensors, torch_output.pack(tokens)), 1e-4, 1e-5)
    expected = [packed[row, at] for row in range(5) for at in range(starts[row], starts[row + 1])]
    np.testing.assert_allclose(output.score(states, starts, tokens), expected, 1e-4, 1e-5)
    for temperature in (0.3, 1.0, 4.0):
        expected = torch_output.log_normalizer(tensors, temperature)
        np.testing.assert_allclose(output.log_normalizer(states, temperature), expected, 1e-5)
    assert output.num_tokens == torch_output.num_tokens == 50
    same, other = network.output(), OnnxNetwork(backbone.weights(), int8=True, num_threads=1).output()
    assert output == same == other  # one memory, whatever runs the layers
    assert hash(output) == hash(same)
    assert output != OnnxNetwork(copy.deepcopy(backbone).weights(), int8=False, num_threads=1).output()
    assert output != torch_output


@pytest.mark.parametrize("has_products", [True, False])
def test_int8_is_near_and_does_not_depend_on_the_batch(backbone, has_products, monkeypatch):
    monkeypatch.setattr(processor, "has_int8_products", lambda: has_products)
    network = OnnxNetwork(backbone.weights(), int8=True, num_threads=1)
    _, hidden, past, visible = inputs(backbone, 4, 6, 3, seed=0)
    hidden[1] *= 100  # one text's large numbers must not cost the others their resolution
    states, _, _ = reference(backbone, hidden, past, visible)
    found, _, _ = network.run(hidden, past, visible)
    cosine = (found * states).sum(-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(states, axis=-1)
    assert cosine.min() > (0.99 if has_products else 0.98)
    assert not np.array_equal(found, states)  # it is int8
    for row in range(4):
        alone, _, _ = network.run(
            hidden[row : row + 1], [(k[row : row + 1], v[row : row + 1]) for k, v in past], visible[row : row + 1]
        )
        np.testing.assert_allclose(alone[0], found[row], atol=1e-4, rtol=1e-4)


def test_a_student_answers_alike_whatever_runs_it(make_student):
    student = make_student(2)
    trie = Trie.build(student.tokenizer.encode_bare(["red", "robot vacuum", "drill bit", "扫地机器人", "red lamp"]))
    expected = student.read(TEXTS, 12)
    onnx = student.use(Runtime.ONNX)
    assert (student.runtime, onnx.runtime) == (Runtime.TORCH, Runtime.ONNX)
    reading = onnx.read(TEXTS, 12)
    np.testing.assert_allclose(reading.embeddings, expected.embeddings, atol=1e-5)
    for mode in ScoreMode:
        settings = DecodeSettings(10, mode=mode)
        wanted = student.decoder(trie).decode(expected.prompt, settings)
        for found, one in zip(onnx.decoder(trie).decode(reading.prompt, settings), wanted, strict=True):
            np.testing.assert_array_equal(found.intention_ids, one.intention_ids)
            np.testing.assert_allclose(found.log_probs, one.log_probs, atol=1e-4)
    quantised = student.use(Runtime.ONNX_INT8).read(TEXTS, 12)
    assert (quantised.embeddings * expected.embeddings).sum(axis=1).min() > 0.98
    assert onnx.use(Runtime.TORCH).runtime is Runtime.TORCH


def test_a_reading_can_be_decoded_again(make_student):
    student = make_student(2).use(Runtime.ONNX)
    decoder = student.decoder(
        Trie.build(student.tokenizer.encode_bare(["red", "red robot vacuum", "red robot", "pan"]))
    )
    reading = student.read(TEXTS, 12)
    first, again = (decoder.decode(reading.prompt, DecodeSettings(3)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.intention_ids, other.intention_ids)
        np.testing.assert_array_equal(one.log_probs, other.log_probs)


def test_onnx_runtime_is_for_the_cpu(make_student):
    student = make_student(2)
    elsewhere = Student(student.backbone.to("meta"), student.tokenizer)
    with pytest.raises(SettingsError, match=r"runtime 'onnx-int8' is for CPUs and the student is on meta"):
        elsewhere.use(Runtime.ONNX_INT8)
