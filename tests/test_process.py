"""The process of a command: huge pages where the kernel gives them to those who ask, and threads that sleep."""

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
