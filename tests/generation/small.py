"""Generations of two small files, each of which says which version it is of."""

import json
from pathlib import Path

from intently.files import atomic_write, write_text
from intently.generation import MANIFEST, About, Draft, Generation, build_lock, open_generation, prune

SIZE = 5_000


def about(version: int, **changed: object) -> About:
    return About(**{"num_ads": 3, "ads": "d" * 64, "text_rules": 1, "fingerprints": {"artifact": str(version)},
                    "settings": {"version": version}, "facts": {"num_ads": 3}} | changed)  # fmt: skip


def write(draft: Draft, version: int) -> None:
    def table(path: Path) -> None:
        with atomic_write(path) as file:
            file.write(bytes([version]) * SIZE)
            file.write(bytes([version]) * SIZE)

    def part(directory: Path) -> None:
        directory.mkdir()
        write_text(directory / "words.json", json.dumps({"version": version, "word": "水壶"}))

    draft.write("table.bin", table, rows=3, of_ads=True)
    draft.write("part", part)


def publish(root: Path, version: int, keep: int = 3) -> str:
    with build_lock(root):
        with Draft(root, about(version)) as draft:
            write(draft, version)
            draft.publish()
        prune(root, keep)
    return draft.id


def answer_of(generation: Generation) -> int:
    """Return the version that all parts of a generation agree on."""
    table = set(generation.path("table.bin").read_bytes())
    words = json.loads((generation.path("part") / "words.json").read_text(encoding="utf-8"))
    versions = table | {words["version"], generation.manifest.settings["version"]}
    assert len(versions) == 1, f"a mixture of {versions}"
    return versions.pop()


def answer(root: Path, generation_id: str | None = None) -> int:
    with open_generation(root, generation_id) as generation:
        found = answer_of(generation)
        generation.check_unchanged()
    return found


def strays(root: Path) -> set[str]:
    """Return the names of files that are no part of a whole generation."""
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    for directory in (root / "generations").iterdir():
        manifest = directory / MANIFEST
        listed = json.loads(manifest.read_text())["files"] if manifest.is_file() else ()
        found -= {f"generations/{directory.name}/{name}" for name in (MANIFEST, *listed)}
    return found - {"CURRENT", "intently.lock"}
