"""Reading a backbone's files: what is wrong with one of them is an `ArtifactError` that names it."""

import json
from dataclasses import fields
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from intently.errors import ArtifactError, SettingsError
from intently.models.backbone import Backbone, BackboneConfig
from intently.models.tokenizer import Prefixes
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


def read_prefixes(directory: Path) -> Prefixes:
    """Read what a model of a directory reads before queries and passages; nothing, if its files do not say.

    `config.json` may say so, as `query_prefix` and `passage_prefix`, or else `config_sentence_transformers.json`, as
    `prompts` named "query" and "passage" or "document".
    """
    prompts = directory / "config_sentence_transformers.json"
    for path in (directory / "config.json", prompts):
        try:
            content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            if path == prompts:
                given = content.get("prompts") or {}
                found = Prefixes(given.get("query", ""), given.get("passage", given.get("document", "")))
            else:
                found = Prefixes(content.get("query_prefix", ""), content.get("passage_prefix", ""))
        except (OSError, ValueError, AttributeError) as error:
            raise ArtifactError(f"{path} cannot be read ({error})") from error
        if not (isinstance(found.query, str) and isinstance(found.passage, str)):
            raise ArtifactError(f"{path}: prefixes are texts, but {found.query!r} and {found.passage!r} are there")
        if found != Prefixes():
            return found
    return Prefixes()


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
