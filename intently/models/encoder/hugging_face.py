"""Any Hugging Face encoder, by name or directory, as the backbone.

Shape letters: B batch, S source length, D hidden size, L layers.
"""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intently.errors import ArtifactError, MissingDependencyError, SettingsError, install_hint
from intently.files import atomic_write
from intently.models.encoder.backbone import TextBackbone, TextTokenizer
from intently.models.tokenizer import TextKind

if TYPE_CHECKING:  # an optional dependency: the compact backbone does not need it
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class HuggingFaceBackbone(TextBackbone):
    """A Hugging Face encoder (BERT, XLM-R, …)."""

    def __init__(self, model: "PreTrainedModel") -> None:
        """Raise `SettingsError` if the model is no encoder of texts."""
        super().__init__()
        config = model.config
        if config.is_encoder_decoder or not hasattr(config, "num_hidden_layers"):
            raise SettingsError(f"{type(model).__name__} is no text encoder; take one such as BERT or XLM-R")
        self.model = model
        self.hidden_size, self.num_layers = int(config.hidden_size), int(config.num_hidden_layers)

    def layer_states(self, token_ids: Tensor, lengths: Tensor) -> list[Tensor]:
        """Return the states (B, S, D) after each of the L layers."""
        real = torch.arange(token_ids.shape[1], device=token_ids.device) < lengths[:, None]
        output = self.model(input_ids=token_ids, attention_mask=real.long(), output_hidden_states=True)
        return list(output.hidden_states[1:])  # the first is what the layers read

    @classmethod
    def load(
        cls, name: str, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
    ) -> tuple["HuggingFaceBackbone", "HuggingFaceTokenizer"]:
        """Load an encoder and its tokenizer by name or directory; raise `SettingsError` if there is none."""
        _need_transformers()
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # who loads a model shows progress of their own
        try:
            tokenizer = AutoTokenizer.from_pretrained(name)
            model = AutoModel.from_pretrained(name, dtype=dtype)
        except (OSError, ValueError) as error:
            raise SettingsError(f"the encoder {name!r} cannot be loaded: {error}") from error
        return cls(model.to(torch.device(device))).eval(), HuggingFaceTokenizer(tokenizer)

    def save(self, tokenizer: "HuggingFaceTokenizer", directory: Path) -> None:
        """Write model and tokenizer as Hugging Face does."""
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=directory) as fresh:
            self.model.save_pretrained(fresh)
            tokenizer.tokenizer.save_pretrained(fresh)
            for path in sorted(Path(fresh).rglob("*")):  # only what the library has just written
                if path.is_file():
                    target = directory / path.relative_to(fresh)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("rb") as content, atomic_write(target) as file:
                        shutil.copyfileobj(content, file)

    @classmethod
    def restore(cls, directory: Path) -> tuple["HuggingFaceBackbone", "HuggingFaceTokenizer"]:
        """Load what `save` wrote; raise `ArtifactError` if it is not there."""
        if not directory.is_dir():  # a name that is no directory would be looked for on the hub
            raise ArtifactError(f"{directory} is missing; train the encoder again")
        try:
            return cls.load(str(directory))
        except SettingsError as error:
            raise ArtifactError(f"{directory}: {error}") from error


class HuggingFaceTokenizer:
    """A Hugging Face tokenizer, padded at the end."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Raise `SettingsError` if it has no token to pad with."""
        if tokenizer.pad_token_id is None:
            raise SettingsError("the tokenizer has no padding token; take an encoder's")
        self.tokenizer = tokenizer
        self.pad_id = int(tokenizer.pad_token_id)

    def encode(
        self, texts: Sequence[str], max_tokens: int, kind: TextKind = TextKind.QUERY
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return `token_ids (B, S)`, padded to the longest, and `lengths (B,)`; S ≤ max_tokens, longer text is cut.

        Texts of every kind are read alike, without a prefix.
        """
        if not texts:
            return np.empty((0, 0), dtype=np.int64), np.empty(0, dtype=np.int64)
        encoded = self.tokenizer(list(texts), truncation=True, max_length=max_tokens, padding=False)["input_ids"]
        lengths = np.array([len(ids) for ids in encoded], dtype=np.int64)
        token_ids = np.full((len(encoded), int(lengths.max())), self.pad_id, dtype=np.int64)
        for row, ids in enumerate(encoded):
            token_ids[row, : len(ids)] = ids
        return token_ids, lengths


def save_backbone(backbone: TextBackbone, tokenizer: TextTokenizer, directory: Path) -> None:
    """Write a Hugging Face backbone and its tokenizer; raise `SettingsError` for any others."""
    if not (isinstance(backbone, HuggingFaceBackbone) and isinstance(tokenizer, HuggingFaceTokenizer)):
        raise SettingsError(
            f"a {type(backbone).__name__} with a {type(tokenizer).__name__} cannot be saved; "
            "take a backbone and the tokenizer it was loaded with"
        )
    backbone.save(tokenizer, directory)


def positions_of(name: str) -> tuple[int, int]:
    """Return how many tokens a Hugging Face encoder reads, and its hidden size, without loading its weights.

    Raises `SettingsError` if there is no such encoder.
    """
    _need_transformers()
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise SettingsError(f"the encoder {name!r} cannot be loaded: {error}") from error
    positions = getattr(config, "max_position_embeddings", None) or sys.maxsize
    if any(family in config.model_type for family in ("roberta", "camembert")):  # they count from after the padding
        positions -= (config.pad_token_id or 0) + 1
    return positions, int(getattr(config, "hidden_size", 0))


def _need_transformers() -> None:
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"Hugging Face encoders need transformers ({error}); {install_hint('llm')}"
        ) from error
