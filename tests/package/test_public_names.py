"""`import intently` gives every public name, quickly and without PyTorch."""

import subprocess
import sys

import pytest

import intently


def in_a_new_process(code: str) -> str:
    ended = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_no_model_is_imported_before_it_is_used():
    code = "from intently import Ad, Delete, Patch, Put, Request, UserContext, build; import intently, sys; "
    heavy = ("torch", "numpy", "onnxruntime", "tokenizers", "pyarrow")
    assert in_a_new_process(code + f"print([name for name in {heavy} if name in sys.modules])") == "[]"


def test_importing_takes_less_than_half_a_second():
    code = "import time; start = time.process_time(); import intently; print(time.process_time() - start)"
    assert min(float(in_a_new_process(code)) for _ in range(2)) < 0.5


def test_the_package_is_silent_until_logging_is_configured():
    code = "import intently, logging; logging.getLogger('intently.engine.engine').error('unheard')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (ended.stdout, ended.stderr) == ("", "")


def test_build_is_always_the_module_whatever_was_imported_first():
    pytest.importorskip("torch")
    assert in_a_new_process("import intently; print(intently.build.build_engine.__name__)") == "build_engine"
    code = "import intently.build.pipeline as p; from intently import build, build_engine; "
    assert in_a_new_process(code + "print(build.build_engine is build_engine is p.build_engine)") == "True"


def test_every_public_name_is_there_and_listed():
    pytest.importorskip("torch")
    assert all(getattr(intently, name) is not None for name in intently.__all__)
    assert all(getattr(intently.build, name) is not None for name in intently.build.__all__)
    assert set(intently.__all__) <= set(dir(intently))
    with pytest.raises(AttributeError, match="module 'intently' has no attribute 'Engin'"):
        _ = intently.Engin
