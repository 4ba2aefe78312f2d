"""What this machine's processor can do, asked without PyTorch."""

import platform
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def int8_levels() -> int:
    """Return the largest magnitude of an int8 weight on this CPU.

    Where neighbouring products are added in 16 bits, 255 · 64 · 2 fits and 255 · 127 · 2 does not.
    """
    return 127 if has_int8_products() else 64


@cache
def has_int8_products() -> bool:
    """Return whether the CPU adds products of bytes in 32 bits; older x86 CPUs do so in 16, which can overflow.

    An x86 CPU that cannot be asked, because the system is not Linux, is taken for an older one.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    try:
        flags = next(line for line in _CPUINFO.read_text().splitlines() if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return False
    return not {"avx512_vnni", "avx_vnni", "amx_int8"}.isdisjoint(flags)
