"""The backbone's sizes and its weights as they lie on disk, for whatever runs it. Reading them needs no PyTorch.

Shape letters: V token vocabulary, D hidden size, I size within a layer, P positions.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from safetensors.numpy import save

from intently.arrays import Float32Array
from intently.errors import ArtifactError, SettingsError
from intently.files import atomic_write
from intently.models.files import map_weights
from intently.settings import check_range, from_mapping


@dataclass(frozen=True)
class BackboneConfig:
    """The backbone's sizes; the names are those of a BERT `config.json`."""

    vocab_size: int
    hidden_size: int = 384
    num_hidden_layers: int = 6
    num_attention_heads: int = 12
    intermediate_size: int = 1536
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12

    def __post_init__(self) -> None:
        sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        check_range(self, "vocab_size", *sizes, "max_position_embeddings", "type_vocab_size", low=1)
        check_range(self, "layer_norm_eps")
        if self.hidden_size % self.num_attention_heads:
            raise SettingsError(f"'hidden_size' {self.hidden_size} is no multiple of {self.num_attention_heads} heads")

    @classmethod
    def read(cls, path: Path) -> "BackboneConfig":
        """Read the sizes from a BERT `config.json`, which may hold more than these."""
        known = {field.name for field in fields(cls)}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            sizes = {name: value for name, value in content.items() if name in known}
            return from_mapping(cls, sizes, "config")
        except (OSError, ValueError, TypeError, AttributeError, SettingsError) as error:
            raise ArtifactError(f"{path} does not hold the sizes of a BERT encoder ({error})") from error

    def check(self, found: Mapping[str, tuple[int, ...]], path: Path) -> None:
        """Raise `ArtifactError` naming the weight that is missing or not of these sizes among those of `path`."""
        for name, shape in self.shapes():
            if name not in found:
                raise ArtifactError(f"{path} has no weight '{name}'")
            if found[name] != shape:
                raise ArtifactError(f"{path}: the weight '{name}' is {found[name]}, but config.json asks for {shape}")

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the name and shape of each weight of a backbone of these sizes."""
        size, inner = self.hidden_size, self.intermediate_size
        yield "word_embeddings.weight", (self.vocab_size, size)
        yield "position_embeddings.weight", (self.max_position_embeddings, size)
        yield "type_embeddings.weight", (self.type_vocab_size, size)
        yield from _norm("embedding_norm", size)
        for index in range(self.num_hidden_layers):
            layer = f"layers.{index}"
            yield from _linear(f"{layer}.qkv", size, 3 * size)
            yield from _linear(f"{layer}.attention_output", size, size)
            yield from _norm(f"{layer}.attention_norm", size)
            yield from _linear(f"{layer}.intermediate", size, inner)
            yield from _linear(f"{layer}.output", inner, size)
            yield from _norm(f"{layer}.output_norm", size)
        yield from _linear("head_dense", size, size)
        yield from _norm("head_norm", size)
        yield "head_bias", (self.vocab_size,)


def _linear(name: str, num_in: int, num_out: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (num_out, num_in)
    yield f"{name}.bias", (num_out,)


def _norm(name: str, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (size,)
    yield f"{name}.bias", (size,)


@dataclass(frozen=True, eq=False)
class BackboneWeights:
    """A backbone's sizes, and its weights under the names of `Backbone.state_dict`."""

    config: BackboneConfig
    arrays: Mapping[str, Float32Array]

    def save(self, path: Path) -> None:
        """Write the weights to a `model.safetensors` file."""
        with atomic_write(path) as file:
            file.write(save(dict(self.arrays)))

    @classmethod
    def load(cls, config: BackboneConfig, path: Path) -> "BackboneWeights":
        """Map what `save` wrote; raise `ArtifactError` naming the weight that does not fit the sizes."""
        arrays = map_weights(path)
        config.check({name: array.shape for name, array in arrays.items()}, path)
        return cls(config, arrays)
