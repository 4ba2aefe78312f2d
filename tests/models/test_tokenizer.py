import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import ArtifactError
from intently.models.tokenizer import StudentTokenizer


@pytest.fixture(scope="module")
def tokenizer(tokenizer_json) -> StudentTokenizer:
    return StudentTokenizer(tokenizer_json)


def vocabulary(tokenizer: StudentTokenizer) -> dict[str, int]:
    return json.loads(tokenizer.definition)["model"]["vocab"]


def tokens(tokenizer: StudentTokenizer, text: str) -> list[str]:
    names = {token_id: token for token, token_id in vocabulary(tokenizer).items()}
    return [names[token_id] for token_id in tokenizer.encode_bare([text])[0]]


def test_bare_tokens(tokenizer):
    assert tokens(tokenizer, "Red ROBOTS, 扫地水壶") == ["red", "robot", "##s", "[UNK]", "扫", "地", "水", "壶"]
    assert tokens(tokenizer, "") == []
    # The file's own truncation to 4 tokens does not count.
    assert len(tokenizer.encode_bare(["red " * 50])[0]) == 50


def test_special_tokens_padding_and_cutting(tokenizer):
    vocab = vocabulary(tokenizer)
    ids, lengths = tokenizer.encode(["red pan", "", "red blue robot 水壶"], 5)
    wanted = ["[CLS]", "[SEP]", "red", "pan", "blue", "robot"]
    cls_id, sep_id, red, pan, blue, robot = (vocab[token] for token in wanted)
    pad = vocab["[PAD]"]
    assert ids.tolist() == [
        [cls_id, red, pan, sep_id, pad],
        [cls_id, sep_id, pad, pad, pad],
        [cls_id, red, blue, robot, sep_id],
    ]
    assert lengths.tolist() == [4, 2, 5]
    assert tokenizer.encode([], 5)[0].shape[0] == 0


@settings(max_examples=50)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=5), st.integers(3, 12))
def test_encoding_is_bare_encoding_between_marks(tokenizer, texts, max_length):
    ids, lengths = tokenizer.encode(texts, max_length)
    assert ids.shape[1] == max(lengths) <= max_length
    for row, bare in enumerate(tokenizer.encode_bare(texts)):
        expected = [tokenizer.cls_id, *bare[: max_length - 2], tokenizer.sep_id]
        assert ids[row].tolist() == expected + [tokenizer.pad_id] * (ids.shape[1] - len(expected))
        assert lengths[row] == len(expected)


def test_extended_by_chinese_characters(tokenizer):
    texts = ["锅锅 不锈钢", "钢 灯", "ok 炒", "é ü é"]  # 锅 and 钢 twice, 不 锈 炒 once, 灯 known
    larger = tokenizer.extended_by(iter(texts))
    before, after = vocabulary(tokenizer), vocabulary(larger)
    assert {token: after[token] for token in before} == before
    first = max(before.values()) + 1
    assert {token: after[token] for token in after.keys() - before.keys()} == {"钢": first, "锅": first + 1}
    assert larger.vocab_size == tokenizer.vocab_size + 2
    assert tokens(tokenizer, "炒锅 red") == ["[UNK]", "[UNK]", "red"]
    assert tokens(larger, "炒锅 red") == ["[UNK]", "锅", "red"]
    for text in ("red robots", "水壶 led", "扫地"):
        assert larger.encode_bare([text]) == tokenizer.encode_bare([text])
    assert larger.extended_by(texts) is larger
    assert tokens(larger.extended_by(["炒"], min_count=1), "炒锅") == ["炒", "锅"]


def test_nothing_to_extend_by(tokenizer):
    assert tokenizer.extended_by(["red red", "水 水 水", "xyz xyz", "éé"]) is tokenizer
    assert tokenizer.extended_by([]) is tokenizer


@pytest.mark.parametrize(
    "char",
    [
        "锅",
        "한",  # taken apart by the tokenizer's own normalizer, into letters that this vocabulary does not know
        "カ",  # part of a longer word, which is unknown as a whole
    ],
)
def test_every_character_that_is_added_occurs(tokenizer, char):
    larger = tokenizer.extended_by([char * 3])
    assert larger is tokenizer or tokens(larger, char * 3) == [char] * 3


def test_texts_are_normalised_first(tokenizer):
    assert tokens(tokenizer, "ＬＥＤ　灯") == tokens(tokenizer, "led 灯") == ["led", "灯"]
    assert tokens(tokenizer.extended_by(["⾦ ⾦"]), "⾦ 金") == ["金", "金"]  # the radical and its plain form


def test_save_and_load(tokenizer, tmp_path):
    larger = tokenizer.extended_by(["锅锅"])
    (tmp_path / "tokenizer.json").write_text(larger.definition, encoding="utf-8")
    loaded = StudentTokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.encode_bare(["red 锅炒"]) == larger.encode_bare(["red 锅炒"])


@pytest.mark.parametrize("definition", ["", "{", "[]", "{}"])
def test_no_tokenizer(definition):
    with pytest.raises(ArtifactError, match=r"tokenizer\.json cannot be read"):
        StudentTokenizer(definition)


@pytest.mark.parametrize("token", ["[CLS]", "[SEP]", "[PAD]"])
def test_no_special_tokens(tokenizer_json, token):
    definition = json.loads(tokenizer_json)
    definition["added_tokens"] = [one for one in definition["added_tokens"] if one["content"] != token]
    vocab = definition["model"]["vocab"]
    vocab["other"] = vocab.pop(token)
    with pytest.raises(ArtifactError, match=rf"tokenizer\.json has no token \{token} or <.*; the vocabulary of an"):
        StudentTokenizer(json.dumps(definition))
