"""Every step of publishing, rolling back, pruning and saving fails once, and once ends the process."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from faults import Faults, in_child, injected
from small import answer, publish, strays

from intently.catalog import Catalog
from intently.errors import ArtifactError
from intently.files import write_text
from intently.generation import list_generations, prune, roll_back
from intently.types import Ad

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")


def every_fault(work: Callable[[Path], object], begin: Callable[[Path], object], place: Path, kill: bool):
    """Yield, for each step of `work`, the directory after that step has failed or ended the process."""
    for at in range(1, 1_000):
        root = place / str(at)
        begin(root)
        faults = Faults(at, kill=kill)
        if kill:
            ended = in_child(lambda root=root, faults=faults: work(root), faults)
        else:
            try:
                with injected(faults):
                    work(root)
            except (OSError, ArtifactError):
                pass
            ended = not faults.happened
        yield root, ended
        shutil.rmtree(root)
        if ended:
            assert at > 5
            return
    raise AssertionError("there is no end to it")


kills = pytest.mark.parametrize("kill", [False, True], ids=["ENOSPC", "SIGKILL"])


@kills
def test_publishing_leaves_the_old_or_the_new(tmp_path, kill):
    def begin(root: Path) -> None:
        publish(root, 1)
        publish(root, 2)

    seen = []
    for root, ended in every_fault(lambda root: publish(root, 3, keep=2), begin, tmp_path, kill):
        seen.append(answer(root))
        assert ended is False or seen[-1] == 3
        publish(root, 4)
        assert answer(root) == 4
        assert not {name for name in strays(root) if "generations/" in name}
        assert all(not each.problem for each in list_generations(root))
    assert set(seen) == {2, 3}


@kills
def test_a_first_publishing_leaves_nothing_or_the_new(tmp_path, kill):
    seen = []
    for root, _ in every_fault(lambda root: publish(root, 1), lambda root: None, tmp_path, kill):
        try:
            seen.append(answer(root))
        except ArtifactError as error:
            seen.append(0)
            assert "build" in str(error)
        publish(root, 2)
        assert answer(root) == 2
        root.mkdir(exist_ok=True)
    assert set(seen) == {0, 1}


def test_a_disk_that_stays_full_leaves_the_old(tmp_path):
    for at in range(1, 40, 3):
        root = tmp_path / str(at)
        publish(root, 1)
        with pytest.raises(OSError), injected(Faults(at, lasting=True)):
            publish(root, 2)
        assert answer(root) in (1, 2)
        publish(root, 3)
        assert answer(root) == 3


@kills
def test_rolling_back_leaves_one_or_the_other(tmp_path, kill):
    def begin(root: Path) -> None:
        for version in (1, 2, 3):
            publish(root, version)

    seen = []
    for root, _ in every_fault(roll_back, begin, tmp_path, kill):
        seen.append(answer(root))
        roll_back(root)
        assert answer(root) == seen[-1] - 1
    assert set(seen) == {3, 2}


@kills
def test_pruning_leaves_the_current_one(tmp_path, kill):
    def begin(root: Path) -> None:
        for version in (1, 2, 3):
            publish(root, version)

    for root, _ in every_fault(lambda root: prune(root, 1), begin, tmp_path, kill):
        assert answer(root) == 3
        assert all(not each.problem for each in list_generations(root))
        prune(root, 1)
        assert [each.is_current for each in list_generations(root)] == [True]
        assert not strays(root)


@kills
def test_saving_leaves_the_old_or_the_new(tmp_path, kill):
    old, new = (Catalog.from_ads([Ad(f"a{number}", title)]) for number, title in enumerate(("Kettle", "水壶")))

    def begin(root: Path) -> None:
        root.mkdir()
        old.save(root / "catalog.arrow")
        write_text(root / "words.json", "old")

    def work(root: Path) -> None:
        new.save(root / "catalog.arrow")
        write_text(root / "words.json", "new")

    seen = set()
    for root, _ in every_fault(work, begin, tmp_path, kill):
        found = Catalog.load(root / "catalog.arrow").strings("title")[0], (root / "words.json").read_text()
        seen.add(found)
        assert kill or {path.name for path in root.iterdir()} == {"catalog.arrow", "words.json"}
        work(root)
        assert (root / "words.json").read_text() == "new"
    assert seen == {("Kettle", "old"), ("水壶", "old"), ("水壶", "new")}
