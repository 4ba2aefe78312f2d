"""Lines are the same wherever the blocks of the file end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.catalog import encoding
from intently.catalog import lines as lines_module
from intently.catalog.lines import open_output, read_lines
from intently.errors import InputError


def slow_lines(data: bytes) -> list[tuple[int, str | None]]:
    """The slow twin: number and text of each line, None for a wrong one."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    pieces = data.split(b"\n" if b"\n" in data else b"\r")
    if not pieces[-1]:
        pieces.pop()
    numbered: list[tuple[int, str | None]] = []
    for number, piece in enumerate(pieces, start=1):
        try:
            text = piece.decode()
        except UnicodeDecodeError:
            numbered.append((number, None))
        else:
            numbered.append((number, None if "\0" in text else text.rstrip("\r").replace("\ufeff", "")))
    return numbered


PIECES = st.sampled_from([b"a", b"\n", b"\n\n", b"\r\n", b"\r", "锅".encode(), b"\xff", b"\0", b"\t", b"\xef\xbb\xbf"])


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=30), st.integers(4, 12))
def test_blocks_do_not_show(tmp_path_factory, pieces, block_bytes):
    path = tmp_path_factory.mktemp("lines") / "file.txt"
    path.write_bytes(data := b"".join(pieces))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "BLOCK_BYTES", block_bytes)
        patch.setattr(encoding, "code_page", lambda _: None)  # damage, not another encoding
        batches = list(read_lines(path))
    read: list[tuple[int, str | None]] = []
    for lines in batches:
        read += zip(lines.numbers.tolist(), lines.text.to_pylist(), strict=True)
        read += [(error.line or 0, None) for error in lines.errors]
    assert sorted(read, key=lambda item: item[0]) == slow_lines(data)


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 4)
    monkeypatch.setattr(lines_module, "MAX_LINE_BYTES", 16)
    path = tmp_path / "file.tsv"
    path.write_bytes(b"a\n" + b"x" * 100)
    with pytest.raises(InputError, match=r"file\.tsv:2: a line of over"):
        list(read_lines(path))


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".zst"])
def test_what_is_written_is_read(tmp_path, suffix):
    path = tmp_path / f"file.txt{suffix}"
    with open_output(path) as stream:
        stream.write(b"a\nb\n")
    assert [text for lines in read_lines(path) for text in lines.text.to_pylist()] == ["a", "b"]
