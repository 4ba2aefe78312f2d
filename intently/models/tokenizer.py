"""The student's tokenizer: WordPiece, extended by the characters that its pretrained vocabulary lacks.

A vocabulary made for English maps most Chinese characters to one "unknown" token, which no training can undo. The
characters that a catalogue uses and the vocabulary lacks are therefore appended as tokens of their own.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from intently.errors import ArtifactError
from intently.text.normalize import normalize


class StudentTokenizer:
    """Turn text into token ids, `[CLS] text [SEP]`, and intentions into bare token ids."""

    def __init__(self, definition: str) -> None:
        """Build from the JSON of a `tokenizer.json` file with a WordPiece model."""
        try:
            self._tokenizer = Tokenizer.from_str(definition)
        except Exception as error:  # the library raises bare Exception
            raise ArtifactError(f"tokenizer.json cannot be read ({error})") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.definition = definition
        self.vocab_size: int = self._tokenizer.get_vocab_size()
        self.unknown_id, self.cls_id, self.sep_id, self.pad_id = (
            self._required(token) for token in ("[UNK]", "[CLS]", "[SEP]", "[PAD]")
        )

    @classmethod
    def load(cls, path: Path) -> "StudentTokenizer":
        """Load from a `tokenizer.json` file."""
        return cls(path.read_text(encoding="utf-8"))

    def _required(self, token: str) -> int:
        token_id = self._tokenizer.token_to_id(token)
        if token_id is None:
            raise ArtifactError(f"tokenizer.json has no token {token}; a BERT-style WordPiece vocabulary is needed")
        return int(token_id)

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
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def extended_by(self, texts: Iterable[str], min_count: int = 2) -> "StudentTokenizer":
        """Return a tokenizer that also knows every character occurring `min_count` times in `texts`."""
        counts = Counter(char for text in texts for char in normalize(text) if ord(char) > 0x2E7F)
        unknown = sorted(
            char
            for char, count in counts.items()
            if count >= min_count
            and self._tokenizer.token_to_id(char) is None
            # The tokenizer's own normaliser may split or drop the character: then it could never occur as a token.
            and self._tokenizer.encode(char, add_special_tokens=False).ids == [self.unknown_id]
        )
        if not unknown:
            return self
        definition = json.loads(self.definition)
        vocab: dict[str, int] = definition["model"]["vocab"]
        first = max(vocab.values()) + 1
        vocab.update({char: first + offset for offset, char in enumerate(unknown)})
        return StudentTokenizer(json.dumps(definition, ensure_ascii=False))
