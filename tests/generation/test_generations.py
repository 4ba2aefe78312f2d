"""Generations as readers, builds and operators meet them."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from small import about, answer, answer_of, publish, strays, write

from intently.errors import ArtifactError, InputError
from intently.files import write_text
from intently.generation import (
    MANIFEST,
    Draft,
    build_lock,
    current_id,
    digest_of_ids,
    layout,
    list_generations,
    open_generation,
    prune,
    roll_back,
)
from intently.generation.manifest import parse_manifest


@pytest.fixture
def root(tmp_path) -> Path:
    """An engine of two generations."""
    root = tmp_path / "engine"
    publish(root, 1)
    publish(root, 2)
    return root


def directory(root: Path) -> Path:
    return root / "generations" / str(current_id(root))


def rewrite(root: Path, change) -> None:
    """Change what the current manifest says and give it a right checksum."""
    path = directory(root) / MANIFEST
    manifest = parse_manifest(path.read_bytes(), path)
    told = json.loads(manifest.dump())
    change(told)
    del told["checksum"]
    from intently.generation.manifest import _checksum, _dump

    path.write_text(_dump({**told, "checksum": _checksum(told)}), encoding="utf-8")


def test_ids_sort_by_time_even_if_the_clock_goes_backwards(tmp_path, monkeypatch):
    times = iter([1_000_000_000, 1_000_000_000, 1_000_000_000 - 3600, 1_000_000_001])
    gmtime = layout.time.gmtime
    monkeypatch.setattr(layout.time, "gmtime", lambda: gmtime(next(times)))
    ids = [publish(tmp_path, version, keep=9) for version in (1, 2, 3, 4)]
    assert ids == sorted(set(ids))
    assert current_id(tmp_path) == ids[-1]
    assert [answer(tmp_path, each) for each in ids] == [1, 2, 3, 4]


def test_what_is_published_is_listed_and_nothing_else_is_there(root):
    new, old = list_generations(root)
    assert (new.is_current, old.is_current, new.is_pinned, old.is_pinned) == (True, False, False, False)
    assert new.bytes > 10_000
    assert new.facts == {"num_ads": 3}
    assert not strays(root)
    manifest = json.loads((directory(root) / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["files"]["table.bin"] | {"sha256": ""} == {
        "bytes": 10_000, "sha256": "", "rows": 3, "ads": "d" * 64,
    }  # fmt: skip
    assert set(manifest["files"]) == {"table.bin", "part/words.json"}


def test_every_changed_byte_of_the_manifest_is_seen(root):
    path = directory(root) / MANIFEST
    content = path.read_bytes()
    for at in range(len(content)):
        for bit in (1, 32):
            path.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
            with pytest.raises(ArtifactError, match=r"manifest\.json"):
                open_generation(root)
    for torn in (
        b"",
        content[:-1],
        content[: len(content) // 2],
        bytes(len(content)),
        content + b"\0",
        content + b"\n",
    ):
        path.write_bytes(torn)
        with pytest.raises(ArtifactError, match=r"manifest\.json"):
            open_generation(root)


@pytest.mark.parametrize("name", ["table.bin", "part/words.json"])
def test_every_damage_is_named(root, name):
    path = directory(root) / name
    content = path.read_bytes()
    for at in (0, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(ArtifactError, match=f"{name} has been altered"):
            open_generation(root)
    for torn in (content[:-1], b"", content + b"\0"):
        path.write_bytes(torn)
        with pytest.raises(ArtifactError, match=f"{name} has {len(torn)} bytes instead of {len(content)}"):
            open_generation(root)
    path.unlink()
    with pytest.raises(ArtifactError, match=f"{name} is missing"):
        open_generation(root)
    for make in (
        path.mkdir,
        lambda: (path.rmdir(), path.symlink_to(__file__)),
        lambda: (path.unlink(), os.mkfifo(path)),
    ):
        make()
        with pytest.raises(ArtifactError, match=f"{name} is no regular file"):
            open_generation(root)
    path.unlink()
    path.write_bytes(content)
    assert answer(root) == 2


def test_a_link_on_the_way_to_a_file_is_refused(root, tmp_path):
    part = directory(root) / "part"
    part.rename(tmp_path / "part")
    part.symlink_to(tmp_path / "part")
    with pytest.raises(ArtifactError, match=r"part/words\.json is no regular file"):
        open_generation(root)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", ".", "a//b", "./a", "a/", MANIFEST, "a\\b"])
def test_a_manifest_that_leads_out_of_its_directory_is_refused(root, name):
    rewrite(root, lambda told: told["files"].update({name: {"bytes": 1, "sha256": "0" * 64}}))
    with pytest.raises(ArtifactError, match="not a file inside the generation"):
        open_generation(root)


def test_a_device_is_refused(root):
    rewrite(root, lambda told: told["files"].update({"null": {"bytes": 0, "sha256": "0" * 64}}))
    (directory(root) / "null").symlink_to("/dev/null")
    with pytest.raises(ArtifactError, match="null is no regular file"):
        open_generation(root)


@pytest.mark.parametrize("change", [{"ads": "e" * 64}, {"rows": 4}])
def test_parts_of_other_ads_are_refused(root, change):
    rewrite(root, lambda told: told["files"]["table.bin"].update(change))
    with pytest.raises(ArtifactError, match=r"table\.bin was made for other ads"):
        open_generation(root)


@pytest.mark.parametrize("key", ["id", "seq", "text_rules", "num_ads", "ads", "fingerprints", "settings", "files"])
def test_a_manifest_that_lacks_something_is_refused(root, key):
    rewrite(root, lambda told: told.pop(key))
    with pytest.raises(ArtifactError, match=f"lacks '{key}'"):
        open_generation(root)


def test_a_generation_under_another_name_is_refused(root):
    old, new = sorted(path.name for path in (root / "generations").iterdir())
    (root / "generations" / new).rename(root / "generations" / "x")
    (root / "generations" / old).rename(root / "generations" / new)
    with pytest.raises(ArtifactError, match=f"is that of generation {old}"):
        open_generation(root)


def test_stray_files_are_never_used(root):
    for name in ("cache.bin", "fusion.json", "part/more.json", ".table.bin.0123abcd.partial"):
        (directory(root) / name).write_bytes(b"\0")
    with open_generation(root) as generation:
        assert "cache.bin" not in generation
        assert "part" in generation
        with pytest.raises(ArtifactError, match=r"does not list cache\.bin"):
            generation.path("cache.bin")
        with pytest.raises(ArtifactError, match=r"more\.json is not listed in the manifest; remove it"):
            generation.check_unlisted("part")
    assert answer(root) == 2


def test_a_file_that_changes_between_check_and_use_is_seen(root, tmp_path):
    with open_generation(root) as generation:
        generation.check_unchanged()
        path = directory(root) / "table.bin"
        other = tmp_path / "other"
        other.write_bytes(path.read_bytes())  # the same content, and yet another file
        other.replace(path)
        with pytest.raises(ArtifactError, match=r"table\.bin was changed while it was loaded"):
            generation.check_unchanged()


@pytest.mark.parametrize("content", ["20260101T000000Z-0000-abcdef\n", "", "\0" * 30, "../x\n", "a\nb\n", None])
def test_current_that_leads_nowhere_names_the_cure_and_is_rolled_back(root, content):
    (root / "CURRENT").unlink()
    if content is not None:
        (root / "CURRENT").write_text(content)
    with pytest.raises(ArtifactError, match=r"CURRENT.*--rollback"):
        open_generation(root)
    assert not any(each.is_current for each in list_generations(root))
    roll_back(root)
    assert answer(root) == 2
    publish(root, 3)
    assert answer(root) == 3


def test_a_damaged_generation_is_rolled_back_over_and_built_over(root):
    publish(root, 3)
    (directory(root) / "table.bin").write_bytes(b"")
    (sorted((root / "generations").iterdir())[1] / "part" / "words.json").unlink()
    assert roll_back(root) == min(path.name for path in (root / "generations").iterdir())
    assert answer(root) == 1
    with pytest.raises(ArtifactError, match="no whole generation to roll back to"):
        roll_back(root)
    with pytest.raises(ArtifactError, match=r"table\.bin has 0 bytes"):
        roll_back(root, max(path.name for path in (root / "generations").iterdir()))
    assert answer(root) == 1


def test_rolling_back_and_forth(root):
    new = current_id(root)
    old = roll_back(root)
    assert (answer(root), answer(root, new)) == (1, 2)
    assert roll_back(root, new) == new
    assert answer(root) == 2
    for wrong in ("nope", "20260101T000000Z-0000-abcdef", "../x"):
        with pytest.raises(ArtifactError, match="generation"):
            roll_back(root, wrong)
    assert {old, new} == {each.id for each in list_generations(root)}


def test_pruning_keeps_the_newest_the_current_and_the_pinned(tmp_path):
    ids = [publish(tmp_path, version, keep=9) for version in range(1, 7)]
    roll_back(tmp_path, ids[1])
    pinned = open_generation(tmp_path, ids[2])
    assert {each.id for each in list_generations(tmp_path) if each.is_pinned} == {ids[2]}
    assert prune(tmp_path, 2) == [ids[0], ids[3]]
    assert answer(tmp_path) == 2
    assert answer_of(pinned) == 3
    pinned.close()
    pinned.close()
    assert prune(tmp_path, 2) == [ids[2]]
    dropped = open_generation(tmp_path, ids[4])
    roll_back(tmp_path, ids[5])
    del dropped  # nobody refers to it any more
    assert prune(tmp_path, 1) == [ids[1], ids[4]]
    with pytest.raises(InputError, match="keep at least 1"):
        prune(tmp_path, 0)
    assert not strays(tmp_path)


def test_nothing_is_pruned_without_a_current_one(root):
    (root / "CURRENT").unlink()
    assert prune(root, 1) == []
    assert len(list_generations(root)) == 2


def test_leftovers_of_a_dead_build_are_removed_by_the_next(root):
    left = root / "generations" / "20200101T000000Z-0000-abcdef.partial"
    left.mkdir()
    (left / "table.bin").write_bytes(b"half")
    (root / ".CURRENT.0123abcd.partial").write_text("half")
    assert answer(root) == 2
    assert len(list_generations(root)) == 2
    publish(root, 3)
    assert not strays(root)
    assert answer(root) == 3


def test_a_draft_that_is_given_up_leaves_nothing(root):
    with pytest.raises(KeyboardInterrupt), build_lock(root), Draft(root, about(3)) as draft:
        write(draft, 3)
        raise KeyboardInterrupt
    assert answer(root) == 2
    assert not strays(root)
    with pytest.raises(ArtifactError, match="nothing was written"), build_lock(root), Draft(root, about(3)) as draft:
        draft.write("x.bin", lambda path: path.write_bytes(b"x"))


def test_two_builds_at_once_are_refused_naming_the_first(root):
    code = "import sys; from pathlib import Path; from intently.generation import build_lock\n"
    code += "with build_lock(Path(sys.argv[1])):\n print('locked', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match=f"another build is running here: process {child.pid}"):
            publish(root, 3)
        assert answer(root) == 2  # which is read meanwhile
        assert roll_back(root)  # and rolled back
        child.kill()
    publish(root, 3)  # what the dead one wrote into the lock file does not matter
    assert answer(root) == 3


@pytest.mark.parametrize("content", [b"", b"\0" * 60, b"intently eng", b"intently engine\nprocess 1: x\n"])
def test_a_stale_or_torn_lock_file_does_not_matter(tmp_path, root, content):
    (root / "intently.lock").write_bytes(content)
    publish(root, 3)
    assert answer(root) == 3
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "intently.lock").write_bytes(content)
    publish(tmp_path / "new", 1)


FOREIGN = {
    "manifest": {"manifest.json": "{}", "precious.txt": "x"},
    "build": {".build/precious.txt": "x"},
    "only a build directory": {".build/student/weights": "x"},
    "generations": {"generations/precious.txt": "x"},
    "torn lock and more": {"intently.lock": "", "precious.txt": "x"},
    "CURRENT": {"CURRENT": "20260101T000000Z-0000-abcdef\n", "precious.txt": "x"},
}


@pytest.mark.parametrize("files", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_directory_is_left_alone(tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match="holds files that are not an Intently engine; name a new or empty directory"):
        publish(tmp_path, 1)
    found = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == files


def test_an_engine_of_the_old_layout_is_told(tmp_path):
    (tmp_path / "manifest.json").write_text('{"kind": "intently engine", "version": 1}')
    for work in (lambda: open_generation(tmp_path), lambda: list_generations(tmp_path), lambda: roll_back(tmp_path)):
        with pytest.raises(ArtifactError, match="layout before generations; build it again into a new directory"):
            work()
    with pytest.raises(InputError, match="layout before generations; build it again into a new directory"):
        publish(tmp_path, 1)


def test_readers_never_see_a_mixture_while_others_publish_roll_back_and_flip_links(tmp_path):
    root, link = tmp_path / "engine", tmp_path / "link"
    other = tmp_path / "other"
    for version in (1, 2):
        publish(root, version)
    publish(other, 100)
    link.symlink_to(root)
    over, seen, wrong = threading.Event(), set(), []

    def read() -> None:
        while not over.is_set():
            try:
                seen.add(answer(link))
            except BaseException as error:
                wrong.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for version in range(3, 23):
        publish(root, version, keep=2)
        if version % 4 == 0:
            roll_back(root)
        temporary = tmp_path / "new-link"
        temporary.symlink_to((root, other)[version % 2])
        temporary.replace(link)
    over.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert len(seen) > 1


def test_a_digest_of_ids_tells_their_bounds_and_order():
    digests = {digest_of_ids(ids) for ids in (["a", "b"], ["b", "a"], ["ab"], ["a", "b", ""], [], ["a:1", "b"], ["水"])}
    assert len(digests) == 7


def test_reading_needs_no_right_to_write(root, tmp_path):
    write_text(tmp_path / "x", "y")
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    for path in root.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert answer(root) == 2
