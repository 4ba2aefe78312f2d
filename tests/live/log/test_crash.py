"""A short run of benchmarks/crash.py: processes are killed while they change ads, compact and back up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.small_engine import make_engine, save

CRASH = Path(__file__).parents[3] / "benchmarks" / "crash.py"


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_nothing_acknowledged_is_lost(make_student, tmp_path, kind, request):
    save(make_engine(make_student(3)), tmp_path)
    place = ["--log", request.getfixturevalue("postgres")] if kind == "postgres" else []
    command = [sys.executable, str(CRASH), str(tmp_path), "--kills", "10", "--seed", "5", *place]
    root = str(CRASH.parents[1])
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(ran.stdout)
    assert told["kills"] == 10
    assert told["acknowledged"] > 50
    assert told["changes"] > 100
