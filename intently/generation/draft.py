"""Writing a generation and making it the current one."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intently.errors import ArtifactError
from intently.files import PARTIAL, atomic_write, fsync_directory, recorded_writes, write_text
from intently.generation.layout import GENERATIONS, directory_of, make_current, next_id, remove_leftovers
from intently.generation.manifest import MANIFEST, Manifest, Part


@dataclass(frozen=True)
class About:
    """The facts of a generation beside its files."""

    num_ads: int
    ads: str  # `digest_of_ids` of the catalog
    text_rules: int  # the version of the rules by which texts were read
    fingerprints: Mapping[str, str]
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    seq: int = 0  # the number of the last change that it contains


class Draft:
    """A generation that is being written. As a context manager it removes itself unless it was completed.

    Only one draft may be written in a directory at a time: hold `build_lock`.
    """

    def __init__(self, root: Path, about: About) -> None:
        """`root` is the directory of the engine, which must be claimed (`claim`, `build_lock`)."""
        self.root, self.about = root, about
        digest = hashlib.sha256(json.dumps([about.ads, dict(about.fingerprints)], sort_keys=True).encode()).hexdigest()
        self.id = next_id(root, digest)
        self.directory = directory_of(root, self.id + PARTIAL)
        self._parts: dict[str, Part] = {}
        remove_leftovers(root)
        self.directory.mkdir()

    def write(
        self, name: str, save: Callable[[Path], object], *, rows: int | None = None, of_ads: bool = False
    ) -> None:
        """Let `save` write a file or directory of this name; every file that it writes becomes part of the generation.

        `rows` is how many rows each of the files has. `of_ads` says that these are the ads of the catalog.
        """
        with recorded_writes() as written:
            save(self.directory / name)
        if not written:
            raise ArtifactError(f"nothing was written as {name}: its saver does not use `atomic_write`")
        for path in written:
            file = path.relative_to(self.directory).as_posix()
            self._parts[file] = Part(*_settled(path), rows, self.about.ads if of_ads else None)

    def copy(self, name: str, source: Path, *, rows: int | None = None, of_ads: bool = False) -> None:
        """Copy a file into the generation."""

        def save(path: Path) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as content, atomic_write(path) as file:
                shutil.copyfileobj(content, file, 1 << 20)

        self.write(name, save, rows=rows, of_ads=of_ads)

    def publish(self) -> str:
        """Complete the generation, make it the current one, and return its id.

        The manifest comes last, then the name, then CURRENT. If this ends early, the old generation stays current.
        """
        self.complete()
        make_current(self.root, self.id)
        return self.id

    def complete(self) -> str:
        """Give the generation its manifest and its name, but do not make it the current one; return its id."""
        about = self.about
        manifest = Manifest(
            self.id,
            about.seq,
            about.text_rules,
            about.num_ads,
            about.ads,
            about.fingerprints,
            about.settings,
            about.facts,
            about.notes,
            self._parts,
        )
        folders = {self.directory / parent for name in self._parts for parent in Path(name).parents}
        for folder in sorted(folders, reverse=True):
            fsync_directory(folder)
        write_text(self.directory / MANIFEST, manifest.dump())
        done = directory_of(self.root, self.id)
        os.rename(self.directory, done)  # noqa: PTH104
        self.directory = done
        fsync_directory(self.root / GENERATIONS)
        return self.id

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, *_: object) -> None:
        if self.directory.name.endswith(PARTIAL):
            shutil.rmtree(self.directory, ignore_errors=True)


def _settled(path: Path) -> tuple[int, str]:
    """Return size and SHA-256 of a file, read back from the disk."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return os.fstat(file.fileno()).st_size, digest
