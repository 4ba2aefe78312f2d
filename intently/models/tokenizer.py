"""The student's tokenizer: WordPiece, extended by the characters that its pretrained vocabulary lacks.

A vocabulary made for English maps most Chinese characters to one "unknown" token, which no training can undo. The
characters that a catalogue uses and the vocabulary lacks are therefore appended as tokens of their own.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from intently.errors import ArtifactError
from intently.text.normalize import normalize


class StudentTokenizer:
    """Turn text into token ids, `[CLS] text [SEP]`, and intentions into bare token ids."""

    def __init__(self, definition: str, path: Path = Path("tokenizer.json")) -> None:
        """Build from the JSON of a `tokenizer.json` file with a WordPiece model; `path` is what errors name."""
        try:
            self._tokenizer = Tokenizer.from_str(definition)
        except Exception as error:  # the library raises bare Exception
            raise ArtifactError(f"{path} cannot be read ({error})") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.definition = definition
        self.vocab_size: int = self._tokenizer.get_vocab_size()
        self.unknown_id, self.cls_id, self.sep_id, self.pad_id = (
            self._required(token, path) for token in ("[UNK]", "[CLS]", "[SEP]", "[PAD]")
        )

    @classmethod
    def load(cls, path: Path) -> "StudentTokenizer":
        """Load from a `tokenizer.json` file."""
        try:
            definition = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{path} cannot be read ({error})") from error
        return cls(definition, path)

    def _required(self, token: str, path: Path) -> int:
        token_id = self._tokenizer.token_to_id(token)
        if token_id is None:
            raise ArtifactError(f"{path} has no token {token}; a BERT-style WordPiece vocabulary is needed")
        return int(token_id)

    @cached_property
    def whole_words(self) -> frozenset[str]:
        """The words that are one token: those that the model knows from what it was trained on."""
        return frozenset(token for token in self._tokenizer.get_vocab() if token.isalpha())

    def encode(self, texts: Sequence[str], max_length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return `token_ids (B, S)`, padded to the longest, and `lengths (B,)`; S ≤ max_length, longer text is cut."""
        encoded = [[self.cls_id, *ids[: max_length - 2], self.sep_id] for ids in self.encode_bare(texts)]
        lengths = np.array([len(ids) for ids in encoded], dtype=np.int64)
        token_ids = np.full((len(encoded), int(lengths.max(initial=2))), self.pad_id, dtype=np.int64)
        for row, ids in enumerate(encoded):
            token_ids[row, : len(ids)] = ids
        return token_ids, lengths

    def encode_bare(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text without special tokens."""
        normalized = [normalize(text) for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(normalized, add_special_tokens=False)]

    def extended_by(self, texts: Iterable[str], min_count: int = 2) -> "StudentTokenizer":
        """Return a tokenizer that also knows every character standing alone `min_count` times in `texts`.

        Chinese characters always stand alone; what the tokenizer takes apart (Hangul) or leaves inside a longer word
        (kana) would get a token that never occurs.
        """
        counts = Counter(word for text in texts for word in self._words(text) if len(word) == 1 and word > "\u2e7f")
        unknown = sorted(
            char for char, count in counts.items() if count >= min_count and self._tokenizer.token_to_id(char) is None
        )
        if not unknown:
            return self
        definition = json.loads(self.definition)
        vocab: dict[str, int] = definition["model"]["vocab"]
        first = max(vocab.values()) + 1
        vocab.update({char: first + offset for offset, char in enumerate(unknown)})
        return StudentTokenizer(json.dumps(definition, ensure_ascii=False))

    def _words(self, text: str) -> list[str]:
        """Return what a text is split into before WordPiece looks up tokens."""
        normalizer, splitter = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        text = normalize(text)
        if normalizer is not None:
            text = normalizer.normalize_str(text)
        return [word for word, _ in splitter.pre_tokenize_str(text)] if splitter is not None else [text]
