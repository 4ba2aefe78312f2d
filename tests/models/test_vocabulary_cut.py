"""A vocabulary is cut to what texts need, and they are tokenized as before."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.models.tokenizer import Prefixes, StudentTokenizer
from intently.models.vocabulary_cut import needed_tokens

WORDS = st.sampled_from(["red", "robots", "扫地", "机器人", "水壶", "led", "der", "x9", "<", "锅", "bots"])
TEXTS = st.lists(WORDS, max_size=6).map("".join) | st.lists(WORDS, max_size=6).map(" ".join) | st.text(max_size=12)


@pytest.fixture(scope="module")
def tokenizer(unigram_json) -> StudentTokenizer:
    return StudentTokenizer(unigram_json, prefixes=Prefixes("red: ", "for: "))


def check_equal(whole: StudentTokenizer, cut: StudentTokenizer, kept: list[int], texts: list[str]) -> None:
    assert cut.tokens == [whole.tokens[row] for row in kept]
    for before, after in zip(whole.encode_bare(texts), cut.encode_bare(texts), strict=True):
        assert [kept[token_id] for token_id in after] == before


@settings(max_examples=100)
@given(st.lists(TEXTS, max_size=5), st.integers(0, 5), st.lists(TEXTS, max_size=3))
def test_kept_texts_read_as_before_and_new_ones_are_no_more_unknown(tokenizer, texts, most, new):
    kept = needed_tokens(tokenizer, texts, most)
    cut = tokenizer.cut_to(kept)
    check_equal(tokenizer, cut, kept.tolist(), texts)
    marks = ("cls_id", "sep_id", "pad_id", "unknown_id")
    assert [kept[getattr(cut, mark)] for mark in marks] == [getattr(tokenizer, mark) for mark in marks]
    assert cut.prefixes == tokenizer.prefixes
    np.testing.assert_array_equal(kept[cut.encode([*texts, "red"], 9)[0]], tokenizer.encode([*texts, "red"], 9)[0])
    for before, after in zip(tokenizer.encode_bare(new), cut.encode_bare(new), strict=True):
        assert (cut.unknown_id in after) <= (tokenizer.unknown_id in before)


def test_what_is_kept(tokenizer):
    def kept(texts: list[str], most: int) -> set[str]:
        return {tokenizer.tokens[row] for row in needed_tokens(tokenizer, texts, most)}

    few = kept(["扫地"], 0)
    assert {"▁扫地", "▁red", "▁for", "<s>", "</s>", "<pad>", "<unk>", "<mask>"} <= few  # prefixes and marks too
    assert {"x", "9", "器"} <= few and "水壶" not in few and "▁robot" not in few
    more = kept(["扫地"], 2)
    assert more - few == {"扫地", "机器人"}  # the likeliest, in the scripts of the texts
    assert "机器人" not in kept(["led"], 99) and {"▁robot", "ro"} <= kept(["led"], 99)


def test_pieces_that_no_text_gives_are_left_out(unigram_json):
    definition = json.loads(unigram_json)
    definition["model"]["vocab"][-1:-1] = [["▁Red", -1.0], ["電", -1.0], ["▁green", -1.0]]
    for token in definition["added_tokens"]:
        token["id"] += 3 * (token["content"] == "<mask>")
    tokenizer = StudentTokenizer(json.dumps(definition))
    kept = {tokenizer.tokens[row] for row in needed_tokens(tokenizer, ["red"], 99)}
    assert "▁green" in kept and not {"▁Red", "電"} & kept
