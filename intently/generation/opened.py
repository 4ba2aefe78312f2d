"""Opening a generation: pin it first, then check it, and use only the files that its manifest lists."""

import contextlib
import errno
import hashlib
import os
import stat
import weakref
from pathlib import Path

from intently.errors import ArtifactError
from intently.generation.layout import GENERATIONS, current_id, directory_of, is_id, nothing_here
from intently.generation.lock import share
from intently.generation.manifest import MANIFEST, Manifest, parse_manifest

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
# A name that leads nowhere, over a link, or through something other than a directory.
_NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR)
_ATTEMPTS = 20  # to pin what CURRENT says, while others publish and prune
_BLOCK_BYTES = 1 << 20


class Generation:
    """One generation, pinned: nobody prunes it before `close`, or before this object is garbage collected.

    May be used as a context manager.
    """

    def __init__(self, directory: Path, manifest: Manifest, pin: int, states: dict[str, tuple[int, ...]]) -> None:
        """`pin` is the descriptor that holds the shared lock; `states` tell the checked files from later ones."""
        self.directory, self.manifest, self._states = directory, manifest, states
        self._close = weakref.finalize(self, os.close, pin)

    @property
    def id(self) -> str:
        """The name of the generation; ids sort by time."""
        return self.manifest.id

    def __contains__(self, name: str) -> bool:
        """Return whether the manifest lists this file, or files in a directory of this name."""
        return name in self.manifest.files or any(file.startswith(f"{name}/") for file in self.manifest.files)

    def path(self, name: str) -> Path:
        """Return where a file or directory that the manifest lists lies; raise `ArtifactError` for any other."""
        if name not in self:
            raise ArtifactError(f"{self.directory / MANIFEST} does not list {name}; build the engine again")
        return self.directory / name

    def check_unlisted(self, name: str) -> None:
        """Raise `ArtifactError` for a file in the directory `name` that the manifest does not list.

        Needed where a foreign library gets the directory and chooses the files to open itself.
        """
        for path in sorted((self.directory / name).rglob("*")):
            if not path.is_dir() and path.relative_to(self.directory).as_posix() not in self.manifest.files:
                raise ArtifactError(f"{path} is not listed in the manifest; remove it")

    def check_unchanged(self) -> None:
        """Raise `ArtifactError` if a file is not the one any more whose content was checked.

        Files are opened by name after their check; this makes sure that it was the same file both times.
        """
        root = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name, before in self._states.items():
                descriptor = _open_inside(root, name, self.directory)
                try:
                    if _state(descriptor) != before:
                        raise ArtifactError(f"{self.directory / name} was changed while it was loaded; load again")
                finally:
                    os.close(descriptor)
        finally:
            os.close(root)

    def close(self) -> None:
        """Unpin the generation, so that it may be pruned."""
        self._close()

    def __enter__(self) -> "Generation":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_generation(root: Path, generation_id: str | None = None, *, verify: bool = True) -> Generation:
    """Pin the current generation of an engine, or the one of this id, and check every byte of it.

    Raises `ArtifactError` naming the file that is missing, altered, torn, a link, or of another format. Without
    `verify` it checks only the manifest.
    """
    root = Path(os.path.realpath(root))  # resolved once, because the target of a link may change
    if generation_id is not None and not is_id(generation_id):
        raise ArtifactError(f"{generation_id!r} is no id of a generation; {_LISTING}")
    for _ in range(_ATTEMPTS):
        chosen = generation_id or current_id(root)
        if chosen is None:
            raise nothing_here(root)
        directory = directory_of(root, chosen)
        if (pin := _pin(directory)) is not None:
            break
        if generation_id:
            raise ArtifactError(f"there is no generation {generation_id} in {root / GENERATIONS}; {_LISTING}")
        if current_id(root) == chosen:  # nothing was published meanwhile
            raise _no_manifest(directory) if directory.is_dir() else nothing_here(root)
    else:
        raise ArtifactError(f"{root} changes faster than it can be opened; load again")
    try:
        manifest = parse_manifest(_content(pin), directory / MANIFEST)
        if manifest.id != chosen:
            raise ArtifactError(f"{directory / MANIFEST} is that of generation {manifest.id}; build the engine again")
        states = {name: _check(directory, name, manifest) for name in manifest.files} if verify else {}
    except BaseException:
        os.close(pin)
        raise
    return Generation(directory, manifest, pin, states)


_LISTING = "see `intently generations DIR`"


def _no_manifest(directory: Path) -> ArtifactError:
    return ArtifactError(
        f"{directory / MANIFEST} is missing; roll back with `intently generations DIR --rollback`, or build again"
    )


def _pin(directory: Path) -> int | None:
    """Return a descriptor of the manifest that keeps the generation from being pruned; None if it is not there."""
    path = directory / MANIFEST
    try:
        pin = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _NO_LINKS)
    except OSError as error:
        if error.errno not in _NO_SUCH_FILE:  # such as too many open files: that says nothing of the generation
            raise
        return None
    try:
        if stat.S_ISREG(os.fstat(pin).st_mode):
            share(pin)
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(pin), os.stat(path, follow_symlinks=False)):  # noqa: PTH116
                    return pin  # not removed between opening and locking
    except BaseException:
        os.close(pin)
        raise
    os.close(pin)
    return None


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _check(directory: Path, name: str, manifest: Manifest) -> tuple[int, ...]:
    """Return the state of a file after comparing its size and checksum with the manifest's."""
    path, part, digest = directory / name, manifest.files[name], hashlib.sha256()
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        descriptor = _open_inside(root, name, directory)
    finally:
        os.close(root)
    try:
        state = _state(descriptor)
        if (size := os.fstat(descriptor).st_size) != part.bytes:
            raise ArtifactError(f"{path} has {size} bytes instead of {part.bytes}; {_REPAIR}")
        while block := os.read(descriptor, _BLOCK_BYTES):
            digest.update(block)
    finally:
        os.close(descriptor)
    if digest.hexdigest() != part.sha256:
        raise ArtifactError(f"{path} has been altered (its checksum differs); {_REPAIR}")
    return state


_REPAIR = "roll back with `intently generations DIR --rollback`, or build the engine again"


def _open_inside(root: int, name: str, directory: Path) -> int:
    """Open a regular file below a directory without following a link on the way."""
    path, current = directory / name, os.dup(root)
    try:
        *folders, last = name.split("/")
        for folder in folders:
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _NO_LINKS, dir_fd=current)
            os.close(current)
            current = inner
        descriptor = os.open(last, os.O_RDONLY | os.O_NONBLOCK | _NO_LINKS, dir_fd=current)
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; {_REPAIR}") from None
    except OSError as error:
        if error.errno not in _NO_SUCH_FILE:
            raise
        raise ArtifactError(f"{path} is no regular file ({error.strerror}); {_REPAIR}") from None
    finally:
        os.close(current)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ArtifactError(f"{path} is no regular file; {_REPAIR}")
    return descriptor


def _state(descriptor: int) -> tuple[int, ...]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
