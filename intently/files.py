"""The artifact: a directory that is complete exactly when its manifest is there, and trusted only when it agrees.

The manifest is written last and lists every file with its size and SHA-256. `open_artifact` checks all of them, so a
torn, altered or foreign artifact is refused before anything is answered from it.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intently.errors import ArtifactError

MANIFEST = "manifest.json"
VERSION = 1
_KIND = "intently engine"
_NEEDED = {"fingerprints": dict, "settings": dict, "facts": dict, "notes": list, "files": dict}


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(directory: Path, files: list[Path], facts: Mapping[str, Any]) -> None:
    """Complete the artifact: list `files` (inside `directory`) with sizes and checksums, beside `facts` about it."""
    listed = {
        path.relative_to(directory).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(files)
    }
    manifest = {"kind": _KIND, "version": VERSION, **facts, "files": listed}
    write_atomically(directory / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all, also after a power cut."""
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_arrays(path: Path, names: Iterable[str], what: str) -> dict[str, NDArray[Any]]:
    """Return the named arrays of an `.npz` file; raise `ArtifactError` saying that the file does not hold `what`."""
    try:
        # Opened here, because numpy leaves a torn file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except Exception as error:  # numpy and zipfile raise some ten kinds, depending on which bytes are wrong
        raise ArtifactError(f"{path} does not hold {what} ({error}); build the engine again") from error


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of an artifact; raise `ArtifactError` if there is no whole one of this version."""
    path = directory / MANIFEST
    if not directory.is_dir():
        raise ArtifactError(f"{directory} is not a directory; build an engine into it with `intently build`")
    if not path.is_file():
        raise ArtifactError(
            f"{path} is missing: the build did not finish; run the same `intently build` again to resume it"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ArtifactError(f"{path} is not valid JSON ({error}); build the engine again") from error
    if not isinstance(manifest, dict) or manifest.get("kind") != _KIND:
        raise ArtifactError(f"{path} does not describe an Intently engine")
    if manifest.get("version") != VERSION:
        raise ArtifactError(
            f"{path} is of artifact version {manifest.get('version')}, not {VERSION}; build the engine again"
        )
    for key, kind in _NEEDED.items():
        if not isinstance(manifest.get(key), kind):
            raise ArtifactError(f"{path} lacks '{key}'; build the engine again")
    for name, expected in manifest["files"].items():
        if not isinstance(expected, dict) or not {"bytes", "sha256"} <= expected.keys():
            raise ArtifactError(f"{path} lacks the size and checksum of {name}; build the engine again")
    return manifest


def open_artifact(directory: Path) -> dict[str, Any]:
    """Return the manifest after checking every file's size and checksum; raise `ArtifactError` naming a bad one."""
    manifest = read_manifest(directory)
    for name, expected in manifest["files"].items():
        path = directory / name
        if not path.is_file():
            raise ArtifactError(f"{path} is missing; build the engine again")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise ArtifactError(f"{path} has {size} bytes instead of {expected['bytes']}; build the engine again")
        if sha256_of(path) != expected["sha256"]:
            raise ArtifactError(f"{path} has been altered (its checksum differs); build the engine again")
    return manifest
