"""The manifest of a generation: its files, the ads that they were made for, and the settings that decided them."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from typing import Any

from intently.errors import ArtifactError

MANIFEST = "manifest.json"
FORMAT = 2  # of manifest and files; 1 had no generations
_KIND = "intently generation"


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a generation."""

    bytes: int
    sha256: str
    rows: int | None = None  # of files that have rows
    ads: str | None = None  # the digest of the ad ids that it was made for, if it depends on them


@dataclass(frozen=True)
class Manifest:
    """Everything that is known of a generation before its files are read."""

    id: str
    seq: int  # the number of the last change that it contains
    text_rules: int  # the version of the rules by which texts were read
    num_ads: int
    ads: str  # the digest of the catalog's ad ids
    fingerprints: Mapping[str, str]
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    notes: tuple[str, ...]
    files: Mapping[str, Part]

    def dump(self) -> str:
        """Return the manifest as JSON that carries its own checksum."""
        told = {"kind": _KIND, "format": FORMAT, **_plain(self)}
        told = json.loads(json.dumps(told, ensure_ascii=False))  # keys as JSON knows them, before they are hashed
        return _dump({**told, "checksum": _checksum(told)})


def parse_manifest(text: bytes, place: object) -> Manifest:
    """Return the manifest that `text` holds; raise `ArtifactError` naming `place` if a byte of it is wrong."""
    try:
        told = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{place} is not valid JSON ({error}); {_CURE}") from error
    if not isinstance(told, dict) or told.get("kind") != _KIND:
        raise ArtifactError(f"{place} does not describe a generation of an Intently engine; {_CURE}")
    if told.get("format") != FORMAT:
        raise ArtifactError(f"{place} is of format {told.get('format')}, not {FORMAT}; build the engine again")
    checksum = told.pop("checksum", None)
    # Not a byte may differ from what would be written again: blanks and doubled keys are seen as well.
    if checksum != _checksum(told) or _dump({**told, "checksum": checksum}) != text.decode():
        raise ArtifactError(f"{place} has been altered (its checksum differs); {_CURE}")
    return _manifest(told, place)


def digest_of_ids(ad_ids: Iterable[str]) -> str:
    """Return a digest of ad ids in their order."""
    digest = hashlib.sha256()
    for ad_id in ad_ids:
        own = ad_id.encode()
        digest.update(b"%d:" % len(own) + own)
    return digest.hexdigest()


_CURE = "roll back with `intently generations DIR --rollback`, or build the engine again"
_KINDS: dict[str, type | tuple[type, ...]] = {
    "id": str, "seq": int, "text_rules": int, "num_ads": int, "ads": str,
    "fingerprints": dict, "settings": dict, "facts": dict, "notes": list, "files": dict,
}  # fmt: skip


def _manifest(told: dict[str, Any], place: object) -> Manifest:
    for key, kind in _KINDS.items():
        if not isinstance(told.get(key), kind) or isinstance(told[key], bool):
            raise ArtifactError(f"{place} lacks '{key}'; {_CURE}")
    parts = {}
    for name, file in told["files"].items():
        if not _is_inside(name):
            raise ArtifactError(f"{place} lists {name!r}, which is not a file inside the generation; {_CURE}")
        try:
            part = Part(**file)
            if not isinstance(part.bytes, int) or not isinstance(part.sha256, str):
                raise TypeError("of another kind")
        except TypeError as error:
            raise ArtifactError(f"{place} lacks the size and checksum of {name}; {_CURE}") from error
        if part.ads is not None and (part.ads, part.rows) != (told["ads"], told["num_ads"]):
            raise ArtifactError(f"{place}: {name} was made for other ads than the catalog's; build the engine again")
        parts[name] = part
    return Manifest(**{key: told[key] for key in _KINDS} | {"files": parts, "notes": tuple(told["notes"])})


def _is_inside(name: str) -> bool:
    """Return whether a name is a plain relative path that stays below the directory it is relative to."""
    path = PurePosixPath(name)
    plain = name == path.as_posix() and not path.is_absolute() and ".." not in path.parts
    return plain and name not in ("", ".", MANIFEST) and not {"\\", "\0"} & set(name)


def _plain(manifest: Manifest) -> dict[str, Any]:
    told = {field.name: getattr(manifest, field.name) for field in fields(manifest)}
    told["files"] = {
        name: {key: value for key, value in asdict(part).items() if value is not None}
        for name, part in sorted(manifest.files.items())
    }
    return told


def _checksum(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _dump(told: Mapping[str, Any]) -> str:
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"
