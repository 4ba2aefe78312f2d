"""A shim that lets the n-th step by which files are changed fail, or end the process."""

import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STEPS = ("open", "replace", "rename", "fsync", "mkdir", "unlink", "rmdir")


class Faults:
    """Counts opens, writes, replaces, renames, fsyncs and the like; the `at`-th of them fails, or all from there on."""

    def __init__(self, at: int, *, kill: bool = False, lasting: bool = False) -> None:
        self.at, self.kill, self.lasting, self.count = at, kill, lasting, 0
        self.kinds: list[str] = []

    def step(self, kind: str) -> None:
        self.count += 1
        self.kinds.append(kind)
        if self.count == self.at or (self.lasting and self.count > self.at and kind in ("open", "write", "fsync")):
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @property
    def happened(self) -> bool:
        return self.count >= self.at


class _Writer(io.RawIOBase):
    """A file whose writes are counted; half of what is written when it fails is on disk, as on a disk that is full."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self._file, self._faults = file, faults

    def write(self, content: Any) -> int:
        content = bytes(memoryview(content).cast("B")) if not isinstance(content, bytes) else content
        try:
            self._faults.step("write")
        except OSError:
            self._file.write(content[: len(content) // 2])
            self._file.flush()
            raise
        self._file.write(content)
        self._file.flush()
        return len(content)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, *where: int) -> int:
        return self._file.seek(*where)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def injected(faults: Faults) -> Iterator[Faults]:
    """Let the faults happen inside the block."""
    originals = {name: getattr(os, name) for name in STEPS}
    fdopen, open_by_name = os.fdopen, io.open

    def counted(name: str) -> Callable[..., Any]:
        def step(*given: Any, **named: Any) -> Any:
            faults.step(name)
            return originals[name](*given, **named)

        return step

    def writer(descriptor: int, mode: str = "r", *given: Any, **named: Any) -> Any:
        file = fdopen(descriptor, mode, *given, **named)
        return _Writer(file, faults) if "w" in mode else file

    def by_name(*given: Any, **named: Any) -> Any:
        faults.step("open")
        return open_by_name(*given, **named)

    try:
        for name in STEPS:
            setattr(os, name, counted(name))
        os.fdopen, io.open = writer, by_name
        yield faults
    finally:
        for name, original in originals.items():
            setattr(os, name, original)
        os.fdopen, io.open = fdopen, open_by_name


def in_child(work: Callable[[], object], faults: Faults) -> bool:
    """Run `work` in a process of its own with the faults; return whether that came to its end."""
    child = os.fork()
    if not child:
        try:
            with injected(faults):
                work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFEXITED(status)
