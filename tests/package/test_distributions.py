"""Wheel and sdist hold everything that the package reads when it runs, and nothing of this checkout's surroundings."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> Path:
    if find_spec("hatchling") is None:
        pytest.skip("needs: pip install -c constraints.txt hatchling")
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    out = tmp_path_factory.mktemp("distributions")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return out


def package_files() -> set[str]:
    listed = subprocess.run(["git", "ls-files", "-z", "intently"], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}


def test_the_wheel_holds_every_file_of_the_package_and_no_other(distributions):
    (path,) = distributions.glob("*.whl")
    names = set(zipfile.ZipFile(path).namelist())
    files = package_files()
    assert "intently/py.typed" in files and "intently/build/knowledge/handwritten.jsonl" in files
    assert sum(name.startswith("intently/lab/world/verticals/") for name in files) >= 70
    assert not files - names, sorted(files - names)
    outside = {name for name in names if not name.startswith("intently/")}
    assert all(name.startswith("intently-0.1.0.dist-info/") for name in outside), sorted(outside)


def test_the_sdist_holds_the_package_its_tests_and_pages(distributions):
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "constraints.txt", "Makefile", "README.md", "LICENSE", "CHANGELOG.md"}
    wanted |= package_files() | {"tests/conftest.py", "docs/data-model.md", "examples/targeting.py"}
    assert wanted <= names, sorted(wanted - names)
    assert not any(name.startswith((".git/", ".ci/", ".venv/")) for name in names)


def test_what_the_wheel_says_of_itself(distributions):
    (path,) = distributions.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        told = Parser().parsestr(wheel.read("intently-0.1.0.dist-info/METADATA").decode())
    assert told["Requires-Python"] == ">=3.11" and told["License-Expression"] == "Apache-2.0"
    assert "Typing :: Typed" in told.get_all("Classifier")
    assert not any("file:" in line for line in told.get_all("Requires-Dist"))


def test_every_requirement_has_a_range_and_every_one_is_pinned_for_make():
    packaging = pytest.importorskip("packaging.requirements")
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {
        name.lower().replace("_", "-"): version
        for name, _, version in (line.partition("==") for line in lines if not line.startswith("#"))
    }
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = content["project"]
    groups = [project["dependencies"], content["build-system"]["requires"], *project["optional-dependencies"].values()]
    for line in (line for group in groups for line in group if not line.startswith("intently[")):
        requirement = packaging.Requirement(line)
        assert {one.operator for one in requirement.specifier} == {">=", "<"}, line
        assert requirement.specifier.contains(pins[requirement.name.lower().replace("_", "-")]), line
