"""Models small enough to build in a test, of two layers with random weights.

The student has a WordPiece vocabulary of a few words; language models read bytes. And what tests of several folders
need beside them.
"""

import json
import os
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from intently.errors import ArtifactError

# Before PyTorch is imported, here or in a process that a test starts. The models of the tests are so small that threads
# only wait for each other: with two of them a test takes up to ten times as long, on a busy machine longer still.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile(
    "suite", hypothesis.settings.default, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("suite")

# Files that take half a minute or more. They come first, so that no process of `make test` ends long after the other.
LONGEST = ("test_changes_model", "test_examples", "test_build_bridge", "test_generative", "test_cli", "test_causal_lm")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files come first, and all others in their order."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


if TYPE_CHECKING:
    import torch

    from intently.models.backbone import Backbone
    from intently.models.causal_lm import CausalLM
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


PIECES = (
    "▁",
    "▁red",
    "▁robot",
    "▁for",
    "s",
    "ro",
    "bot",
    "▁扫地",
    "扫地",
    "机器人",
    "水壶",
    "红色",
    "▁der",
    "ein",
    "▁led",
)


def unigram(pieces: Sequence[str] = PIECES, characters: str = HAN) -> str:
    """Return the JSON of an XLM-R-style tokenizer: marks, pieces with falling scores, letters and characters."""
    marks = ("<s>", "<pad>", "</s>", "<unk>")
    singles = dict.fromkeys(string.ascii_lowercase + string.digits + characters).keys() - set(pieces)
    vocab = [[mark, 0.0] for mark in marks]
    vocab += [[piece, -2.0 - 0.1 * rank] for rank, piece in enumerate(pieces)]
    vocab += [[single, -9.0 - 0.01 * rank] for rank, single in enumerate(sorted(singles))] + [["<mask>", 0.0]]
    named = {"single_word": False, "lstrip": False, "rstrip": False, "special": True, "normalized": False}
    special = [{"id": i, "content": token, **named} for i, (token, _) in enumerate(vocab) if token[0] == "<"]
    ends = [{"SpecialToken": {"id": mark, "type_id": 0}} for mark in ("<s>", "</s>")]
    text = {"Sequence": {"id": "A", "type_id": 0}}
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return json.dumps(
        {
            "version": "1.0",
            "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
            "padding": {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None}
            | {"pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>"},
            "added_tokens": special,
            "normalizer": {"type": "NFKC"},
            "pre_tokenizer": metaspace,
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [ends[0], text, ends[1]],
                "pair": [ends[0], text, ends[1], {"Sequence": {"id": "B", "type_id": 0}}, ends[1]],
                "special_tokens": {m: {"id": m, "ids": [i], "tokens": [m]} for m, i in (("<s>", 0), ("</s>", 2))},
            },
            "decoder": metaspace,
            "model": {"type": "Unigram", "unk_id": 3, "vocab": vocab, "byte_fallback": False},
        },
        ensure_ascii=False,
    )


@pytest.fixture(scope="session")
def unigram_json() -> str:
    return unigram()


@pytest.fixture(scope="session")
def tokenizer_json() -> str:
    return wordpiece()


@pytest.fixture(scope="session")
def make_student(tokenizer_json: str) -> Callable[[int], "Student"]:
    """Return a maker of students with random weights: the same seed gives the same student."""
    import torch

    from intently.models.backbone import Backbone
    from intently.models.student import Student
    from intently.models.tokenizer import StudentTokenizer
    from intently.models.weights import BackboneConfig

    def make(seed: int) -> Student:
        tokenizer = StudentTokenizer(tokenizer_json)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            backbone = Backbone(BackboneConfig(tokenizer.vocab_size, 16, 2, 2, 32, 64))
        return Student(backbone, tokenizer)

    return make


THEIR_NAMES = {
    "word_embeddings": "embeddings.word_embeddings",
    "position_embeddings": "embeddings.position_embeddings",
    "type_embeddings": "embeddings.token_type_embeddings",
    "embedding_norm": "embeddings.LayerNorm",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}


def as_bert(backbone: "Backbone", prefix: str = "") -> "dict[str, torch.Tensor]":
    """Return the backbone's weights as Hugging Face names them."""
    weights = {}
    for name, tensor in backbone.state_dict().items():
        if name.startswith("head_"):
            continue
        *path, part, kind = name.split(".")
        start = f"{prefix}encoder.layer.{path[1]}." if path else prefix
        if part == "qkv":
            for each, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                weights[f"{start}attention.self.{each}.{kind}"] = third.clone()
        else:
            weights[f"{start}{THEIR_NAMES[part]}.{kind}"] = tensor.clone()
    return weights


def assert_damage_is_refused(load: Callable[[Path], object], directory: Path, name: str, content: bytes | None) -> None:
    """Damage a file of what was saved, or remove it, and assert that loading says in one line which it is."""
    if content is None:
        (directory / name).unlink()
    else:
        (directory / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")) as refused:
        load(directory)
    assert "\n" not in str(refused.value)


SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
# Windows of 5 tokens are shorter than the prompts, so that sliding layers do not see all of them.
FAMILIES = {
    "llama": ("LlamaConfig", {"tie_word_embeddings": False}),
    "qwen2": ("Qwen2Config", {"tie_word_embeddings": True}),
    "mistral": ("MistralConfig", {"sliding_window": 5}),
    "gemma2": ("Gemma2Config", {"sliding_window": 5, "query_pre_attn_scalar": 8, "final_logit_softcapping": 2.0}),
    "gemma3": ("Gemma3TextConfig", {"sliding_window": 5, "query_pre_attn_scalar": 8, "sliding_window_pattern": 2}),
}
# The user's turn and the beginning of the answer; the system message where there is one.
CHAT = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}<assistant>"
CHAT_WITHOUT_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no such role') }}{% endif %}" + CHAT


@pytest.fixture(scope="session")
def make_lm() -> Callable[..., "CausalLM"]:
    """Return a maker of language models that read bytes: the same seed gives the same random weights.

    Of `std` 0.3 they are far from uniform, so that an error shows; of less they can be trained.
    """
    transformers = pytest.importorskip("transformers")
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    from intently.models.causal_lm import CausalLM

    special = ("<pad>", "<s>", "</s>")
    tokens = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]

    def make(
        family: str = "llama", seed: int = 0, *, std: float = 0.3, chat_template: str | None = CHAT, system: str = ""
    ) -> CausalLM:
        core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[]))
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        named = dict(zip(("pad_token", "bos_token", "eos_token"), special, strict=True))
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, **named)
        tokenizer.chat_template = chat_template
        name, chosen = FAMILIES[family]
        config = getattr(transformers, name)(vocab_size=len(tokens), **(SIZES | chosen))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = transformers.AutoModelForCausalLM.from_config(config)
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if std >= 0.3 or "norm" not in name:
                        parameter.normal_(std=std)
        return CausalLM.of(model, tokenizer, system=system)

    return make


class Interruption(Exception):
    pass


class Told:
    """A progress that remembers what was told, and interrupts one stage after so many steps."""

    def __init__(self, stage: str = "", after: int = 0) -> None:
        self.stages: list[tuple[str, int, int]] = []
        self._stop = stage, after

    def __call__(self, stage: str, done: int, total: int, note: str) -> None:
        self.stages.append((stage, done, total))
        if (stage, done) == self._stop:
            raise Interruption

    def steps(self, stage: str) -> list[int]:
        return [done for told, done, _ in self.stages if told == stage]
