import hashlib
import json
from pathlib import Path

import pytest

from intently.errors import ArtifactError
from intently.files import (
    MANIFEST,
    VERSION,
    open_artifact,
    read_manifest,
    sha256_of,
    write_atomically,
    write_manifest,
)


@pytest.fixture
def artifact(tmp_path) -> Path:
    (tmp_path / "part").mkdir()
    files = [tmp_path / "a.bin", tmp_path / "part" / "水壶.json"]
    files[0].write_bytes(bytes(range(256)))
    files[1].write_text('{"名": 1}', encoding="utf-8")
    (tmp_path / "unlisted").write_text("left alone")
    write_manifest(tmp_path, files, {"fingerprints": {}, "settings": {}, "facts": {"num_ads": 3}, "notes": ["灯"]})
    return tmp_path


def test_what_is_written_is_opened(artifact):
    manifest = open_artifact(artifact)
    assert manifest == read_manifest(artifact)
    assert (manifest["facts"], manifest["notes"], manifest["version"]) == ({"num_ads": 3}, ["灯"], VERSION)
    assert list(manifest["files"]) == ["a.bin", "part/水壶.json"]
    digest = hashlib.sha256(bytes(range(256))).hexdigest()
    assert manifest["files"]["a.bin"] == {"bytes": 256, "sha256": digest}
    assert not list(artifact.glob("*.partial"))
    (artifact / "unlisted").unlink()
    open_artifact(artifact)


@pytest.mark.parametrize("name", ["a.bin", "part/水壶.json"])
def test_every_damage_is_named(artifact, name):
    path = artifact / name
    content = path.read_bytes()
    for at in (0, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(ArtifactError, match=f"{name} has been altered"):
            open_artifact(artifact)
    for torn in (content[:-1], b"", content + b"\0"):
        path.write_bytes(torn)
        with pytest.raises(ArtifactError, match=f"{name} has {len(torn)} bytes instead of {len(content)}"):
            open_artifact(artifact)
    path.unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        open_artifact(artifact)
    path.mkdir()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        open_artifact(artifact)
    path.rmdir()
    path.write_bytes(content)
    open_artifact(artifact)


def test_missing_manifest(artifact):
    (artifact / MANIFEST).unlink()
    with pytest.raises(ArtifactError, match=r"manifest\.json is missing: the build did not finish"):
        open_artifact(artifact)


def test_no_directory(artifact):
    for path in (artifact / "nowhere", artifact / "a.bin"):
        with pytest.raises(ArtifactError, match=f"{path.name} is not a directory"):
            open_artifact(path)


@pytest.mark.parametrize("version", [0, VERSION + 1, "1", None])
def test_other_version(artifact, version):
    manifest = json.loads((artifact / MANIFEST).read_text()) | {"version": version}
    (artifact / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=rf"manifest\.json is of artifact version {version}, not {VERSION}"):
        open_artifact(artifact)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not valid JSON"),
        (b'{"kind": "intently eng', "is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        (b"[]", "does not describe an Intently engine"),
        (b'{"version": 1}', "does not describe an Intently engine"),
        (b'{"kind": "something else", "version": 1}', "does not describe an Intently engine"),
        (b'{"kind": "intently engine", "version": 1}', "lacks 'fingerprints'; build the engine again"),
    ],
)
def test_no_manifest(artifact, content, problem):
    (artifact / MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"manifest\.json.*{problem}"):
        open_artifact(artifact)


@pytest.mark.parametrize("key", ["fingerprints", "settings", "facts", "notes", "files"])
@pytest.mark.parametrize("change", [lambda manifest, key: manifest.pop(key), lambda m, key: m.update({key: 5})])
def test_incomplete_manifest(artifact, key, change):
    manifest = json.loads((artifact / MANIFEST).read_text())
    change(manifest, key)
    (artifact / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=rf"manifest\.json lacks '{key}'"):
        open_artifact(artifact)


def test_manifest_without_a_checksum(artifact):
    manifest = json.loads((artifact / MANIFEST).read_text())
    del manifest["files"]["a.bin"]["sha256"]
    (artifact / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"manifest\.json lacks the size and checksum of a\.bin"):
        open_artifact(artifact)


def test_writing_atomically_replaces(tmp_path):
    path = tmp_path / "text.json"
    write_atomically(path, "old, and longer")
    write_atomically(path, "新")
    assert path.read_text(encoding="utf-8") == "新"
    assert [file.name for file in tmp_path.iterdir()] == ["text.json"]
    assert sha256_of(path) == hashlib.sha256("新".encode()).hexdigest()
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text(encoding="utf-8") == "新"
