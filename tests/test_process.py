"""The process of a command: huge pages where the kernel gives them to those who ask, and threads that sleep."""

import ctypes
import os
import subprocess
import sys

import pytest

CODE = """
import os, sys
from pathlib import Path
from intently import process
process._ENABLED = Path(sys.argv[1])
process.prepare_process()
assert "numpy" not in sys.modules and os.environ["OPENBLAS_THREAD_TIMEOUT"] == "4"
print(os.getpid(), sys.argv[2:], os.environ.get("GLIBC_TUNABLES", ""))
"""


def run(path, tunables, *more):
    env = {
        name: value for name, value in os.environ.items() if name not in ("GLIBC_TUNABLES", "OPENBLAS_THREAD_TIMEOUT")
    }
    started = subprocess.Popen(
        [sys.executable, "-c", CODE, path, *more],
        stdout=subprocess.PIPE,
        env=env | ({"GLIBC_TUNABLES": tunables} if tunables else {}),
        text=True,
    )
    told, _ = started.communicate(timeout=60)
    assert started.returncode == 0
    pid, said = told.strip().split(" ", 1)
    return int(pid) == started.pid, said


@pytest.mark.parametrize(
    ("enabled", "before", "after"),
    [
        ("always [madvise] never", "", "glibc.malloc.hugetlb=1"),
        ("always [madvise] never", "glibc.malloc.check=0", "glibc.malloc.check=0:glibc.malloc.hugetlb=1"),
        ("always [madvise] never", "glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=0"),
        ("[always] madvise never", "", ""),
        ("always madvise [never]", "", ""),
        (None, "", ""),
    ],
)
def test_a_process_starts_anew_once_and_where_it_helps(tmp_path, enabled, before, after):
    file = tmp_path / "enabled"
    if enabled:
        file.write_text(enabled)
    words = ["--query", "扫地机器人 'quoted' "]
    is_same_process, said = run(file, before, *words)
    assert is_same_process
    assert said == f"{words} {after}".strip()


HEAPS = """
import ctypes, sys, threading
from intently.process import share_one_heap
if sys.argv[1:] == ["one"]:
    share_one_heap()
together = threading.Barrier(4)
def work():
    together.wait()
    kept = [bytes(1_000) for _ in range(1_000)]
    together.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="the C library is not glibc")
@pytest.mark.parametrize(
    ("words", "told", "is_one"), [([], {}, False), (["one"], {}, True), (["one"], {"MALLOC_ARENA_MAX": "8"}, False)]
)
def test_threads_share_one_heap(words, told, is_one):
    env = {name: value for name, value in os.environ.items() if name not in ("GLIBC_TUNABLES", "MALLOC_ARENA_MAX")}
    env |= {"PYTHONMALLOC": "malloc"} | told
    found = subprocess.run(
        [sys.executable, "-c", HEAPS, *words], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert (found.stdout.count("<heap nr=") == 1) is is_one


def test_freed_memory_is_given_back():
    """Blocks between others that stay are freed: malloc alone keeps them."""
    code = """
import re
from intently.process import give_back_memory
def held(): return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1])
blocks = [bytearray(60_000) for _ in range(4_000)]
del blocks[:-1]
before = held()
give_back_memory()
print(before - held())
"""
    if sys.platform != "linux":
        pytest.skip("only Linux tells what a process holds")
    env = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert int(told) > 50_000
