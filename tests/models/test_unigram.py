"""A Unigram tokenizer does for the student what a WordPiece one does, and may have prefixes."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import ArtifactError
from intently.intentions.trie import Trie
from intently.models.backbone import Backbone
from intently.models.student import Student
from intently.models.tokenizer import Prefixes, StudentTokenizer, TextKind
from intently.models.weights import BackboneConfig

PREFIXES = Prefixes("red: ", "for robot: ")
TEXTS = st.text(alphabet="red robots扫地机器人<s>/</s><unk>mask锅 é", max_size=30)


@pytest.fixture(scope="module")
def tokenizer(unigram_json) -> StudentTokenizer:
    return StudentTokenizer(unigram_json)


def tokens(tokenizer: StudentTokenizer, text: str) -> list[str]:
    return [tokenizer.tokens[token_id] for token_id in tokenizer.encode_bare([text])[0]]


def test_bare_tokens(tokenizer):
    assert tokens(tokenizer, "Red ROBOTS, 扫地机器人水壶") == [
        *("▁red", "▁robot", "s", "<unk>", "▁扫地", "机器人", "水壶"),
    ]
    assert tokens(tokenizer, "") == tokens(tokenizer, " ") == []
    assert len(tokenizer.encode_bare(["red " * 50])[0]) == 50  # the file's own truncation does not count
    assert tokens(tokenizer, "锅炒") == ["▁", "<unk>"]


def test_marks_come_from_the_definition(tokenizer, unigram_json):
    assert (tokenizer.cls_id, tokenizer.pad_id, tokenizer.sep_id, tokenizer.unknown_id) == (0, 1, 2, 3)
    definition = json.loads(unigram_json)
    assert tokenizer.special_ids == {0, 1, 2, 3, len(definition["model"]["vocab"]) - 1}
    swapped = json.loads(unigram_json.replace('"<s>"', '"<start>"').replace('"</s>"', '"<end>"'))
    assert StudentTokenizer(json.dumps(swapped)).sep_id == 2  # whatever it is called
    definition["model"]["unk_id"] = None
    with pytest.raises(ArtifactError, match="a Unigram vocabulary without 'unk_id'"):
        StudentTokenizer(json.dumps(definition))
    definition["model"]["type"] = "BPE"
    with pytest.raises(ArtifactError, match=r"tokenizer\.json cannot be read"):
        StudentTokenizer(json.dumps(definition))


def test_special_tokens_padding_and_cutting(tokenizer):
    ids, lengths = tokenizer.encode(["red for", "", "red robot red robot"], 5)
    red, robot, other = (tokenizer.tokens.index(piece) for piece in ("▁red", "▁robot", "▁for"))
    assert ids.tolist() == [[0, red, other, 2, 1], [0, 2, 1, 1, 1], [0, red, robot, red, 2]]
    assert lengths.tolist() == [4, 2, 5]


@settings(max_examples=100)
@given(st.lists(TEXTS | st.text(max_size=20), min_size=1, max_size=4), st.integers(3, 9), st.sampled_from(TextKind))
def test_no_text_says_a_mark_and_prefixes_are_not_counted(unigram_json, texts, most, kind):
    plain = StudentTokenizer(unigram_json)
    prefixed = StudentTokenizer(unigram_json, prefixes=PREFIXES)
    (prefix,) = plain.encode_bare([getattr(PREFIXES, kind)])
    ids, lengths = prefixed.encode(texts, most, kind)
    marks = plain.special_ids - {plain.unknown_id}
    for row, bare in enumerate(plain.encode_bare(texts)):
        assert marks.isdisjoint(bare)
        expected = [0, *prefix, *bare[: most - 2], 2]
        assert ids[row, : lengths[row]].tolist() == expected
        assert set(ids[row, lengths[row] :].tolist()) <= {1}
    assert lengths.max() <= most + prefixed.num_prefix_tokens
    assert prefixed.encode_bare(texts) == plain.encode_bare(texts)


def test_a_trie_holds_what_looks_like_a_mark(tokenizer):
    sequences = tokenizer.encode_bare(["red", "red</s>", "red </s> robot", "<s>"])
    assert all(tokenizer.sep_id not in each for each in sequences)
    assert Trie.build(sequences).num_intentions == 4


def test_whole_words_are_marked_by_the_metaspace(tokenizer):
    assert tokenizer.whole_words == {"red", "robot", "for", "扫地", "der", "led"}


def test_extended_by_characters(tokenizer):
    larger = tokenizer.extended_by(["锅锅", "炒 é é red"])
    assert larger.tokens[: tokenizer.vocab_size] == tokenizer.tokens
    assert larger.tokens[tokenizer.vocab_size :] == ["é", "锅"]
    assert tokens(larger, "炒锅é") == ["▁", "<unk>", "锅", "é"]
    for text in ("red robots", "扫地机器人", "bots x9"):
        assert larger.encode_bare([text]) == tokenizer.encode_bare([text])
    assert larger.extended_by(["锅锅"]) is larger


def test_prefixes_are_saved_and_decide(unigram_json, tmp_path):
    tokenizer = StudentTokenizer(unigram_json, prefixes=PREFIXES)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Backbone(BackboneConfig(tokenizer.vocab_size, 16, 2, 2, 32, 64))
    student = Student(backbone, tokenizer)
    assert student.positions == 64 - tokenizer.num_prefix_tokens == 64 - len(tokenizer.encode_bare(["for robot: "])[0])
    student.save(tmp_path)
    loaded = Student.load(tmp_path)
    assert loaded.tokenizer.prefixes == PREFIXES
    bare = Student(backbone, StudentTokenizer(unigram_json))
    for kind, prefix in ((TextKind.QUERY, "red: "), (TextKind.PASSAGE, "for robot: ")):
        expected = bare.embed([f"{prefix}扫地机器人"], 20)
        np.testing.assert_allclose(student.embed(["扫地机器人"], 20, kind=kind), expected, atol=1e-6)
        again = loaded.embed(["扫地机器人"], 20, kind=kind)
        np.testing.assert_array_equal(again, student.embed(["扫地机器人"], 20, kind=kind))
        exact = bare.read([f"{prefix}扫地机器人"], 20).embeddings
        np.testing.assert_allclose(student.read(["扫地机器人"], 20, kind).embeddings, exact, atol=1e-6)
