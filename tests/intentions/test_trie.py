"""The trie against a dictionary of prefixes."""

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intently.errors import ArtifactError, InputError
from intently.intentions.trie import ROOT, Trie

sequences_strategy = st.lists(
    st.lists(st.integers(0, 6), min_size=1, max_size=5).map(tuple), min_size=1, max_size=40, unique=True
)


@given(sequences_strategy)
def test_holds_exactly_the_sequences(sequences):
    trie = Trie.build(sequences)
    found = {}

    def descend(node: int, prefix: tuple[int, ...]) -> list[int]:
        below = []
        if trie.intention_ids[node] >= 0:
            found[prefix] = int(trie.intention_ids[node])
            below.append(found[prefix])
        tokens = [int(trie.tokens[child]) for child in trie.children(node)]
        assert tokens == sorted(set(tokens))
        for child in trie.children(node):
            below += descend(child, (*prefix, int(trie.tokens[child])))
        assert trie.num_leaves[node] == len(below)
        assert trie.lowest_id[node] == min(below)
        return below

    descend(ROOT, ())
    assert found == {sequence: index for index, sequence in enumerate(sequences)}
    prefixes = {sequence[:end] for sequence in sequences for end in range(1, len(sequence) + 1)}
    assert trie.num_nodes == len(prefixes) + 1
    assert trie.num_intentions == len(sequences)


@given(sequences_strategy, st.lists(st.lists(st.integers(0, 8), min_size=5, max_size=5), min_size=1, max_size=10))
def test_walk_follows_tokens_and_leaves_the_trie_for_good(sequences, walks):
    trie = Trie.build(sequences)
    prefixes = {sequence[:end] for sequence in sequences for end in range(1, len(sequence) + 1)}
    nodes = trie.walk(np.array(walks))
    for walk, path in zip(walks, nodes, strict=True):
        for end in range(1, 6):
            assert (path[end - 1] >= 0) == (tuple(walk[:end]) in prefixes)
            if path[end - 1] >= 0:
                assert trie.tokens[path[end - 1]] == walk[end - 1]


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([], "no intentions"),
        ([(1,), ()], "intention 1 has no tokens"),
        ([(1, 2), (3,), (1, 2)], "intentions 0 and 2 are the same"),
        ([(1, -2)], "negative"),
    ],
)
def test_wrong_sequences_are_refused(sequences, message):
    with pytest.raises(InputError, match=message):
        Trie.build(sequences)


def test_save_and_load(tmp_path):
    trie = Trie.build([(1, 2), (1,), (3, 4, 5)])
    trie.save(tmp_path / "trie.npz")
    loaded = Trie.load(tmp_path / "trie.npz")
    np.testing.assert_array_equal(loaded.tokens, trie.tokens)
    np.testing.assert_array_equal(loaded.intention_ids, trie.intention_ids)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"torn",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"\x93NUMPY", b"\x93NUMPX"),
        lambda data: data.replace(b"tokens", b"tokenz"),
    ],
)
def test_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "trie.npz"
    Trie.build([(1, 2), (1,), (3, 4, 5)]).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ArtifactError, match=r"trie\.npz does not hold a trie"):
        Trie.load(path)
    gc.collect()  # a file left open would be a warning, hence an error


def test_arrays_that_do_not_fit(tmp_path):
    trie = Trie.build([(1, 2), (1,), (3, 4, 5)])
    np.savez(tmp_path / "trie.npz", **{**vars(trie), "lowest_id": trie.lowest_id[1:]})
    with pytest.raises(ArtifactError, match=r"trie\.npz does not hold a trie \(its arrays do not fit\)"):
        Trie.load(tmp_path / "trie.npz")
