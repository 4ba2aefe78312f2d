"""A compressed trie over token sequences: which tokens may come next, and which intention is complete.

A node's id is also the id of the edge that leads to it. The children of a node are neighbours, by ascending token, so
"first child, number of children" is all there is to say about a node's branches: nothing is padded to the widest one.
An intention may be a prefix of another. All of a node's facts are 32-bit integers, and a trie is one matrix of them:
built by sorting, written and memory-mapped as it is.

A trie never changes. `Trie.edited` returns another version that shares all untouched nodes with this one: a changed
node is copied, and so are its siblings (they must stay neighbours), its parent and that one's siblings, up to a new
root. `intently.intentions.live` keeps the versions.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intently.arrays import IntArray
from intently.errors import ArtifactError, InputError
from intently.files import atomic_write

Records = NDArray[np.int32]
# The columns of a trie's matrix.
TOKEN, FIRST_CHILD, NUM_CHILDREN, INTENTION_ID, NUM_LEAVES, LOWEST_ID, HEIGHT = range(7)
NUM_FIELDS = 7
NO_ID = -1  # the intention id of a node at which none ends
NOWHERE = -1  # the node that a sequence outside the trie leads to
_HIGHEST = np.iinfo(np.int32).max
_DIGEST_SIZE = hashlib.sha256().digest_size


class Trie:
    """One version of a trie: N nodes and I intentions.

    `tokens (N,)`: token of the edge into the node (-1 at a root). `first_child`, `num_children`: a node's children are
    the nodes first_child … first_child + num_children - 1, by ascending token. `intention_ids`: the intention that ends
    here, or -1. `num_leaves`: intentions that end at or below the node. `lowest_id`: the smallest of their ids.
    `heights`: tokens from here to the nearest end of an intention, 0 where one ends. Every array is (N,) int32. In
    the root of an empty trie, lowest id and height are the highest number.
    """

    def __init__(self, records: Records, root: int) -> None:
        """`records (N, 7)` holds the arrays as columns, in the order of the class docstring."""
        self.records, self.root = records, root
        self.tokens, self.first_child = records[:, TOKEN], records[:, FIRST_CHILD]
        self.num_children = records[:, NUM_CHILDREN]
        self.intention_ids, self.num_leaves = records[:, INTENTION_ID], records[:, NUM_LEAVES]
        self.lowest_id, self.heights = records[:, LOWEST_ID], records[:, HEIGHT]

    @property
    def num_nodes(self) -> int:
        """Number of nodes stored: at least those reachable from the root."""
        return len(self.records)

    def depth(self) -> int:
        """Return the number of tokens of the longest intention. Cost: one pass over the nodes."""
        depth, level = 0, np.array([self.root])
        while len(level := self.children(level)[0]):
            depth += 1
        return depth

    @property
    def num_intentions(self) -> int:
        """Number of intentions that the root leads to."""
        return int(self.num_leaves[self.root])

    @classmethod
    def build(cls, sequences: Sequence[Sequence[int]]) -> "Trie":
        """Build from non-empty token sequences in any order; intention i is `sequences[i]`.

        Equal sequences are one intention, known by the lowest of their ids. Costs one sort and a pass a level, without
        a Python object per node. Raises `InputError` naming the sequence that cannot be stored.
        """
        if len(sequences) == 0:
            raise InputError("there are no intentions to build a trie from")
        return cls.from_items(np.arange(len(sequences)), as_padded(sequences))

    @classmethod
    def from_items(cls, ids: IntArray, sequences: IntArray) -> "Trie":
        """Build from what `items` returns: ids (I,), token sequences (I, T) padded with -1. There may be none."""
        order = np.lexsort((ids, *sequences.T[::-1]))
        differs = _differences(sequences[order])
        distinct = differs[:, -1]
        padded, differs, kept_ids = sequences[order[distinct]], differs[distinct], ids[order[distinct]]
        lengths = (padded >= 0).sum(axis=1)

        levels = [_new_records(1)]
        levels[0][0, TOKEN] = -1
        first = 1  # id of the level's first node
        node_at = np.zeros(len(lengths), dtype=np.int64)  # each row's node at the level above, counted from its first
        for depth in range(padded.shape[1]):
            is_new = differs[:, depth] & (lengths > depth)
            new = np.flatnonzero(is_new)
            level = _new_records(len(new))
            level[:, TOKEN] = padded[new, depth]
            counts = np.bincount(node_at[new], minlength=len(levels[-1]))
            levels[-1][:, NUM_CHILDREN] = counts
            levels[-1][:, FIRST_CHILD] = first + np.cumsum(counts) - counts
            node_at = np.cumsum(is_new) - 1  # rows that ended above keep a number that nobody asks for
            ends = np.flatnonzero(lengths == depth + 1)
            level[node_at[ends], INTENTION_ID] = kept_ids[ends]
            levels.append(level)
            first += len(new)
        _summarise(levels[-1], _new_records(0))
        for above, below in zip(levels[-2::-1], levels[:0:-1], strict=True):
            _summarise(above, below)
        return cls(np.concatenate(levels), 0)

    def children(self, nodes: IntArray) -> tuple[IntArray, IntArray]:
        """Return the children of all `nodes (M,)` in order, and for each child the position of its parent in `nodes`.

        Both are (C,), C being the number of all children together; a node of -1 has none.
        """
        counts = np.where(nodes >= 0, self.num_children[nodes], 0).astype(np.int64)
        owners = np.repeat(np.arange(len(nodes)), counts)
        return np.arange(len(owners)) + (self.first_child[nodes] - (np.cumsum(counts) - counts))[owners], owners

    def _search(self, nodes: IntArray, tokens: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """Return where the child by `tokens (M,)` of each of `nodes (M,)` is or would be, and whether it is there."""
        low = self.first_child[nodes].astype(np.int64)
        end = low + np.where(nodes >= 0, self.num_children[nodes], 0)
        high, last = end, self.num_nodes - 1
        while (searching := low < high).any():  # binary search in all nodes at once
            middle = (low + high) // 2
            right = searching & (self.tokens[np.minimum(middle, last)] < tokens)
            low, high = np.where(right, middle + 1, low), np.where(searching & ~right, middle, high)
        return low, (low < end) & (self.tokens[np.minimum(low, last)] == tokens)

    def walk(self, sequences: IntArray) -> IntArray:
        """Return the nodes (B, T) that token sequences (B, T), padded with -1, lead to; -1 once they left the trie."""
        nodes = np.full(sequences.shape, NOWHERE, dtype=np.int64)
        at = np.full(len(sequences), self.root, dtype=np.int64)
        for depth in range(sequences.shape[1]):
            place, found = self._search(at, sequences[:, depth])
            at = nodes[:, depth] = np.where(found, place, NOWHERE)
        return nodes

    def levels(self) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield the nodes of each level from the root down, with each one's parent's position in the level above."""
        nodes, parents = np.array([self.root]), np.array([NOWHERE])
        while len(nodes):
            yield nodes, parents
            nodes, parents = self.children(nodes)

    def items(self) -> tuple[IntArray, IntArray]:
        """Return all intentions: ids (I,), and token sequences (I, T) padded with -1."""
        ids, found = [], []
        paths = np.empty((1, 0), dtype=np.int64)
        for depth, (nodes, parents) in enumerate(self.levels()):
            if depth:
                paths = np.concatenate((paths[parents], self.tokens[nodes, None]), axis=1)
            ending = self.intention_ids[nodes] >= 0
            ids.append(self.intention_ids[nodes[ending]])
            found.append(paths[ending])
        width = max(1, len(found) - 1)
        padded = [np.pad(each, ((0, 0), (0, width - each.shape[1])), constant_values=-1) for each in found]
        return np.concatenate(ids).astype(np.int64), np.concatenate(padded).astype(np.int64)

    def highest_below(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return for each node (N,) the highest of `values` at or below it; values are by intention id."""
        highest = np.full(self.num_nodes, -np.inf)
        levels = list(self.levels())
        for nodes, _ in levels:
            ending = nodes[self.intention_ids[nodes] >= 0]
            highest[ending] = values[self.intention_ids[ending]]
        for (above, _), (nodes, parents) in zip(levels[-2::-1], levels[:0:-1], strict=True):
            np.maximum.at(highest, above[parents], highest[nodes])
        return highest

    def edited(self, add: IntArray, ids: IntArray, remove: IntArray) -> list[Records]:
        """Return what makes the version with sequences `add (A, T)` as intentions `ids (A,)` and without `remove`.

        All sequences are padded with -1 to one length T. The result is records to append to this trie's matrix, one
        block after the other; the new root is the last. Raises `InputError` for a sequence that comes twice, one to add
        that is there, and one to remove that is not.
        """
        changed = np.concatenate((add, remove))
        order = np.lexsort(changed.T[::-1])
        changed, new_ids = changed[order], np.concatenate((ids, np.full(len(remove), NO_ID)))[order]
        lengths = (changed >= 0).sum(axis=1)
        differs = _differences(changed)
        if not differs[:, -1].all():
            raise InputError(_named(order[(~differs[:, -1]).argmax()], len(add)) + " comes twice in one change")

        # Downwards: the nodes on the changed paths, as they are now (or empty, where there is none yet).
        nodes, parents, places = [np.array([self.root])], [], []
        levels = [self.records[nodes[0]]]
        node_at = np.zeros(len(changed), dtype=np.int64)
        for depth in range(changed.shape[1]):
            is_new = differs[:, depth] & (lengths > depth)
            new = np.flatnonzero(is_new)
            parents.append(node_at[new])
            place, found = self._search(nodes[-1][parents[-1]], changed[new, depth])
            level = _new_records(len(new))
            level[found] = self.records[place[found]]
            level[:, TOKEN] = changed[new, depth]
            node_at = np.cumsum(is_new) - 1
            ends = np.flatnonzero(lengths == depth + 1)
            wrong = (level[node_at[ends], INTENTION_ID] >= 0) == (new_ids[ends] >= 0)
            if wrong.any():
                position = int(order[ends[wrong.argmax()]])
                there = "there already" if position < len(add) else "not there"
                raise InputError(f"{_named(position, len(add))} is {there}")
            level[node_at[ends], INTENTION_ID] = new_ids[ends]
            places.append(place)
            nodes.append(np.where(found, place, NOWHERE))
            levels.append(level)

        # Upwards: each changed node gets a new row of children, the old ones with the changed ones among them.
        blocks: list[Records] = []
        used = self.num_nodes
        for depth in range(len(levels) - 1, -1, -1):
            kept, owners = self.children(nodes[depth])
            if depth == len(parents):
                block = self.records[kept]
            else:
                below, parent = levels[depth + 1], parents[depth]
                counts = np.bincount(owners, minlength=len(levels[depth]))
                offset = places[depth] - self.first_child[nodes[depth][parent]]  # among the parent's children
                place = (np.cumsum(counts) - counts)[parent] + np.where(nodes[depth][parent] >= 0, offset, 0)
                stays = np.ones(len(kept), dtype=bool)
                stays[place[nodes[depth + 1] >= 0]] = False
                alive = below[:, NUM_LEAVES] > 0
                staying_before = np.concatenate(([0], np.cumsum(stays)))
                place = staying_before[place[alive]]
                rows = np.insert(kept[stays], place, 0)
                block = self.records.take(rows, axis=0)  # twice as fast as indexing
                block[place + np.arange(len(place))] = below[alive]
                owners = np.concatenate((owners[stays], parent[alive]))
            counts = np.bincount(owners, minlength=len(levels[depth]))
            levels[depth][:, NUM_CHILDREN] = counts
            levels[depth][:, FIRST_CHILD] = used + np.cumsum(counts) - counts
            _summarise(levels[depth], block)
            blocks.append(block)
            used += len(block)
        return [*blocks, levels[0]]

    def compacted(self) -> "Trie":
        """Return this version alone: the nodes that its root reaches, level by level."""
        records = self.records[np.concatenate([nodes for nodes, _ in self.levels()])]
        counts = records[:, NUM_CHILDREN]
        records[:, FIRST_CHILD] = 1 + np.cumsum(counts) - counts  # in this order, all children lie row by row
        return Trie(records, 0)

    def save(self, path: Path) -> None:
        """Write what the root reaches to one file: the matrix as numpy does, then the SHA-256 of that."""
        content = io.BytesIO()
        np.save(content, self.records if self.root == 0 else self.compacted().records)
        with atomic_write(path) as file:
            file.write(content.getbuffer())
            file.write(hashlib.sha256(content.getbuffer()).digest())

    @classmethod
    def load(cls, path: Path) -> "Trie":
        """Map what `save` wrote into memory; raise `ArtifactError` naming the file if it is not that."""
        wrong = f"{path} does not hold a trie"
        try:
            content = np.memmap(path, dtype=np.uint8, mode="r")
            if hashlib.sha256(content[:-_DIGEST_SIZE].data).digest() != content[-_DIGEST_SIZE:].tobytes():
                raise ArtifactError(f"{wrong} (its checksum differs); build the engine again")
            records = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{wrong} ({error}); build the engine again") from error
        if records.ndim != 2 or records.shape[1] != NUM_FIELDS or not len(records) or records.dtype != np.int32:
            raise ArtifactError(f"{wrong} (its matrix does not fit); build the engine again")
        return cls(np.asarray(records), 0)


def as_padded(sequences: Sequence[Sequence[int]]) -> IntArray:
    """Return token sequences as a matrix (I, T) padded with -1; raise `InputError` naming one that cannot be stored."""
    try:
        lengths = np.fromiter(map(len, sequences), dtype=np.int64, count=len(sequences))
    except TypeError as error:
        raise InputError(f"an intention is not a sequence of token ids ({error})") from error
    if lengths.min(initial=1) == 0:
        raise InputError(f"intention {int(lengths.argmin())} has no tokens")
    flat = np.array(list(chain.from_iterable(sequences)))
    if len(flat) and (flat.ndim != 1 or flat.dtype.kind not in "iu"):
        raise InputError(f"token ids must be whole numbers within 32 bits; {_first_odd(sequences)}")
    if len(flat) and not 0 <= flat.min() <= flat.max() < _HIGHEST:
        wrong = int(np.repeat(np.arange(len(lengths)), lengths)[(flat < 0) | (flat >= _HIGHEST)][0])
        raise InputError(f"intention {wrong} has a token id that is negative or beyond 32 bits")
    padded = np.full((len(lengths), int(lengths.max(initial=1))), -1, dtype=np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = flat
    return padded


def _first_odd(sequences: Sequence[Sequence[int]]) -> str:
    """Name the first token id that is no whole number within 32 bits."""
    for position, sequence in enumerate(sequences):
        for token in sequence:
            if not (isinstance(token, int | np.integer) and 0 <= token < _HIGHEST):
                return f"intention {position} has {token!r}"
    raise AssertionError("all token ids are in order")


def _differences(sorted_sequences: IntArray) -> NDArray[np.bool_]:
    """Return (I, T): the first t + 1 tokens of row i are not those of row i - 1, so a token there makes a new node."""
    differs = np.ones(sorted_sequences.shape, dtype=bool)
    np.logical_or.accumulate(sorted_sequences[1:] != sorted_sequences[:-1], axis=1, out=differs[1:])
    return differs


def _named(position: int, num_added: int) -> str:
    """Name a sequence by its position among those to add, then those to remove."""
    added = position < num_added
    return f"token sequence {position if added else position - num_added} to {'add' if added else 'remove'}"


def _new_records(num_nodes: int) -> Records:
    """Return records (num_nodes, 7) of nodes without children at which no intention ends."""
    records = np.zeros((num_nodes, NUM_FIELDS), dtype=np.int32)
    records[:, INTENTION_ID] = NO_ID
    return records


def _summarise(level: Records, children: Records) -> None:
    """Fill NUM_LEAVES, LOWEST_ID and HEIGHT of a level's nodes from their own intention and their `children`.

    `children` are those of all the level's nodes, in the nodes' order, NUM_CHILDREN of each.
    """
    ends = level[:, INTENTION_ID] >= 0
    level[:, NUM_LEAVES] = ends
    level[:, LOWEST_ID] = np.where(ends, level[:, INTENTION_ID], _HIGHEST)
    level[:, HEIGHT] = np.where(ends, 0, _HIGHEST)
    parents = np.flatnonzero(level[:, NUM_CHILDREN] > 0)
    if len(parents):
        counts = level[parents, NUM_CHILDREN].astype(np.int64)
        starts = np.cumsum(counts) - counts
        level[parents, NUM_LEAVES] += np.add.reduceat(children[:, NUM_LEAVES], starts)
        for field, farther in ((LOWEST_ID, 0), (HEIGHT, 1)):
            lowest = np.minimum.reduceat(children[:, field], starts) + farther
            level[parents, field] = np.minimum(level[parents, field], lowest)
