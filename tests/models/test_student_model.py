import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from intently.errors import ArtifactError, MissingDependencyError
from intently.intentions.decode import DecodeSettings
from intently.intentions.trie import Trie
from intently.models import network
from intently.models.backbone import Backbone
from intently.models.student import Runtime, Student
from intently.models.weights import BackboneConfig
from tests.conftest import assert_damage_is_refused

TEXTS = ["red robot vacuum", "红色扫地机器人", "", "drill bit for red lamp led " * 3, "pan"]
INTENTIONS = ["red", "robot vacuum", "水壶", "扫地机器人"]


@pytest.fixture
def student(make_student) -> Student:
    return make_student(2)


def test_embeddings_are_the_mean_of_the_states(student):
    ids, lengths = student.tokenizer.encode(TEXTS, 12)
    embeddings = student.read(TEXTS, 12).embeddings
    assert (embeddings.dtype, embeddings.shape) == (np.float32, (len(TEXTS), student.dimension))
    for row, length in enumerate(lengths):
        alone = torch.from_numpy(ids[row : row + 1, :length])  # without padding
        with torch.inference_mode():
            states, _ = student.backbone.encode(alone, torch.tensor([length]))
        mean = states[0].mean(dim=0).numpy()
        np.testing.assert_allclose(embeddings[row], mean / np.linalg.norm(mean), atol=1e-5)


def test_batches_bring_every_text_once(student):
    told = []
    rows = [
        row for rows, _ in student.batches(TEXTS, 12, 2, lambda done, total: told.append((done, total))) for row in rows
    ]
    assert sorted(rows) == list(range(len(TEXTS)))
    assert told == [(2, 5), (4, 5), (5, 5)]
    expected = np.concatenate([student.read([text], 12).embeddings for text in TEXTS])
    for batch_size in (1, 2, 128):
        np.testing.assert_allclose(student.embed(TEXTS, 12, batch_size), expected, atol=1e-2)  # bfloat16 where fast
    assert student.embed([], 12).shape == (0, student.dimension)


def test_long_texts_are_cut(student):
    long, cut = student.embed(["red robot vacuum drill", "red robot"], 4)
    np.testing.assert_allclose(long, cut, atol=1e-5)


def test_a_source_does_not_see_its_target(student):
    backbone = student.backbone
    ids, lengths = (torch.from_numpy(array) for array in student.tokenizer.encode(["red robot"], 8))
    with torch.inference_mode():
        _, cache = backbone.encode(ids, lengths)
        targets = torch.tensor([[7, 8, 9]])
        states = backbone.decode_all(cache, lengths, targets)
        changed = backbone.decode_all(cache, lengths, torch.tensor([[7, 8, 10]]))
    torch.testing.assert_close(states[:, :2], changed[:, :2])  # what comes later is not seen either
    assert not torch.allclose(states[:, 2], changed[:, 2])


def test_save_and_load(student, tmp_path):
    student.save(tmp_path / "new" / "student")
    loaded = Student.load(tmp_path / "new" / "student")
    assert loaded.backbone.config == student.backbone.config
    assert not loaded.backbone.training
    before, after = student.read(TEXTS, 12), loaded.read(TEXTS, 12)
    np.testing.assert_array_equal(after.embeddings, before.embeddings)
    trie = Trie.build(student.tokenizer.encode_bare(INTENTIONS))
    three = DecodeSettings(num_beams=3)
    expected = student.decoder(trie).decode(before.prompt, three)
    for one, other in zip(expected, loaded.decoder(trie).decode(after.prompt, three), strict=True):
        np.testing.assert_array_equal(one.intention_ids, other.intention_ids)
        np.testing.assert_array_equal(one.log_probs, other.log_probs)


def test_pytorch_is_needed_only_where_it_runs_the_layers(student, tmp_path, monkeypatch):
    student.save(tmp_path)
    monkeypatch.setattr(network, "find_spec", lambda name: None)  # as if it were not installed
    loaded = Student.load(tmp_path)
    reading = loaded.use(Runtime.ONNX).read(TEXTS, 12)
    np.testing.assert_allclose(reading.embeddings, student.read(TEXTS, 12).embeddings, atol=1e-5)
    assert (loaded.dimension, loaded.speaks, loaded.device) == (student.dimension, student.speaks, "cpu")
    for ask in (lambda: loaded.use(Runtime.TORCH), lambda: loaded.read(TEXTS, 12), lambda: loaded.backbone):
        with pytest.raises(MissingDependencyError, match=r"runtime 'torch', and it is missing; .*intently\[models\]"):
            ask()


def test_tokenizer_and_backbone_belong_together(student):
    other = Backbone(BackboneConfig(student.tokenizer.vocab_size + 1, 16, 1, 2, 32, 16))
    size = student.tokenizer.vocab_size
    with pytest.raises(ArtifactError, match=f"the backbone knows {size + 1} tokens, the tokenizer {size}"):
        Student(other, student.tokenizer)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", None),
        ("config.json", b"{"),
        ("config.json", b"{}"),
        ("config.json", b"[]"),
        ("config.json", b"\xff"),
        ("config.json", b'{"vocab_size": 5, "colour": 1}'),
        ("config.json", b'{"vocab_size": 5}'),  # not the sizes of the weights
        ("config.json", b'{"vocab_size": "five"}'),
        ("config.json", b'{"vocab_size": 5, "num_attention_heads": 0}'),
        ("config.json", b'{"vocab_size": 5, "num_attention_heads": 7}'),
        ("model.safetensors", None),
        ("model.safetensors", b"torn"),
        ("tokenizer.json", None),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"\xff"),
    ],
)
def test_damaged_student(student, tmp_path, name, content):
    student.save(tmp_path)
    assert_damage_is_refused(Student.load, tmp_path, name, content)


def test_weights_follow_the_umask(student, tmp_path):
    student.save(tmp_path)
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1


def test_weights_that_do_not_fit_are_named(student, tmp_path):
    student.save(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    save_file(weights | {"head_bias": weights["head_bias"][:5].clone()}, path)
    with pytest.raises(ArtifactError, match=r"model\.safetensors: the weight 'head_bias' is \(5,\), but config\.json"):
        Student.load(tmp_path)
    del weights["head_bias"]
    save_file(weights, path)
    with pytest.raises(ArtifactError, match=r"model\.safetensors has no weight 'head_bias'"):
        Student.load(tmp_path)


def test_files_of_two_students_do_not_mix(student, tmp_path):
    student.save(tmp_path)
    larger = student.tokenizer.extended_by(["锅锅"])
    (tmp_path / "tokenizer.json").write_text(larger.definition, encoding="utf-8")
    with pytest.raises(ArtifactError, match=f"{tmp_path}: the backbone knows"):
        Student.load(tmp_path)
