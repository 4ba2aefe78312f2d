"""Files are written whole or not at all, and what is no regular file is written into."""

import hashlib
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from intently.errors import ArtifactError, InputError
from intently.files import (
    atomic_write,
    read_sealed,
    recorded_writes,
    sealed_write,
    set_aside,
    sha256_of,
    write_text,
)


def test_writing_replaces(tmp_path):
    path = tmp_path / "text.json"
    write_text(path, "old, and longer")
    with recorded_writes() as written:
        write_text(path, "新")
    assert written == [path]
    assert path.read_text(encoding="utf-8") == "新"
    assert sha256_of(path) == hashlib.sha256("新".encode()).hexdigest()
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_text(encoding="utf-8") == "新"
    assert [file.name for file in tmp_path.iterdir()] == ["text.json"]


def test_others_may_read_what_is_written(tmp_path):
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "x", "y")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o644


def test_what_cannot_be_written_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as told:
        write_text(tmp_path / "no" / "x.json", "y")
    assert told.value.filename == str(tmp_path / "no" / "x.json")
    with pytest.raises(InputError, match="is a directory; name a file"):
        write_text(tmp_path, "y")


def test_a_device_is_written_into():
    write_text(Path("/dev/null"), "x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_pipe_is_written_into(tmp_path):
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    write_text(path, "through the pipe")
    reader.join()
    assert read == ["through the pipe"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    link, target = tmp_path / "link", tmp_path / "there" / "target"
    link.symlink_to(target)
    for text in ("new", "newer"):  # a link that leads nowhere yet, and one that does
        write_text(link, text)
        assert link.is_symlink()
        assert target.read_text() == text
    assert not list((tmp_path / "there").glob("*partial"))


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_standard_output(tmp_path, name):
    code = "import sys; from pathlib import Path; from intently.files import write_text\n"
    code += "write_text(Path(sys.argv[1]), 'x')"
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", code, name], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "x"
    done = subprocess.run([sys.executable, "-c", code, name], capture_output=True, check=True)
    assert done.stdout == b"x"


def test_what_is_sealed_is_read_and_every_damage_is_seen(tmp_path):
    path = tmp_path / "sealed"
    with pytest.raises(FileNotFoundError):
        read_sealed(path)
    with sealed_write(path) as file:
        file.write(b"con")
        file.write(b"tent")
    assert read_sealed(path).read() == b"content"
    whole = path.read_bytes()
    damaged = [whole[:at] for at in range(len(whole))]
    damaged += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    damaged += [bytes(len(whole)), whole + b"\0", whole[:-9] + bytes(9)]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="sealed is torn or has been altered"):
            read_sealed(path)


def test_what_is_set_aside_is_kept(tmp_path, caplog):
    for number in (1, 2):
        (tmp_path / "x").write_text(str(number))
        aside = set_aside(tmp_path / "x", "x is torn")
        assert aside.read_text() == str(number)
    assert {path.name for path in tmp_path.iterdir()} == {"x.aside-1", "x.aside-2"}
    assert "x is torn; it is done again, and kept as" in caplog.text
