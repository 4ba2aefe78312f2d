"""Reading a backbone's files: what is wrong with one of them is an `ArtifactError` that names it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from intently.arrays import Float32Array
from intently.errors import ArtifactError
from intently.models.tokenizer import Prefixes


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


def map_weights(path: Path) -> dict[str, Float32Array]:
    """Map the arrays of a `model.safetensors` file of float32 weights: what nobody looks at stays on disk."""
    try:
        with safe_open(path, framework="numpy") as checked:  # its header fits the file, or this raises
            names = list(checked.keys())
        whole = np.asarray(np.memmap(path, mode="r"))
        start = 8 + int(whole[:8].view("<u8")[0])
        header = json.loads(whole[8:start].tobytes())
        return {name: _array(whole[start:], name, header[name]) for name in names}
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ArtifactError(f"{path} does not hold weights ({error})") from error


def _array(content: NDArray[np.uint8], name: str, told: Mapping[str, Any]) -> Float32Array:
    if told["dtype"] != "F32":
        raise ValueError(f"'{name}' is {told['dtype']}, and F32 is needed")
    begin, end = told["data_offsets"]
    array: Float32Array = content[begin:end].view("<f4").reshape(told["shape"])
    return array
