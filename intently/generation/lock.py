"""Locks of the operating system. They end with the process that holds them and leave nothing to clean up."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from intently.errors import InputError
from intently.generation.layout import LOCK, OURS, claim


@contextmanager
def build_lock(root: Path) -> Iterator[None]:
    """Claim the directory of an engine and keep all other builds out of it until the block ends.

    Raises `InputError` naming the process that builds into it already, or if the directory holds something else.
    """
    claim(root)
    descriptor = os.open(root / LOCK, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        if not try_lock(descriptor):
            holder = os.pread(descriptor, 1_000, len(OURS)).decode(errors="replace").strip("\0\n") or "another process"
            raise InputError(
                f"another build is running here: {holder}", cure="wait for it, or name another directory", path=root
            )
        # The first line never changes: however this ends, the directory stays ours.
        holder = f"process {os.getpid()}: {' '.join(sys.argv)[:500]}\n"
        os.ftruncate(descriptor, len(OURS))
        os.pwrite(descriptor, holder.encode(errors="replace"), len(OURS))
        yield
        os.ftruncate(descriptor, len(OURS))
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock an open file for this process alone; return whether nobody else holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def share(descriptor: int) -> None:
    """Lock an open file together with others, waiting for one that has it alone."""
    fcntl.flock(descriptor, fcntl.LOCK_SH)
