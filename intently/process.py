"""What the process of a command is like: its memory in huge pages, and no thread that waits at full speed.

A query makes a model read tens of megabytes, a training step touches gigabytes. In pages of 4 KB a processor spends a
good part of that on finding the pages: half of it, measured on a virtual machine. Most kernels give pages of 2 MB to
those who ask, and glibc's malloc asks if the environment says so before a process starts.

The threads of a service take turns at large arrays. If each has a heap of its own, as glibc gives it, then what one has
freed is of no use to the next: answers take longer, and memory grows by the number of heaps.

NumPy's OpenBLAS has threads that spin for some 30 ms after each product in which they helped: on two cores, twenty
queries a second kept one of them busy with nothing. Told so, they sleep at once.
"""

import ctypes
import os
import sys
from pathlib import Path

_TUNABLE = "glibc.malloc.hugetlb"
_ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_M_ARENA_MAX = -8  # of glibc's mallopt


def prepare_process() -> None:
    """Set what NumPy reads when it is imported, and start this process anew, with its id, where huge pages need that.

    It does not start anew if the kernel gives huge pages to everybody or to nobody, or if the environment has decided:
    GLIBC_TUNABLES=glibc.malloc.hugetlb=0 forbids them. Another C library ignores the variable. Cost: 0.06 s, once.
    """
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # 2^4 cycles, the least that it takes
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if _TUNABLE in tunables or not _are_given_on_request():
        return
    os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (tunables, f"{_TUNABLE}=1")))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def share_one_heap() -> None:
    """Let all threads of this process take memory from one heap, unless the environment says how many there may be.

    Heaps that threads have already remain. Another C library than glibc is left as it is.
    """
    told = "arena_max" in os.environ.get("GLIBC_TUNABLES", "") or "MALLOC_ARENA_MAX" in os.environ
    if sys.platform == "linux" and not told and hasattr(libc := ctypes.CDLL(None), "gnu_get_libc_version"):
        libc.mallopt(_M_ARENA_MAX, 1)


def give_back_memory() -> None:
    """Give freed memory back to the system, as glibc's malloc does not by itself; do nothing with another C library.

    Threads that allocate leave a part of every engine that was replaced in arenas of their own: after 20 generations a
    service held 500 MB instead of 200. Cost: some milliseconds, in which Python runs on.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _are_given_on_request() -> bool:
    try:
        return "[madvise]" in _ENABLED.read_text(encoding="ascii")
    except OSError:  # not Linux
        return False
