"""The ONNX graph against the PyTorch reference."""

import numpy as np
import pytest
import torch
from intently.models.onnx_runner import OnnxRunner

from intently.errors import SettingsError
from intently.intentions.decode import DecodeSettings
from intently.intentions.trie import Trie
from intently.models import onnx_graph
from intently.models.backbone import Backbone
from intently.models.student import Runtime, Student
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
    generator = torch.Generator().manual_seed(seed)
    config = backbone.config
    size = config.hidden_size // config.num_attention_heads
    ids = torch.randint(0, config.vocab_size, (batch, num), generator=generator)
    hidden = backbone.embed(ids, torch.arange(num), segment=1).detach()
    past = [
        tuple(torch.randn((batch, config.num_attention_heads, num_past, size), generator=generator) for _ in range(2))
        for _ in range(config.num_hidden_layers if num_past else 0)
    ]
    visible = torch.rand((batch, 1, num, num_past + num), generator=generator) > 0.4
    visible[..., -1] = True  # a position that sees nothing is no position
    return hidden, past, visible


@pytest.mark.parametrize(("batch", "num", "num_past"), [(1, 1, 0), (1, 7, 0), (3, 4, 5), (2, 1, 9), (1, 30, 40)])
def test_float32_is_the_reference(backbone, batch, num, num_past):
    runner = OnnxRunner(backbone, int8=False, num_threads=1)
    given = inputs(backbone, batch, num, num_past, seed=batch + num)
    with torch.inference_mode():
        states, head, grown = backbone(*given)
    found_states, found_head, found_grown = runner(*given)
    torch.testing.assert_close(found_states, states, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found_head, head, atol=5e-5, rtol=1e-4)
    for (key, value), (expected_key, expected_value) in zip(found_grown, grown, strict=True):
        torch.testing.assert_close(key, expected_key, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(value, expected_value, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("has_products", [True, False])
def test_int8_is_near_and_does_not_depend_on_the_batch(backbone, has_products, monkeypatch):
    monkeypatch.setattr(onnx_graph, "has_int8_products", lambda: has_products)
    runner = OnnxRunner(backbone, int8=True, num_threads=1)
    hidden, past, visible = inputs(backbone, 4, 6, 3, seed=0)
    hidden[1] *= 100  # one text's large numbers must not cost the others their resolution
    with torch.inference_mode():
        states, _, _ = backbone(hidden, past, visible)
    found, _, _ = runner(hidden, past, visible)
    cosine = torch.nn.functional.cosine_similarity(found, states, dim=-1)
    assert cosine.min() > (0.99 if has_products else 0.98)
    assert not torch.equal(found, states)  # it is int8
    for row in range(4):
        alone, _, _ = runner(
            hidden[row : row + 1], [(k[row : row + 1], v[row : row + 1]) for k, v in past], visible[row : row + 1]
        )
        torch.testing.assert_close(alone[0], found[row], atol=1e-4, rtol=1e-4)


def test_a_student_answers_alike_whatever_runs_it(make_student):
    student = make_student(2)
    trie = Trie.build(student.tokenizer.encode_bare(["red", "robot vacuum", "drill bit", "扫地机器人", "red lamp"]))
    decoder = student.decoder(trie)
    expected = student.read(TEXTS, 12)
    wanted = decoder.decode(expected.prompt, DecodeSettings(10))
    onnx = student.use(Runtime.ONNX)
    assert (student.runtime, onnx.runtime) == (Runtime.TORCH, Runtime.ONNX)
    reading = onnx.read(TEXTS, 12)
    np.testing.assert_allclose(reading.embeddings, expected.embeddings, atol=1e-5)
    for found, one in zip(decoder.decode(reading.prompt, DecodeSettings(10)), wanted, strict=True):
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
