"""What hits a file: cut off, flipped, zeroed, foreign, read-only, full. The engine starts, serves, and tells."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from intently.engine.current import CurrentEngine
from intently.errors import LogBusyError, LogError, LogFullError
from intently.live.log import LOG_FILE, open_log
from intently.types import Ad, Delete, Patch, Put, Request
from tests.engine.small_engine import make_engine, save

NUM = 60


@pytest.fixture(scope="module")
def changed(make_student, tmp_path_factory):
    """An engine's directory with a log of a hundred changes in the file itself."""
    root = tmp_path_factory.mktemp("changed")
    save(make_engine(make_student(3)), root)
    with CurrentEngine(root) as current:
        for number in range(NUM):
            current.apply([Put(Ad(f"x{number}", f"Red gizmo {number}"))])
        for number in range(0, NUM, 2):
            current.apply([Patch(f"x{number}", {"bid": float(number)})])
        current.apply([Delete("x0"), Delete("kettle")])
    return root


@pytest.fixture
def root(changed, tmp_path):
    return Path(shutil.copytree(changed, tmp_path / "engine"))


def assert_serves(root: Path) -> CurrentEngine:
    current = CurrentEngine(root, follow_s=None)
    current.own()
    assert len(current.answer(Request("red pan"))) == 10
    seq = current.apply([Put(Ad("after", "Blue gizmo", bid=1.0))])
    current.close()
    with CurrentEngine(root, follow_s=None) as again:
        assert (again.seq, again.ad("after").bid) == (seq, 1.0)
    assert open_log(root).verify().problems == ()
    return current


def test_every_kind_of_damage_starts_and_is_told(root, caplog):
    rng, path = random.Random(0), root / LOG_FILE
    whole = path.read_bytes()
    kept = []
    for case in range(30):
        for left in (*root.glob(f"{LOG_FILE}*"), *root.glob(f".{LOG_FILE}*")):
            left.unlink()
        content = bytearray(whole)
        if case % 3 == 0:
            content = content[: rng.randrange(len(content))]
        elif case % 3 == 1:
            for _ in range(rng.choice([1, 20])):
                content[rng.randrange(100, len(content))] ^= 1 << rng.randrange(8)
        else:
            size = rng.choice([1, 100, 4_096, 20_000])
            at = rng.choice([len(content) - size, rng.randrange(100, len(content) - size)])
            content[at : at + size] = bytes(size)
        path.write_bytes(content)
        current = assert_serves(root)
        if recovered := current.log.recovered:
            aside = Path(recovered.aside)
            assert aside.read_bytes() == content
            assert f"{recovered.num_kept} changes were saved" in caplog.text
            kept.append(recovered.num_kept)
        else:  # SQLite itself does not use what was damaged
            assert current.ad("x2").bid == 2.0
            assert current.ad("x0") is None
    assert len(kept) > 15
    assert sum(num > NUM for num in kept) >= 5  # most damage costs little


@pytest.mark.parametrize("content", [b"", bytes(5_000), b"SQLite format 3\0 and no more"])
def test_a_file_without_its_beginning_is_kept_aside(root, content):
    (root / LOG_FILE).write_bytes(content)
    current = assert_serves(root)
    assert current.log.recovered.num_kept == 0
    assert Path(current.log.recovered.aside).read_bytes() == content
    assert "its beginning is gone" in current.log.recovered.problem


def test_a_foreign_file_is_refused_and_left_alone(root, tmp_path):
    path = root / LOG_FILE
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name)")
    connection.close()
    content = path.read_bytes()
    with pytest.raises(LogError, match="is a database of something else, or is destroyed; move it away"):
        CurrentEngine(root)
    assert path.read_bytes() == content
    for foreign in (b"dear diary", b"PAR1" * 100):
        path.write_bytes(foreign)
        with pytest.raises(LogError, match="is not a log of changes"):
            CurrentEngine(root)
        assert path.read_bytes() == foreign
    path.unlink()
    path.mkdir()
    with pytest.raises(LogError, match="is no regular file"):
        CurrentEngine(root)
    path.rmdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LogError, match="is no regular file"):
        CurrentEngine(root)


def test_what_is_left_over_does_no_harm(root):
    (root / f".{LOG_FILE}.partial").write_bytes(b"torn")
    (root / f"{LOG_FILE}.lock").write_text("process 4194304: of a machine that died\n")
    (root / f"{LOG_FILE}.unknown").write_bytes(b"?")
    (root / f"{LOG_FILE}-journal").write_bytes(bytes(1_000))
    assert assert_serves(root).log.recovered is None


def test_a_tail_of_zeros_or_a_torn_record_behind_the_last_commit(changed, tmp_path):
    """The write-ahead log of a process that died, with what a power cut may leave at its end."""
    root = Path(shutil.copytree(changed, tmp_path / "engine"))
    program = (
        "import os, sys; from intently.engine.current import CurrentEngine; from intently.types import Patch\n"
        "current = CurrentEngine(sys.argv[1])\n"
        "current.apply([Patch('x2', {'bid': 77.0})]); current.apply([Patch('x4', {'bid': 78.0})]); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, str(root)], check=True)
    wal = root / f"{LOG_FILE}-wal"
    tail = wal.read_bytes()[-4_120:]
    assert len(tail) > 4_000
    for number, end in enumerate((bytes(1), bytes(4_120), bytes(1 << 20), tail, tail[:2_000])):
        copy = Path(shutil.copytree(root, tmp_path / f"copy{number}"))
        with (copy / wal.name).open("ab") as file:
            file.write(end)
        current = assert_serves(copy)
        assert (current.ad("x2").bid, current.ad("x4").bid) == (77.0, 78.0)


def test_clocks_that_jump(root, monkeypatch):
    import time

    real = time.time_ns
    with CurrentEngine(root) as current:
        seq = current.apply([Patch("x2", {"bid": 1.0})])
        for hours in (-1, 5, -24 * 400):
            monkeypatch.setattr(time, "time_ns", lambda hours=hours: real() + hours * 3_600 * 10**9)
            seq += 1
            assert current.apply([Patch("x2", {"bid": float(seq)})]) == seq
    with CurrentEngine(root) as again:
        assert (again.seq, again.ad("x2").bid) == (seq, float(seq))


def test_a_disk_that_cannot_be_written(root):
    if (
        os.getuid() == 0
        and subprocess.run(["mount", "--bind", root, root], check=False, capture_output=True).returncode
    ):
        pytest.skip("neither file rights nor mounts hold here")
    try:
        if os.getuid() == 0:
            subprocess.run(["mount", "-o", "remount,ro,bind", root], check=True)
        else:
            for path in (root, *root.glob(f"{LOG_FILE}*")):
                path.chmod(0o500)
        with CurrentEngine(root) as current:
            assert (current.ad("x0"), current.ad("x2").bid) == (None, 2.0)
            with pytest.raises(LogError, match=r"cannot be written \(.*\); changes need a directory"):
                current.apply([Delete("x2")])
            assert current.ad("x2").bid == 2.0
    finally:
        if os.getuid() == 0:
            subprocess.run(["umount", "--lazy", root], check=True)
        else:
            for path in (root, *root.glob(f"{LOG_FILE}*")):
                path.chmod(0o700)


def test_a_disk_that_is_really_full(changed, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small]
    if os.getuid() or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        log = open_log(small / LOG_FILE, reserve_bytes=2 << 20)
        with CurrentEngine(changed, log=log, follow_s=None) as current:
            current.apply([Put(Ad("big", "Red gizmo", bid=1.0)), Put(Ad("other", "Blue gizmo"))])
            (small / "filler").write_bytes(bytes(4 << 20))
            accepted = 0
            with pytest.raises(LogFullError, match="bytes left, and a reserve"):
                for number in range(1_000):
                    current.apply([Put(Ad(f"y{number}", f"Red gizmo {number}", landing_text="text " * 2_000))])
                    accepted += 1
            assert 0 < accepted < 1_000
            with (small / "filler").open("ab") as filler, pytest.raises(OSError, match="No space"):
                while True:  # somebody else takes the rest
                    filler.write(bytes(100_000))
                    filler.flush()
            seq = current.apply([Delete("big")])
            for number in range(min(accepted, 50)):
                seq = current.apply([Patch(f"y{number}", {"status": "paused"})])
            assert current.ad("big") is None
            with pytest.raises(LogFullError):
                current.apply([Put(Ad("more", "Red gizmo"))])
            (small / "filler").unlink()
            assert current.apply([Put(Ad("more", "Red gizmo"))]) == seq + 1
        with CurrentEngine(changed, log=open_log(small / LOG_FILE), follow_s=None) as again:
            assert (again.seq, again.ad("big"), again.ad("other").title) == (seq + 1, None, "Blue gizmo")
            assert again.ad("y0").status == "paused"
            again.log.close()
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)


def test_a_second_writer_of_another_process(root):
    with CurrentEngine(root) as current:
        current.own()
        program = (
            "import sys; from intently.engine.current import CurrentEngine\n"
            "from intently.errors import LogBusyError; from intently.types import Delete\n"
            "current = CurrentEngine(sys.argv[1])\n"
            "try: current.apply([Delete('x2')])\n"
            "except LogBusyError as error: print(error)"
        )
        told = subprocess.run([sys.executable, "-c", program, str(root)], check=True, capture_output=True, text=True)
        assert f"process {os.getpid()}: " in told.stdout
        assert current.catch_up() == current.seq
        with pytest.raises(LogBusyError):
            open_log(root).own()
