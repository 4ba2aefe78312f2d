"""A compressed trie over token sequences: which tokens may come next, and which intention is complete.

Nodes are numbered level by level, so the children of a node are neighbours and a node's id is also the id of the edge
that leads to it. Everything is a flat array; nothing is padded to the widest branch. An intention may be a prefix of
another. Intention ids are the positions of the sequences given to `build`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intently.artifact import read_arrays
from intently.errors import ArtifactError, InputError

IntArray = NDArray[np.int64]
ROOT = 0


@dataclass(frozen=True)
class Trie:
    """N nodes, root first, and I intentions.

    `tokens (N,)`: token of the edge into the node (-1 at the root). `first_child (N + 1,)`: children of node n are the
    nodes first_child[n] … first_child[n + 1] - 1, by ascending token. `intention_ids (N,)`: the intention that ends
    here, or -1. `num_leaves (N,)`: intentions at or below the node. `lowest_id (N,)`: the smallest of their ids.
    """

    tokens: IntArray
    first_child: IntArray
    intention_ids: IntArray
    num_leaves: IntArray
    lowest_id: IntArray

    @property
    def num_nodes(self) -> int:
        """Number of nodes, the root included."""
        return len(self.tokens)

    @property
    def num_intentions(self) -> int:
        """Number of intentions in the trie."""
        return int(self.num_leaves[ROOT])

    def children(self, node: int) -> range:
        """Return the child nodes of `node`."""
        return range(int(self.first_child[node]), int(self.first_child[node + 1]))

    @classmethod
    def build(cls, sequences: Sequence[Sequence[int]]) -> "Trie":
        """Build from one non-empty token sequence an intention, in any order; two equal sequences are an error.

        Costs one sort of the sequences and a pass a level, without a Python object per node.
        """
        lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        if len(lengths) == 0:
            raise InputError("there are no intentions to build a trie from")
        if lengths.min() == 0:
            raise InputError(f"intention {int(lengths.argmin())} has no tokens")
        depth = int(lengths.max())
        padded = np.full((len(lengths), depth), -1, dtype=np.int64)
        padded[np.arange(depth) < lengths[:, None]] = np.concatenate([np.asarray(s, dtype=np.int64) for s in sequences])
        if (padded < 0).sum() != (depth - lengths).sum():
            raise InputError("token ids must not be negative")
        order = np.lexsort(padded.T[::-1])
        padded, lengths = padded[order], lengths[order]

        differs = np.ones(
            padded.shape, dtype=bool
        )  # [r, d]: the first d + 1 tokens of row r are not those of row r - 1
        differs[1:] = np.logical_or.accumulate(padded[1:] != padded[:-1], axis=1)
        same = np.flatnonzero(~differs[1:, -1])
        if len(same):
            first, second = sorted((int(order[same[0]]), int(order[same[0] + 1])))
            raise InputError(f"intentions {first} and {second} are the same token sequence")

        tokens, parents, starts = [np.array([-1])], [np.array([-1])], [np.array([0])]
        node_at = np.zeros(len(order), dtype=np.int64)  # the node of each row at the level above
        terminal = np.zeros(len(order), dtype=np.int64)
        num_nodes = 1
        for level in range(depth):
            alive = lengths > level
            new = np.flatnonzero(alive & differs[:, level])
            tokens.append(padded[new, level])
            parents.append(node_at[new])
            starts.append(new)
            node_at = np.where(alive, num_nodes + np.cumsum(alive & differs[:, level]) - 1, node_at)
            terminal = np.where(alive, node_at, terminal)
            num_nodes += len(new)
        parent = np.concatenate(parents)
        intention_ids = np.full(num_nodes, -1, dtype=np.int64)
        intention_ids[terminal] = order
        num_leaves = (intention_ids >= 0).astype(np.int64)
        lowest = np.where(intention_ids >= 0, intention_ids, len(order))
        for level_nodes in reversed(np.split(np.arange(num_nodes), np.cumsum([len(t) for t in tokens])[:-1])[1:]):
            np.add.at(num_leaves, parent[level_nodes], num_leaves[level_nodes])
            np.minimum.at(lowest, parent[level_nodes], lowest[level_nodes])
        counts = np.bincount(parent[1:], minlength=num_nodes)
        return cls(
            tokens=np.concatenate(tokens),
            first_child=np.concatenate(([1], 1 + np.cumsum(counts))),
            intention_ids=intention_ids,
            num_leaves=num_leaves,
            lowest_id=lowest,
        )

    def walk(self, sequences: IntArray) -> IntArray:
        """Return the nodes (B, T) that token sequences (B, T), padded with -1, lead to; -1 once they left the trie."""
        nodes = np.full(sequences.shape, -1, dtype=np.int64)
        # A child is found by binary search of (parent, token): edges are sorted by parent, then token.
        parents = np.repeat(np.arange(self.num_nodes), np.diff(self.first_child))
        span = int(self.tokens.max(initial=0)) + 2
        keys = parents * span + self.tokens[1:]
        at = np.zeros(len(sequences), dtype=np.int64)
        for level in range(sequences.shape[1]):
            wanted = np.where((at >= 0) & (sequences[:, level] >= 0), at * span + sequences[:, level], -1)
            found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            at = np.where((wanted >= 0) & (keys[found] == wanted) & (sequences[:, level] < span), found + 1, -1)
            nodes[:, level] = at
        return nodes

    def save(self, path: Path) -> None:
        """Write the arrays to one `.npz` file."""
        with path.open("wb") as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "Trie":
        """Read what `save` wrote; raise `ArtifactError` naming the file if it is not that."""
        trie = cls(**read_arrays(path, [field.name for field in fields(cls)], "a trie"))
        num_nodes = trie.tokens.size
        lengths = [getattr(trie, field.name).shape for field in fields(cls)]
        if num_nodes == 0 or lengths != [(num_nodes,), (num_nodes + 1,), *[(num_nodes,)] * 3]:
            raise ArtifactError(f"{path} does not hold a trie (its arrays do not fit); build the engine again")
        return trie
