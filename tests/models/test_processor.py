import platform

import pytest
import torch

from intently.models import processor
from intently.models.processor import has_int8_products


@pytest.fixture(autouse=True)
def asked_anew():
    has_int8_products.cache_clear()
    yield
    has_int8_products.cache_clear()


def test_it_says_what_pytorch_says():
    told = torch.cpu.get_capabilities()
    expected = told["architecture"] != "x86_64" or any(
        bool(told.get(name)) for name in ("avx512_vnni", "avx_vnni", "amx_int8")
    )
    assert has_int8_products() == expected


@pytest.mark.parametrize(
    ("machine", "content", "expected"),
    [
        ("x86_64", "processor : 0\nflags\t\t: fpu avx512f avx_vnni\n", True),
        ("x86_64", "processor : 0\nflags\t\t: fpu avx2 avx512f\n", False),
        ("AMD64", "no such line\n", False),
        ("x86_64", None, False),
        ("aarch64", None, True),
    ],
)
def test_of_other_machines(monkeypatch, tmp_path, machine, content, expected):
    if content is not None:
        (tmp_path / "cpuinfo").write_text(content)
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert has_int8_products() is expected
