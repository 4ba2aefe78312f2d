"""The student's tokenizer: WordPiece or Unigram, extended by the characters that its pretrained vocabulary lacks.

A vocabulary made for English maps most Chinese characters to one "unknown" token, which no training can undo. The
characters that a catalog uses and the vocabulary lacks are therefore appended as tokens of their own.

Some models were trained to read a word before every text that says what it is, such as "query: " and "passage: ". The
tokenizer holds these prefixes, so that whoever turns texts into tokens for a model only says what kind of text it is.
"""

import copy
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from intently.arrays import IntArray
from intently.errors import ArtifactError
from intently.text.normalize import has_han, normalize

METASPACE = "▁"  # stands for the space before a word in a Unigram vocabulary
_GOES_ON = "##"  # before a token of a WordPiece vocabulary that goes on with a word
# Put before the names of special tokens, so that no text can say them: `normalize` leaves no control character.
_UNSAYABLE = "\0"
# The names of marks that BERT's and XLM-R's tokenizers have, for definitions that do not say which marks they put.
_BEGINS, _ENDS, _PADS = ("[CLS]", "<s>"), ("[SEP]", "</s>"), ("[PAD]", "<pad>")


class TextKind(StrEnum):
    """What a text is to the model that reads it: intentions are read as queries, ads as passages."""

    QUERY = "query"
    PASSAGE = "passage"


@dataclass(frozen=True)
class Prefixes:
    """What a model reads before a text of each kind; most models read nothing."""

    query: str = ""
    passage: str = ""


class StudentTokenizer:
    """Turn text into token ids, begin mark, prefix, text, end mark, and intentions into bare token ids."""

    def __init__(self, definition: str, path: Path = Path("tokenizer.json"), prefixes: Prefixes = Prefixes()) -> None:
        """Build from the JSON of a `tokenizer.json` file with a WordPiece or Unigram model.

        The special tokens are those that the definition names. `path` is what errors name.
        """
        try:
            self._content = json.loads(definition)
            model = self._content["model"]
            if model["type"] not in ("WordPiece", "Unigram"):
                raise ValueError(f"a {model['type']} vocabulary where a WordPiece or Unigram one is needed")
            unknown = _unknown(model)
            self._tokenizer = Tokenizer.from_str(_unsayable(self._content, unknown))
        except Exception as error:  # the library raises bare Exception
            raise ArtifactError(f"{path} cannot be read ({error})") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.definition = definition
        self.vocab_size: int = self._tokenizer.get_vocab_size()
        marks = self._tokenizer.encode("").ids  # what the definition itself puts around a text, if it says so
        self.cls_id, self.sep_id = marks if len(marks) == 2 else (self._id(_BEGINS, path), self._id(_ENDS, path))
        self.pad_id, self.unknown_id = self._id(_PADS, path), self._id((unknown,), path)
        self.prefixes = prefixes
        ids = self.encode_bare([getattr(prefixes, kind) for kind in TextKind])
        self._prefix_ids: dict[TextKind, list[int]] = dict(zip(TextKind, ids, strict=True))

    @classmethod
    def load(cls, path: Path, prefixes: Prefixes = Prefixes()) -> "StudentTokenizer":
        """Load from a `tokenizer.json` file."""
        try:
            definition = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{path} cannot be read ({error})") from error
        return cls(definition, path, prefixes)

    def _id(self, names: tuple[str, ...], path: Path) -> int:
        """Return the token that has one of these names."""
        for name in names:
            for spelled in (_UNSAYABLE + name, name):
                if (token_id := self._tokenizer.token_to_id(spelled)) is not None:
                    return int(token_id)
        raise ArtifactError(f"{path} has no token {' or '.join(names)}; the vocabulary of an encoder is needed")

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens of the longest prefix, which a text's own do not count."""
        return max(map(len, self._prefix_ids.values()))

    @property
    def prefix_ids(self) -> frozenset[int]:
        """The tokens of all prefixes."""
        return frozenset(each for ids in self._prefix_ids.values() for each in ids)

    @property
    def is_unigram(self) -> bool:
        """Whether the vocabulary is a Unigram one; otherwise it is WordPiece."""
        return bool(self._content["model"]["type"] == "Unigram")

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The tokens that no text gives: marks and padding, and what stands for unknown characters."""
        named = {token["id"] for token in self._content["added_tokens"] if token["special"]}
        return frozenset({self.cls_id, self.sep_id, self.pad_id, self.unknown_id, *named})

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """The natural log-probabilities of a Unigram vocabulary's tokens (V,)."""
        return np.array([score for _, score in self._content["model"]["vocab"]])

    @cached_property
    def tokens(self) -> list[str]:
        """The tokens by id, as the definition names them (V,)."""
        vocab = self._content["model"]["vocab"]
        names = [""] * self.vocab_size
        for token, token_id in [(token, i) for i, (token, _) in enumerate(vocab)] if self.is_unigram else vocab.items():
            names[token_id] = token
        return names

    @cached_property
    def whole_words(self) -> frozenset[str]:
        """The words that are one token: those that the model knows from what it was trained on."""
        begins = METASPACE if self.is_unigram else ""
        words = (token.removeprefix(begins) for token in self.tokens if token.startswith(begins))
        return frozenset(word for word in words if word.isalpha())

    def encode(
        self, texts: Sequence[str], max_length: int, kind: TextKind = TextKind.QUERY
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return `token_ids (B, S)`, padded to the longest, and `lengths (B,)`; longer text is cut.

        A text and its two marks take at most `max_length` tokens, whatever the model; the prefix of the kind is not
        counted, so that S ≤ max_length + num_prefix_tokens.
        """
        begin = [self.cls_id, *self._prefix_ids[kind]]
        encoded = [[*begin, *ids[: max_length - 2], self.sep_id] for ids in self.encode_bare(texts)]
        lengths = np.array([len(ids) for ids in encoded], dtype=np.int64)
        token_ids = np.full((len(encoded), int(lengths.max(initial=2))), self.pad_id, dtype=np.int64)
        for row, ids in enumerate(encoded):
            token_ids[row, : len(ids)] = ids
        return token_ids, lengths

    def encode_bare(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text without special tokens and prefix: what a trie holds of an intention.

        No text, whatever it says, gives the begin or end mark.
        """
        normalized = [normalize(text) for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(normalized, add_special_tokens=False)]

    def spelled(self, token_ids: Sequence[int]) -> str:
        """Return tokens as text, also those that end within a word; Chinese words stand without blanks."""
        text = ""
        for name in (self.tokens[token_id] for token_id in token_ids):
            if self.is_unigram:
                text += name.replace(METASPACE, " ")
            elif name.startswith(_GOES_ON):
                text += name.removeprefix(_GOES_ON)
            else:
                joins = not text or (has_han(text[-1]) and has_han(name[:1]))
                text += name if joins else f" {name}"
        return text.strip()

    def extended_by(self, texts: Iterable[str], min_count: int = 2) -> "StudentTokenizer":
        """Return a tokenizer that also knows every character standing alone `min_count` times in `texts`.

        To WordPiece, Chinese characters always stand alone; what the tokenizer takes apart (Hangul) or leaves inside a
        longer word (kana) would get a token that never occurs. To Unigram every character may stand alone.
        """
        counts = Counter(char for text in texts for char in self._alone(text))
        unknown = sorted(
            char for char, count in counts.items() if count >= min_count and self._tokenizer.token_to_id(char) is None
        )
        if not unknown:
            return self
        model = dict(self._content["model"])
        if self.is_unigram:
            model["vocab"] = model["vocab"] + [[char, float(self.scores.min())] for char in unknown]
        else:
            first = max(model["vocab"].values()) + 1
            model["vocab"] = model["vocab"] | {char: first + offset for offset, char in enumerate(unknown)}
        return self._with({**self._content, "model": model})

    def cut_to(self, rows: IntArray) -> "StudentTokenizer":
        """Return a Unigram tokenizer that has only the tokens `rows`, in ascending order; row r of them is token r.

        The special tokens must be among them.
        """
        now = {old: new for new, old in enumerate(rows.tolist())}
        vocab = self._content["model"]["vocab"]
        model = {**self._content["model"], "vocab": [vocab[row] for row in now], "unk_id": now[self.unknown_id]}
        return self._with(_renumbered({**self._content, "model": model}, now))

    def _with(self, definition: dict[str, Any]) -> "StudentTokenizer":
        return StudentTokenizer(json.dumps(definition, ensure_ascii=False), prefixes=self.prefixes)

    def _alone(self, text: str) -> Iterable[str]:
        """Return the characters of a text that a token of their own could stand for."""
        normalizer, splitter = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        text = normalize(text)
        if normalizer is not None:
            text = normalizer.normalize_str(text)
        if self.is_unigram:
            return text.replace(" ", "").replace(METASPACE, "")
        words = [word for word, _ in splitter.pre_tokenize_str(text)] if splitter is not None else [text]
        return (word for word in words if len(word) == 1 and word > "\u2e7f")


def _unknown(model: dict[str, Any]) -> str:
    """Return the name of the token that stands for characters which the vocabulary lacks."""
    if model["type"] != "Unigram":
        return str(model["unk_token"])
    if model.get("unk_id") is None:
        raise ValueError("a Unigram vocabulary without 'unk_id', a token for characters that it lacks")
    return str(model["vocab"][model["unk_id"]][0])


def _unsayable(content: dict[str, Any], unknown: str) -> str:
    """Return a definition whose special tokens no text can say; all tokens keep their ids."""
    model = dict(content["model"])
    special = {unknown, *(token["content"] for token in content["added_tokens"] if token["special"])}
    if model["type"] == "Unigram":
        model["vocab"] = [[_UNSAYABLE + name if name in special else name, score] for name, score in model["vocab"]]
    else:
        model["vocab"] = {_UNSAYABLE + name if name in special else name: i for name, i in model["vocab"].items()}
        model["unk_token"] = _UNSAYABLE + unknown
    added = [
        token | {"content": _UNSAYABLE + token["content"]} if token["special"] else token
        for token in content["added_tokens"]
    ]
    return json.dumps({**content, "added_tokens": added, "model": model}, ensure_ascii=False)


def _renumbered(definition: dict[str, Any], now: dict[int, int]) -> dict[str, Any]:
    """Return the definition with the ids of its special tokens, marks and padding as `now` has them."""
    definition = copy.deepcopy({name: value for name, value in definition.items() if name != "model"}) | {
        "model": definition["model"]
    }
    definition["added_tokens"] = [
        token | {"id": now[token["id"]]} for token in definition["added_tokens"] if token["id"] in now
    ]
    processor, padding = definition.get("post_processor"), definition.get("padding")
    for token in (processor or {}).get("special_tokens", {}).values():
        token["ids"] = [now[each] for each in token["ids"]]
    for mark in ("cls", "sep"):
        if processor and mark in processor:
            processor[mark] = [processor[mark][0], now[processor[mark][1]]]
    if padding:
        padding["pad_id"] = now[padding["pad_id"]]
    return definition
