"""Raw ids of fragments, and the merge of fragments over edges into objects."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mitoscale.core.errors import InputError

MOST_FRAGMENTS = 2**31 - 1
"""Most nodes of a graph that SciPy takes: fragments that are merged in one piece."""

LOCAL_BITS = 24
"""Bits of a raw id that hold the local id; the block's number is above them."""


def pack(block: int, local: np.ndarray) -> np.ndarray:
    """Raw ids of a block's fragments.

    Parameters
    ----------
    block : int
        The block's number, below 2^40.
    local : (N,) unsigned
        Local ids, below 2^24.

    Returns
    -------
    (N,) uint64

    Raises
    ------
    InputError
        If a block has more fragments, or a volume more blocks, than an id can hold.

    Examples
    --------
    >>> pack(2, np.array([5], dtype=np.uint32)).tolist() == [2 * 2**24 + 5]
    True
    """
    if block >= 2 ** (64 - LOCAL_BITS):
        raise InputError(f"block {block}: numbers end at {2 ** (64 - LOCAL_BITS) - 1}; choose larger blocks with --block")
    if len(local) and int(local.max()) >= 2**LOCAL_BITS:
        raise InputError(f"block {block} has fragment {int(local.max())}, the limit is {2**LOCAL_BITS - 1}; choose smaller blocks")
    return (np.uint64(block) << np.uint64(LOCAL_BITS)) | local.astype(np.uint64)


def pack_each(blocks: np.ndarray, local: np.ndarray) -> np.ndarray:
    """Raw ids of fragments of several blocks, where :func:`pack` has already taken each block's.

    Parameters
    ----------
    blocks : (N,) integer
        Number of the block of each fragment.
    local : (N,) unsigned
        Local ids.

    Returns
    -------
    (N,) uint64
    """
    return (blocks.astype(np.uint64) << np.uint64(LOCAL_BITS)) | local.astype(np.uint64)


def unpack(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Block numbers and local ids of raw ids, both (N,) uint64; see :func:`pack`."""
    return raw >> np.uint64(LOCAL_BITS), raw & np.uint64(2**LOCAL_BITS - 1)


def smallest(raw: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Plain connected components: of each fragment the smallest raw id it is connected with.

    The result does not depend on the order of the edges.

    Parameters
    ----------
    raw : (N,) uint64
        Raw ids of all fragments, ascending, each once.
    edges : (E, 2) uint64
        Raw ids that are one object.

    Returns
    -------
    (N,) uint64

    Raises
    ------
    InputError
        If an edge names a fragment that is not in ``raw``, or there are more than 2^31 - 1 fragments.
    ValueError
        If ``raw`` is not strictly ascending.

    Examples
    --------
    >>> smallest(np.array([3, 5, 9, 12], np.uint64), np.array([[12, 5]], np.uint64)).tolist()
    [3, 5, 9, 5]
    """
    if (raw[1:] <= raw[:-1]).any():
        raise ValueError("raw ids must be strictly ascending")
    return raw[first_connected(len(raw), places(raw, edges))]


def first_connected(count: int, ends: np.ndarray) -> np.ndarray:
    """Plain connected components of numbered nodes: of each the smallest number it is connected with.

    Parameters
    ----------
    count : int
        Number of nodes.
    ends : (E, 2) int
        Nodes 0 .. ``count`` - 1 that are connected.

    Returns
    -------
    (N,) int64

    Raises
    ------
    InputError
        If there are more than 2^31 - 1 nodes.

    Examples
    --------
    >>> first_connected(4, np.array([[3, 1]])).tolist()
    [0, 1, 2, 1]
    """
    if count > MOST_FRAGMENTS:
        raise InputError(f"stitch: {count} fragments in one piece, the limit is {MOST_FRAGMENTS}; choose larger blocks")
    if count == 0:
        return np.zeros(0, np.int64)
    # Rows and columns of 32 bits: SciPy wants no others, and its copies of a graph are what memory goes to.
    low, high = (column.astype(np.int32) for column in ends.T)
    graph = coo_array((np.ones(len(low), np.uint8), (low, high)), shape=(count, count))
    components, component = connected_components(graph, directed=False)
    first = np.empty(components, np.int64)
    first[component[::-1]] = np.arange(count)[::-1]  # of several assignments the last stays: the smallest
    return first[component]


def merge(raw: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Final labels in one piece: components numbered from 1 by the smallest raw id in each.

    :mod:`mitoscale.ops.super_block_merge` gives the same labels without holding all fragments.

    Parameters
    ----------
    raw, edges : ndarray
        As for :func:`smallest`, which also tells what is raised.

    Returns
    -------
    (N,) uint64
        Labels 1..M.

    Examples
    --------
    >>> raw = np.array([3, 5, 9, 12], np.uint64)
    >>> merge(raw, np.array([[12, 5]], np.uint64)).tolist()
    [1, 2, 3, 2]
    """
    root = smallest(raw, edges)
    rank = np.cumsum(root == raw).astype(np.uint64)
    return rank[np.searchsorted(raw, root)]


def places(raw: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Where in ``raw`` (ascending) each of ``ids`` is, int64 of the same shape.

    Parameters
    ----------
    raw : (N,) uint64
        Raw ids, ascending.
    ids : integer array
        Raw ids to look up.

    Raises
    ------
    InputError
        If one is not there.
    """
    place, known = find(raw, ids)
    if not known.all():
        block, local = (int(part[0]) for part in unpack(ids[~known]))
        raise InputError(f"an edge names fragment {local} of block {block}, which has none such; run again with --redo segment")
    return place


def find(raw: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where in ``raw`` (ascending) each of ``ids`` is or would be (int64), and whether it is there (bool).

    Parameters
    ----------
    raw : (N,) uint64
        Raw ids, ascending.
    ids : integer array
        Raw ids to look up.
    """
    place = np.searchsorted(raw, ids)
    known = place < len(raw)
    known[known] = raw[place[known]] == ids[known]
    return place, known
