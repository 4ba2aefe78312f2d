"""The layout of an engine's directory, and the proof that a directory is one."""

import json
import os
import re
import shutil
import time
from pathlib import Path

from intently.errors import ArtifactError, InputError
from intently.files import PARTIAL, is_unfinished, write_text
from intently.generation.manifest import MANIFEST

CURRENT, GENERATIONS, WORK, LOCK = "CURRENT", "generations", ".build", "intently.lock"
DELETED = ".deleted"  # the end of the name of a generation that is being removed
OURS = b"intently engine\n"  # what the lock file begins with
_ID = re.compile(r"(\d{8}T\d{6}Z)-(\d{4})-[0-9a-f]{6}")
_MOST_BYTES = 200  # of CURRENT


def directory_of(root: Path, generation_id: str) -> Path:
    """Return the directory of a generation."""
    return root / GENERATIONS / generation_id


def is_id(name: str) -> bool:
    """Return whether a name is that of a complete generation."""
    return _ID.fullmatch(name) is not None


def ids_of(root: Path) -> list[str]:
    """Return the ids of all generations that were completed, oldest first."""
    try:
        names = os.listdir(root / GENERATIONS)  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(filter(is_id, names))


def next_id(root: Path, digest: str) -> str:
    """Return an id later than all others here, even if the clock went backwards; it ends with 6 digits of `digest`."""
    stamp, count = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), 0
    names = [name.removesuffix(PARTIAL).removesuffix(DELETED) for name in _names(root)]
    latest = max((found.groups() for name in names if (found := _ID.fullmatch(name))), default=("", ""))
    if latest[0] >= stamp:
        stamp, count = latest[0], int(latest[1]) + 1
    return f"{stamp}-{count:04}-{digest[:6]}"


def _names(root: Path) -> list[str]:
    return os.listdir(root / GENERATIONS) if (root / GENERATIONS).is_dir() else []  # noqa: PTH208


def current_id(root: Path) -> str | None:
    """Return the id that CURRENT holds, None without a CURRENT; raise `ArtifactError` if it holds something else."""
    path = root / CURRENT
    try:
        with path.open("rb") as file:
            line = file.read(_MOST_BYTES)
    except FileNotFoundError:
        return None
    except IsADirectoryError as error:
        raise ArtifactError(f"{path} is a directory; {_point_again(root)}") from error
    name = line.decode(errors="replace").removesuffix("\n")
    if not is_id(name):
        raise ArtifactError(f"{path} holds {name[:50]!r}, which is no id of a generation; {_point_again(root)}")
    return name


def make_current(root: Path, generation_id: str) -> None:
    """Let the next readers load this generation."""
    write_text(root / CURRENT, generation_id + "\n")


def nothing_here(root: Path) -> ArtifactError:
    """Return the error of a directory whose CURRENT does not lead to a generation, with the cure."""
    if not root.is_dir():
        return ArtifactError(f"{root} is not a directory; build an engine into it with `intently build`")
    if is_old(root):
        return ArtifactError(f"{root} holds an engine of a layout before generations; {OLD_CURE}")
    if ids_of(root):
        return ArtifactError(f"{root / CURRENT} does not lead to a generation; {_point_again(root)}")
    if (root / WORK).is_dir():
        return ArtifactError(
            f"{root / CURRENT} is missing: the build did not finish; run the same `intently build` again to resume it"
        )
    return ArtifactError(f"{root / CURRENT} is missing: this is no engine; build one with `intently build`")


OLD_CURE = (
    "build it again into a new directory with `intently build --out NEW` (it is trained anew, as the text rules have "
    "changed), then delete this one"
)


def _point_again(root: Path) -> str:
    if ids_of(root):
        return f"choose a generation with `intently generations {root} --rollback`, or build the engine again"
    return "build the engine again"


def is_old(root: Path) -> bool:
    """Return whether a directory holds an engine of the layout before generations."""
    try:
        told = json.loads((root / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("kind") == "intently engine"


def claim(root: Path) -> None:
    """Make a directory that of an engine; raise `InputError` unless it is new, empty, or proved to be one already.

    Call this before writing or removing anything in it.
    """
    if root.exists() and not root.is_dir():
        raise InputError("is a file", cure="name a directory for the engine", path=root)
    if is_old(root):
        raise InputError("holds an engine of a layout before generations", cure=OLD_CURE, path=root)
    if root.is_dir() and not _is_ours(root):
        raise InputError("holds files that are not an Intently engine", cure="name a new or empty directory", path=root)
    root.mkdir(parents=True, exist_ok=True)
    lock = root / LOCK
    if not lock.is_file() or not lock.read_bytes().startswith(OURS):
        write_text(lock, OURS.decode())
    (root / GENERATIONS).mkdir(exist_ok=True)


def _is_ours(root: Path) -> bool:
    """Return whether a directory is empty, or holds files that only an engine holds.

    A build that died while it created the directory leaves nothing but a lock file, which may be torn.
    """
    names = [name for name in os.listdir(root) if not is_unfinished(Path(name), LOCK)]  # noqa: PTH208
    if not names:
        return True
    lock = root / LOCK
    if lock.is_file() and not lock.is_symlink():
        with lock.open("rb") as file:
            start = file.read(len(OURS))
        if start == OURS or (names == [LOCK] and OURS.startswith(start.rstrip(b"\0"))):
            return True
    if (root / GENERATIONS).is_symlink():
        return False
    return any((directory_of(root, each) / MANIFEST).is_file() for each in ids_of(root))


def remove_leftovers(root: Path) -> None:
    """Remove half-written files and directories of builds that died; `root` must be locked."""
    for path in (root / GENERATIONS).glob(f"*{PARTIAL}"):
        if is_id(path.name.removesuffix(PARTIAL)) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
    for path in root.glob(f".*{PARTIAL}"):
        if is_unfinished(path, CURRENT) or is_unfinished(path, LOCK):
            path.unlink(missing_ok=True)
