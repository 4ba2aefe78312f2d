"""Which devices there are, and which precision suits which."""

import contextlib
import os
from contextlib import AbstractContextManager

import torch

from intently.errors import SettingsError


def check_device(settings: object, name: str = "device") -> None:
    """Raise `SettingsError` unless the named setting is the name of a device, whether this machine has it or not."""
    value = getattr(settings, name)
    try:
        torch.device(value)
    except (RuntimeError, TypeError) as error:
        raise SettingsError(f"'{name}' is {value!r}; it takes a device such as 'cpu', 'cuda' or 'cuda:1'") from error


def require_device(device: str, place: str) -> None:
    """Raise `SettingsError`, naming the setting `place`, unless PyTorch computes on this device of this machine."""
    try:
        torch.ones(1, device=device).sum().item()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise SettingsError(
            f"'{place}' is '{device}', which PyTorch cannot use on this machine ({reason}); "
            "set it to 'cpu', or install a PyTorch that is made for it"
        ) from error


# What oneDNN may be limited to (ONEDNN_MAX_CPU_ISA) that has no bfloat16 products; from AVX512_CORE_BF16 on all have.
_WITHOUT_BF16 = frozenset(["SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"])


def has_fast_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 natively (recent x86 servers and GPUs do; AVX2 CPUs do not)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and _cpu_has_bf16_instructions()
    return False


def _cpu_has_bf16_instructions() -> bool:
    # oneDNN "supports" bf16 on any AVX-512 machine by emulation, which is slower than float32. It emulates too when it
    # is told to use less than the CPU has, which is also how this machine can be made to behave like a plainer one.
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _WITHOUT_BF16:
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16", False) or capabilities.get("amx_bf16", False))


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which matrix products run in bfloat16 where that is fast, and nothing changes elsewhere."""
    if has_fast_bf16(device):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
