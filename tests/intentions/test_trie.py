"""The trie against a dictionary of prefixes."""

import gc
import hashlib
import io
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.errors import ArtifactError, InputError
from intently.intentions.trie import NO_ID, NOWHERE, NUM_FIELDS, Trie, as_padded

sequence = st.lists(st.integers(0, 4), min_size=1, max_size=5).map(tuple)
many = st.lists(sequence, min_size=1, max_size=40)  # with duplicates
SMALL = [(1, 2), (1,), (3, 4, 5)]


def below(intentions: dict, prefix: tuple) -> dict:
    return {each: i for each, i in intentions.items() if each[: len(prefix)] == prefix}


def contents(trie: Trie) -> dict:
    ids, sequences = trie.items()
    assert ids.dtype == sequences.dtype == np.int64
    found = {tuple(row[row >= 0].tolist()): int(i) for i, row in zip(ids, sequences, strict=True)}
    assert len(found) == len(ids)
    return found


def check(trie: Trie, intentions: dict) -> None:
    """Descend the whole trie and compare every fact of every node with what the dictionary says of its prefix."""
    prefixes = {each[:end] for each in intentions for end in range(len(each) + 1)} | {()}
    visited = {(): trie.root}
    stack = [()]
    while stack:
        prefix = stack.pop()
        node = visited[prefix]
        children, owners = trie.children(np.array([node]))
        assert not owners.any()
        tokens = trie.tokens[children].tolist()
        assert tokens == sorted({each[len(prefix)] for each in prefixes if each[:-1] == prefix and each})
        assert int(trie.num_children[node]) == len(tokens)
        leaves = below(intentions, prefix)
        assert int(trie.intention_ids[node]) == intentions.get(prefix, NO_ID)
        assert int(trie.num_leaves[node]) == len(leaves)
        if leaves:
            assert int(trie.lowest_id[node]) == min(leaves.values())
            assert int(trie.heights[node]) == min(map(len, leaves)) - len(prefix)
        for token, child in zip(tokens, children.tolist(), strict=True):
            visited[(*prefix, token)] = child
            stack.append((*prefix, token))
    assert set(visited) == prefixes
    assert len(set(visited.values())) == len(prefixes)
    assert int(trie.tokens[trie.root]) == -1
    assert trie.num_intentions == len(intentions)
    assert trie.num_nodes >= len(prefixes)


def lowest(sequences, ids=None) -> dict:
    found: dict = {}
    for each, i in zip(sequences, range(len(sequences)) if ids is None else ids, strict=True):
        found[each] = min(found.get(each, i), i)
    return found


@given(many, st.none() | st.randoms(use_true_random=False))
def test_holds_exactly_the_sequences_each_by_the_lowest_of_its_ids(sequences, random):
    ids = random and random.sample(range(200), len(sequences))
    trie = Trie.from_items(np.array(ids), as_padded(sequences)) if ids else Trie.build(sequences)
    expected = lowest(sequences, ids)
    check(trie, expected)
    assert contents(trie) == expected
    assert trie.num_nodes == len({each[:end] for each in sequences for end in range(1, len(each) + 1)}) + 1
    assert (trie.root, trie.records.dtype, trie.records.shape) == (0, np.int32, (trie.num_nodes, NUM_FIELDS))


def test_token_ids_up_to_the_largest_are_held():
    large = 2**31 - 2
    check(Trie.build([(large,), (0, large), (large, large)]), {(large,): 0, (0, large): 1, (large, large): 2})


@given(many, st.data())
def test_children_of_several_nodes(sequences, data):
    trie = Trie.build(sequences)
    nodes = data.draw(st.lists(st.integers(-1, trie.num_nodes - 1), max_size=8))
    children, owners = trie.children(np.array(nodes, dtype=np.int64))
    expected = [(at, child) for at, node in enumerate(nodes) for child in children_of(trie, node)]
    assert list(zip(owners.tolist(), children.tolist(), strict=True)) == expected


def children_of(trie: Trie, node: int) -> range:
    return range(trie.first_child[node], trie.first_child[node] + trie.num_children[node]) if node >= 0 else range(0)


@given(many, st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=10))
def test_walk_follows_tokens_and_leaves_the_trie_for_good(sequences, walks):
    trie = Trie.build(sequences)
    intentions = lowest(sequences)
    padded = np.full((len(walks), 6), -1)
    for row, walk in enumerate(walks):
        padded[row, : len(walk)] = walk
    for walk, path in zip(padded.tolist(), trie.walk(padded), strict=True):
        for end in range(1, 7):
            leaves, node = below(intentions, tuple(walk[:end])), int(path[end - 1])
            assert (node != NOWHERE) == bool(leaves)
            if leaves:
                assert (trie.tokens[node], trie.num_leaves[node]) == (walk[end - 1], len(leaves))
                assert trie.lowest_id[node] == min(leaves.values())


def test_walk_of_nothing():
    assert Trie.build(SMALL).walk(np.empty((2, 0), dtype=np.int64)).shape == (2, 0)
    assert Trie.build(SMALL).walk(np.empty((0, 3), dtype=np.int64)).shape == (0, 3)


@given(many)
def test_levels_are_those_of_the_prefixes(sequences):
    trie = Trie.build(sequences)
    paths = [[()]]
    nodes_seen = []
    for depth, (nodes, parents) in enumerate(trie.levels()):
        if depth:
            above = paths[-1]
            paths.append([(*above[p], int(trie.tokens[n])) for n, p in zip(nodes, parents, strict=True)])
        else:
            assert (nodes.tolist(), parents.tolist()) == ([trie.root], [NOWHERE])
        nodes_seen += nodes.tolist()
        expected = {each[:depth] for each in sequences if len(each) >= depth}
        assert paths[-1] == sorted(expected)
    assert len(paths) == max(map(len, sequences)) + 1
    assert sorted(nodes_seen) == list(range(trie.num_nodes))


@given(many, st.randoms(use_true_random=False))
def test_highest_below_is_the_highest_of_the_leaves(sequences, random):
    trie = Trie.build(sequences)
    values = np.array([random.uniform(-5, 5) for _ in sequences])
    highest = trie.highest_below(values)
    assert highest.shape == (trie.num_nodes,)
    assert highest[trie.root] == max(values[list(lowest(sequences).values())])
    intentions = lowest(sequences)
    for each in intentions:
        for end, node in enumerate(trie.walk(np.array([each]))[0], 1):
            assert highest[node] == max(values[i] for i in below(intentions, each[:end]).values())


changes = st.lists(sequence, max_size=12, unique=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(sequence, min_size=1, max_size=25, unique=True), changes, changes)
def test_edited_is_another_version_beside_the_old_one(sequences, add, remove):
    trie = Trie.build(sequences)
    intentions = lowest(sequences)
    add = [each for each in add if each not in intentions]
    remove = [each for each in remove if each in intentions]
    padded = as_padded([*add, *remove])
    ids = np.arange(100, 100 + len(add))
    written = np.concatenate(trie.edited(padded[: len(add)], ids, padded[len(add) :]))
    assert written.dtype == np.int32
    records = np.concatenate((trie.records, written))
    changed = {each: i for each, i in intentions.items() if each not in remove} | dict(zip(add, ids, strict=True))
    version = Trie(records, len(records) - 1)
    check(version, changed)
    assert contents(version) == changed
    values = np.arange(200.0) % 17
    highest = version.highest_below(values)
    for each in changed:
        for end, node in enumerate(version.walk(np.array([each]))[0], 1):
            assert highest[node] == max(values[i] for i in below(changed, each[:end]).values())
    check(Trie(records, trie.root), intentions)  # in the same matrix


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([], "there are no intentions to build a trie from"),
        ([(1,), ()], "intention 1 has no tokens"),
        ([(1,), (1, -2)], "intention 1 has a token id that is negative or beyond 32 bits"),
        ([(1,), (3,), (2**31 - 1, 1)], "intention 2 has a token id that is negative or beyond 32 bits"),
        ([(1,), (2**40,)], "intention 1 has a token id that is negative or beyond 32 bits"),
        ([(2**70,)], "token ids must be whole numbers"),
        ([(1, "x")], "token ids must be whole numbers"),
        ([(1, None)], "token ids must be whole numbers"),
        ([(1, float("nan"))], "token ids must be whole numbers"),
        ([(1, 1.5)], "token ids must be whole numbers"),
        ([(1, "5")], "token ids must be whole numbers"),
    ],
)
def test_wrong_sequences_are_refused(sequences, message):
    with pytest.raises(InputError, match=message):
        Trie.build(sequences)


@given(many)
@settings(max_examples=30)
def test_save_and_load(tmp_path_factory, sequences):
    trie = Trie.build(sequences)
    path = tmp_path_factory.getbasetemp() / "any.trie"
    trie.save(path)
    loaded = Trie.load(path)
    np.testing.assert_array_equal(loaded.records, trie.records)
    check(loaded, lowest(sequences))


def test_loaded_is_mapped_and_read_only(tmp_path):
    Trie.build(SMALL).save(tmp_path / "a.trie")
    loaded = Trie.load(tmp_path / "a.trie")
    assert not loaded.records.flags.owndata and not loaded.records.flags.writeable  # mapped
    with pytest.raises(ValueError, match="read-only"):
        loaded.tokens[0] = 7
    loaded.save(tmp_path / "b.trie")
    assert (tmp_path / "b.trie").read_bytes() == (tmp_path / "a.trie").read_bytes()


def test_saving_a_later_version_leaves_out_what_it_does_not_reach(tmp_path):
    trie = Trie.build(SMALL)
    padded = as_padded([(1, 7), (3, 4, 5)])
    records = np.concatenate((trie.records, *trie.edited(padded[:1], np.array([9]), padded[1:])))
    Trie(records, len(records) - 1).save(tmp_path / "later.trie")
    loaded = Trie.load(tmp_path / "later.trie")
    check(loaded, {(1, 2): 0, (1,): 1, (1, 7): 9})
    assert loaded.num_nodes == 4


def saved(path) -> bytes:
    Trie.build(SMALL).save(path)
    return path.read_bytes()


def refused(path, data: bytes) -> str:
    """Return why a file of this content is not loaded; anything but an `ArtifactError` is an error of its own."""
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=re.escape(str(path))) as error:
        Trie.load(path)
    return str(error.value)


def test_truncated_anywhere(tmp_path):
    data = saved(tmp_path / "a.trie")
    for size in range(len(data)):
        refused(tmp_path / "torn.trie", data[:size])
    gc.collect()  # a file left open would be a warning, hence an error


def test_a_flipped_bit_of_the_content_is_refused(tmp_path):
    data = saved(tmp_path / "a.trie")
    header = 10 + int.from_bytes(data[8:10], "little")
    assert (len(data) - header) == Trie.build(SMALL).num_nodes * NUM_FIELDS * 4 + 32
    for at in range(header, len(data)):
        changed = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        assert "does not hold a trie (its checksum differs)" in refused(tmp_path / "flipped.trie", changed)
    gc.collect()


def test_a_flipped_bit_of_the_header_is_refused(tmp_path):
    data = saved(tmp_path / "a.trie")
    path = tmp_path / "flipped.trie"
    wrong: dict[str, list] = {}
    for at in range(10 + int.from_bytes(data[8:10], "little")):
        for bit in range(8):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
            try:
                Trie.load(path)
                wrong.setdefault("loaded", []).append((at, bit))
            except ArtifactError as error:
                assert str(path) in str(error)
            except Exception as error:
                wrong.setdefault(type(error).__name__, []).append((at, bit))
    gc.collect()
    assert not wrong


def alter(path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def npz(path) -> None:
    with path.open("wb") as file:
        np.savez(file, tokens=[1])


def as_npy(array):
    def write(path) -> None:
        content = io.BytesIO()
        np.save(content, array, allow_pickle=True)
        path.write_bytes(content.getvalue() + hashlib.sha256(content.getvalue()).digest())

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "does not hold a trie"),
        (lambda path: path.mkdir(), "does not hold a trie"),
        (lambda path: path.write_bytes(b""), "does not hold a trie"),
        (lambda path: path.write_bytes(b"torn" * 50), "does not hold a trie"),
        (lambda path: path.write_bytes(saved(path) + b"more"), "its checksum differs"),
        (npz, "does not hold a trie"),
        (as_npy(np.zeros((3, 7), dtype=np.int64)), "its matrix does not fit"),
        (as_npy(np.zeros((3, 7), dtype=">i4")), "its matrix does not fit"),
        (as_npy(np.zeros((3, 6), dtype=np.int32)), "its matrix does not fit"),
        (as_npy(np.zeros(7, dtype=np.int32)), "its matrix does not fit"),
        (lambda path: as_npy(np.zeros((3, 7), dtype=np.int32))(path) or alter(path), "its checksum differs"),
        (as_npy(np.array([[{}]])), "does not hold a trie"),
    ],
    ids=["missing", "folder", "empty", "foreign", "longer", "npz", "int64", "order", "narrow", "flat", "sum", "pickle"],
)
def test_foreign_files_are_named(tmp_path, write, message):
    path = tmp_path / "a.trie"
    write(path)
    with pytest.raises(ArtifactError, match=re.escape(str(path)) + " .*" + message):
        Trie.load(path)
    gc.collect()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at open files in /proc")
def test_no_file_stays_open(tmp_path):
    def opened() -> set[str]:
        links = (os.path.realpath(link) for link in Path("/proc/self/fd").iterdir())
        return {Path(link).name for link in links if link.startswith(str(tmp_path))}

    data = saved(tmp_path / "a.trie")
    refused(tmp_path / "b.trie", data[:-1])
    refused(tmp_path / "c.trie", data[:50])
    trie = Trie.load(tmp_path / "a.trie")
    gc.collect()
    assert opened() <= {"a.trie"}  # the map's own
    del trie
    gc.collect()
    assert opened() == set()


def test_depth_is_the_length_of_the_longest_intention():
    assert Trie.build([[5]]).depth() == 1
    assert Trie.build([[5], [5, 6, 7], [8, 6, 7, 9], [8, 9]]).depth() == 4
