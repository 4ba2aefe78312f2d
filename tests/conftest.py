"""A student small enough to build in a test: a WordPiece vocabulary of a few words, a random backbone of two layers."""

import json
import string
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from intently.models.student import Student

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("red", "blue", "robot", "vacuum", "drill", "bit", "pan", "lamp", "led", "kettle", "electric", "shoe", "for")
HAN = "扫地机器人红色水壶电热灯"


def wordpiece(words: Sequence[str] = WORDS, characters: str = HAN) -> str:
    """Return the JSON of a BERT-style tokenizer: special tokens, single letters and digits, words, characters."""
    letters = string.ascii_lowercase + string.digits
    tokens = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words, *dict.fromkeys(characters)]
    special = [
        {"id": i, "content": token, "special": True, "normalized": False}
        | {"single_word": False, "lstrip": False, "rstrip": False}
        for i, token in enumerate(SPECIAL)
    ]
    return json.dumps(
        {
            "version": "1.0",
            "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
            "padding": None,
            "added_tokens": special,
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": True,
                "strip_accents": None,
                "lowercase": True,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": None,
            "decoder": None,
            "model": {
                "type": "WordPiece",
                "unk_token": "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": {token: i for i, token in enumerate(tokens)},
            },
        },
        ensure_ascii=False,
    )


@pytest.fixture(scope="session")
def tokenizer_json() -> str:
    return wordpiece()


@pytest.fixture(scope="session")
def make_student(tokenizer_json: str) -> Callable[[int], "Student"]:
    """Return a maker of students with random weights: the same seed gives the same student."""
    import torch

    from intently.models.backbone import Backbone, BackboneConfig
    from intently.models.student import Student
    from intently.models.tokenizer import StudentTokenizer

    def make(seed: int) -> Student:
        tokenizer = StudentTokenizer(tokenizer_json)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            backbone = Backbone(BackboneConfig(tokenizer.vocab_size, 16, 2, 2, 32, 64))
        return Student(backbone, tokenizer)

    return make
