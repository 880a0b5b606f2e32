"""The merge of fragments into objects where not all of them fit into memory: super-block by super-block.

A super-block is a box of blocks. Its fragments are merged over the edges inside it; then only those it shares with others,
one for each object that crosses its surface, are merged over the edges between super-blocks. Plain components are
associative, so the objects are those of one merge over everything. The numbers are too: an object is numbered by its smallest
raw id, so counts of objects per block and a prefix sum over the blocks give each block the first of its numbers.

Memory follows the largest super-block and the surfaces of all of them, 8 bytes a block, and no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.ops.global_ids import find, first_connected, places, smallest, unpack


class Merge:
    """Takes super-blocks one by one, then numbers their objects.

    Examples
    --------
    >>> low, high = np.array([1, 2], np.uint64), np.array([2**24 + 1], np.uint64)
    >>> merge = Merge()
    >>> roots = [merge.add(low, np.array([[2, 2**24 + 1]], np.uint64)), merge.add(high, np.zeros((0, 2), np.uint64))]
    >>> numbers = merge.numbers()
    >>> numbers.labels(low, roots[0]).tolist(), numbers.labels(high, roots[1]).tolist()
    ([1, 2], [2])
    """

    def __init__(self) -> None:
        self._blocks: list[np.ndarray] = []
        self._counts: list[np.ndarray] = []
        self._shared: list[np.ndarray] = []
        self._ranks: list[np.ndarray] = []
        self._joins: list[np.ndarray] = []
        self._waiting = np.zeros((0, 2), np.uint64)

    def add(self, raw: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Merge the fragments of one super-block over the edges inside it.

        Parameters
        ----------
        raw : (N,) uint64
            Raw ids of its fragments, ascending.
        edges : (E, 2) uint64
            The edges whose first end is one of them; the second may be in a super-block that comes later.

        Returns
        -------
        (N,) uint64
            Of each fragment the smallest raw id it is connected with in this super-block; keep it for :meth:`Numbers.labels`.

        Raises
        ------
        InputError
            If the first end of an edge is not in ``raw``.
        """
        low, (high, inside) = places(raw, edges[:, 0]), find(raw, edges[:, 1])
        root = raw[first_connected(len(raw), np.stack([low, high], axis=1)[inside])]
        leaving = _unique_rows(np.stack([root[low[~inside]], edges[~inside, 1]], axis=1))
        place, arrived = find(raw, self._waiting[:, 1])
        joins = _unique_rows(np.stack([self._waiting[arrived, 0], root[place[arrived]]], axis=1))
        self._joins.append(joins)
        self._waiting = np.concatenate([self._waiting[~arrived], leaving])
        shared = np.unique(np.concatenate([joins[:, 1], leaving[:, 0]]))
        own = raw[root == raw]
        block, first, count = np.unique(unpack(own)[0], return_index=True, return_counts=True)
        place = np.searchsorted(own, shared)
        self._shared.append(shared)
        self._ranks.append(place - first[np.searchsorted(block, unpack(shared)[0])])
        self._blocks.append(block)
        self._counts.append(count)
        return root

    def numbers(self) -> Numbers:
        """Merge what super-blocks share and number all objects; call once, after all of them.

        Raises
        ------
        InputError
            If an edge ends at a fragment that no super-block has, or super-blocks share more than 2^31 objects.
        """
        if len(self._waiting):
            block, local = (int(part[0]) for part in unpack(self._waiting[:1, 1]))
            raise InputError(f"an edge names fragment {local} of block {block}, which has none such; run again with --redo segment")
        none = np.zeros(0, np.uint64)
        shared, ranks = np.concatenate([none, *self._shared]), np.concatenate([none.astype(np.int64), *self._ranks])
        order = np.argsort(shared)
        shared, ranks = shared[order], ranks[order]
        joins = np.concatenate([self._waiting, *self._joins])
        root = smallest(shared, joins)
        gone = root != shared
        blocks, counts = np.concatenate([none, *self._blocks]), np.concatenate([none.astype(np.int64), *self._counts])
        order = np.argsort(blocks)
        blocks, counts = blocks[order], counts[order]
        of_block = np.searchsorted(blocks, unpack(shared)[0])
        np.subtract.at(counts, of_block[gone], 1)
        offsets = np.cumsum(counts) - counts
        # Those that have become part of an object of an earlier number no longer count in their block.
        before = _count_before(gone, of_block)
        label = (offsets[of_block] + ranks - before + 1).astype(np.uint64)
        label = label[np.searchsorted(shared, root)]
        return Numbers(shared=shared, label=label, gone=gone, blocks=blocks, offsets=offsets, count=int(counts.sum()))


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The numbers of all objects; get one from :meth:`Merge.numbers`. Super-blocks may be labelled in any order."""

    shared: np.ndarray
    """(K,) uint64 ascending: the smallest raw id, within its super-block, of each object that crosses a surface."""
    label: np.ndarray
    """(K,) uint64 the label of each."""
    gone: np.ndarray
    """(K,) bool: the object has a smaller raw id in another super-block."""
    blocks: np.ndarray
    """(B,) uint64 ascending: numbers of the blocks that have fragments."""
    offsets: np.ndarray
    """(B,) int64 the objects numbered before each block's own."""
    count: int
    """Number of objects."""

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return sum(a.nbytes for a in (self.shared, self.label, self.gone, self.blocks, self.offsets))

    def labels(self, raw: np.ndarray, root: np.ndarray) -> np.ndarray:
        """Final labels of a super-block's fragments.

        Parameters
        ----------
        raw, root : (N,) uint64
            What :meth:`Merge.add` got and gave.

        Returns
        -------
        (N,) uint64
            The labels :func:`mitoscale.ops.global_ids.merge` gives over all super-blocks at once.
        """
        own = raw[root == raw]
        place, known = find(self.shared, own)
        gone = np.zeros(len(own), bool)
        gone[known] = self.gone[place[known]]
        block, of_block = np.unique(unpack(own)[0], return_inverse=True)
        before = _count_before(~gone, of_block)
        label = (self.offsets[np.searchsorted(self.blocks, block)][of_block] + before + 1).astype(np.uint64)
        label[known] = self.label[place[known]]
        return label[np.searchsorted(own, root)]


def _count_before(marked: np.ndarray, of_block: np.ndarray) -> np.ndarray:
    """(N,) int64: how many of the (N,) bool ``marked`` lie before each, in its own block; blocks are ascending."""
    before = np.cumsum(marked) - marked
    first = np.flatnonzero(np.concatenate([np.ones(min(len(marked), 1), bool), of_block[1:] != of_block[:-1]]))
    result: np.ndarray = before - np.repeat(before[first], np.diff(np.append(first, len(marked))))
    return result


def _unique_rows(pairs: np.ndarray) -> np.ndarray:
    """(M, 2) uint64 pairs, each once, sorted."""
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    new = np.ones(len(pairs), bool)
    new[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[new]
