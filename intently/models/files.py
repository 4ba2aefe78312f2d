"""Reading a backbone's files: what is wrong with one of them is an `ArtifactError` that names it."""

import json
from dataclasses import fields
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from intently.errors import ArtifactError, SettingsError
from intently.models.backbone import Backbone, BackboneConfig
from intently.settings import from_mapping


def read_config(path: Path) -> BackboneConfig:
    """Read the sizes of a backbone from a BERT `config.json`, which may hold more than these."""
    known = {field.name for field in fields(BackboneConfig)}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        sizes = {name: value for name, value in content.items() if name in known}
        return from_mapping(BackboneConfig, sizes, "config")
    except (OSError, ValueError, TypeError, AttributeError, SettingsError) as error:
        raise ArtifactError(f"{path} does not hold the sizes of a BERT encoder ({error})") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a `model.safetensors` file."""
    try:
        return load_file(path)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ArtifactError(f"{path} does not hold weights ({error})") from error


def fill(backbone: Backbone, weights: dict[str, Tensor], path: Path) -> Backbone:
    """Return the backbone with the weights that were read from `path`, once all of them fit."""
    for name, own in backbone.state_dict().items():
        if name not in weights:
            raise ArtifactError(f"{path} has no weight '{name}'")
        if weights[name].shape != own.shape:
            raise ArtifactError(
                f"{path}: the weight '{name}' is {tuple(weights[name].shape)}, but config.json asks for "
                f"{tuple(own.shape)}"
            )
    backbone.load_state_dict(weights, strict=False)
    return backbone
