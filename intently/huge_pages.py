"""Huge pages for what models work in.

A query makes a model read tens of megabytes, a training step touches gigabytes. In pages of 4 KB a processor spends a
good part of that on finding the pages: half of it, measured on a virtual machine. Most kernels give pages of 2 MB to
those who ask, and glibc's malloc asks if the environment says so before a process starts.
"""

import os
import sys
from pathlib import Path

_TUNABLE = "glibc.malloc.hugetlb"
_ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_huge_pages() -> None:
    """Start this process anew with huge pages, where that changes anything; it keeps its id. Cost: 0.06 s, once.

    Nothing happens if the kernel gives huge pages to everybody or to nobody, or if the environment has decided:
    GLIBC_TUNABLES=glibc.malloc.hugetlb=0 forbids them. Another C library ignores the variable.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if _TUNABLE in tunables or not _are_given_on_request():
        return
    os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (tunables, f"{_TUNABLE}=1")))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _are_given_on_request() -> bool:
    try:
        return "[madvise]" in _ENABLED.read_text(encoding="ascii")
    except OSError:  # not Linux
        return False
