"""Raw ids of fragments, and the merge of fragments over edges into objects."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mitoscale.core.errors import InputError

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


def unpack(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Block numbers and local ids of raw ids, both (N,) uint64; see :func:`pack`."""
    return raw >> np.uint64(LOCAL_BITS), raw & np.uint64(2**LOCAL_BITS - 1)


def merge(raw: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Final labels: plain connected components, numbered by the smallest raw id in each.

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
        Labels 1..M.

    Raises
    ------
    InputError
        If an edge names a fragment that is not in ``raw``.
    ValueError
        If ``raw`` is not strictly ascending.

    Examples
    --------
    >>> raw = np.array([3, 5, 9, 12], np.uint64)
    >>> merge(raw, np.array([[12, 5]], np.uint64)).tolist()
    [1, 2, 3, 2]
    """
    if (raw[1:] <= raw[:-1]).any():
        raise ValueError("raw ids must be strictly ascending")
    place = _places(raw, edges)
    if len(raw) == 0:
        return np.zeros(0, np.uint64)
    graph = coo_array((np.ones(len(edges), np.bool_), (place[:, 0], place[:, 1])), shape=(len(raw), len(raw)))
    _, component = connected_components(graph, directed=False)
    # Components are renumbered in the order of their first, that is smallest, raw id.
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.uint64)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1, dtype=np.uint64)
    return rank[inverse]


def _places(raw: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(E, 2) int64: where in ``raw`` each end of each edge is."""
    place = np.searchsorted(raw, edges)
    known = place < len(raw)
    known[known] = raw[place[known]] == edges[known]
    if not known.all():
        block, local = (int(part[0]) for part in unpack(edges[~known]))
        raise InputError(f"an edge names fragment {local} of block {block}, which has none such; run again with --redo segment")
    return place
