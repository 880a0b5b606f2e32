"""Edges between two blocks: which fragments are one, judged over all voxels that both blocks have read.

Whole fragments are not compared: a W-shaped object is one fragment in one block and two in the other. Pieces are, the
connected parts of each fragment within the common region; and only pieces that reach the plane between both cores can
be the same object there. Fragments without a voxel in their block's core take part, so that objects which meet only
across a block's edge or corner are joined through the blocks between.
"""

from __future__ import annotations

from collections import Counter

import cc3d
import fastremap
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mitoscale.ops.run_lengths import run_lengths, totals

Edges = dict[str, np.ndarray]
"""Columns ``low``, ``high`` (local ids, uint32), ``strength`` (float32), ``accepted`` (bool)."""

_GAP = 2
"""Slices that a fragment may skip."""

_BESIDE = 0.25
"""Part of the slices of the shorter fragment in which two must touch to be different objects."""

_SLIVER = 0.1
"""What two fragments share beside what each shares with another partner, below which it is little."""

_SEEN = 0.3
"""Pairs below this strength are not even listed."""


def face_edges(
    low: np.ndarray, high: np.ndarray, axis: int, plane: int, *, overlap: float = 0.5, split_overlap: float = 0.8
) -> Edges:
    """Compare the fragments of two neighbouring blocks.

    Parameters
    ----------
    low, high : (Z, Y, X) uint32
        Fragments of the block before and behind the face, both over the intersection of their read regions.
    axis : int
        0, 1 or 2: the axis the face is normal to.
    plane : int
        First plane of ``high``'s core along ``axis``, counted in these arrays.
    overlap : float
        Two pieces are one where they are each other's best and the mean of the two overlap fractions is above this.
    split_overlap : float
        A piece takes a further partner from this intersection over the smaller piece on, unless the partners lie side by
        side as different fragments of one block: they touch within a quarter or more of their slices. Nor does a sliver
        that the blocks give to different ones of two fragments join these, where they lie side by side or it is seen
        differently.

    Returns
    -------
    dict
        ``low``, ``high`` (E,) uint32; ``strength`` (E,) float32, 0..1; ``accepted`` (E,) bool. Pairs are unique and
        sorted. Refused pairs are listed from strength 0.3 on.

    Raises
    ------
    ValueError
        If the arrays differ in shape, or ``plane`` is not inside them.

    Examples
    --------
    >>> bar = np.zeros((4, 4, 8), np.uint32); bar[1:3, 1:3] = 7
    >>> {k: v.tolist() for k, v in face_edges(bar, bar, 2, 4).items()}
    {'low': [7], 'high': [7], 'strength': [1.0], 'accepted': [True]}
    """
    if low.shape != high.shape or not 0 < plane < low.shape[axis]:
        raise ValueError(f"face {plane} on axis {axis} is not inside fragments of shapes {low.shape} and {high.shape}")
    p, p_owner, p_parts = _pieces(low)
    q, q_owner, q_parts = _pieces(high)
    lengths, in_p, in_q = run_lengths(p, q)
    both = (in_p > 0) & (in_q > 0)
    pairs, shared = _count_pairs(in_p[both], in_q[both], lengths[both], len(q_owner))
    reach = [_reaching(x, n, axis, plane) for x, n in ((p, len(p_owner)), (q, len(q_owner)))]
    size_p = totals(in_p, lengths, len(p_owner))[pairs[:, 0]]
    size_q = totals(in_q, lengths, len(q_owner))[pairs[:, 1]]
    strength = (shared / size_p + shared / size_q) / 2
    smaller = shared / np.minimum(size_p, size_q)
    # Partners are sought among all pieces, but only what reaches the face from both sides becomes an edge.
    accepted = _is_best(pairs[:, 0], strength, pairs) & _is_best(pairs[:, 1], strength, pairs) & (strength > overlap)
    owners = np.stack([p_owner[pairs[:, 0]], q_owner[pairs[:, 1]]], axis=1)
    if p_parts is not p or q_parts is not q:
        twins = _twins(p_parts, q_parts, p, q, axis, plane)
        accepted |= np.isin(pairs[:, 0] * len(q_owner) + pairs[:, 1], twins[:, 0] * len(q_owner) + twins[:, 1])
    _add_splits(accepted, pairs, owners, smaller, split_overlap, low, high)
    reaching = reach[0][pairs[:, 0]] & reach[1][pairs[:, 1]]
    owners, strength, accepted, shared = owners[reaching], strength[reaching], accepted[reaching], shared[reaching]
    _refuse_slivers(accepted, owners, shared, strength >= split_overlap, low, high)
    return _by_fragment(owners, strength, accepted)


def _pieces(fragments: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(Z, Y, X) pieces numbered from 1, for each number the fragment it belongs to, and (Z, Y, X) connected parts.

    What a fragment has on both sides of slices that its masks skip is one piece, as it is for the linking. Where there is no
    such fragment, the parts are the pieces. 0 is background.
    """
    pieces, count = cc3d.connected_components(np.ascontiguousarray(fragments), connectivity=26, return_N=True)
    owner = np.zeros(count + 1, np.uint32)
    lengths, piece, fragment = run_lengths(pieces, fragments)
    owner[piece] = fragment
    owner[0] = 0
    several = _is_one_of_several(owner)
    ends = _across_gaps(pieces, fragments, np.repeat(several[piece], lengths)).T if several.any() else np.zeros((2, 0))
    if ends.size:
        graph = coo_array((np.ones(ends.shape[1], bool), tuple(ends)), shape=(count + 1, count + 1))
        _, name = connected_components(graph, directed=False)
        # Numbers stay in the order of the first piece, and 0 stays the background: nothing is joined to it.
        _, first, name = np.unique(name, return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.uint32)
        rank[np.argsort(first)] = np.arange(len(first), dtype=np.uint32)
        return rank[name][pieces], owner[np.sort(first)], pieces
    return pieces, owner, pieces


def _twins(p_parts: np.ndarray, q_parts: np.ndarray, p: np.ndarray, q: np.ndarray, axis: int, plane: int) -> np.ndarray:
    """(E, 2) pieces of which a connected part that reaches the face is the same in both blocks, voxel for voxel.

    Such a part is one object's, however much more one of the blocks has put to it across skipped slices.
    """
    lengths, a, b = run_lengths(p_parts, q_parts)
    size_a, size_b = totals(a, lengths, int(p_parts.max()) + 1), totals(b, lengths, int(q_parts.max()) + 1)
    both = (a > 0) & (b > 0)
    pairs, shared = _count_pairs(a[both], b[both], lengths[both], len(size_b))
    same = (shared == size_a[pairs[:, 0]]) & (shared == size_b[pairs[:, 1]])
    same &= _reaching(p_parts, len(size_a), axis, plane)[pairs[:, 0]]
    owner_a, owner_b = np.zeros(len(size_a), np.int64), np.zeros(len(size_b), np.int64)
    owner_a[p_parts], owner_b[q_parts] = p, q
    return np.stack([owner_a[pairs[same, 0]], owner_b[pairs[same, 1]]], axis=1)


def _is_one_of_several(owner: np.ndarray) -> np.ndarray:
    """(N,) bool: which pieces have a fragment of which there are several."""
    _, fragment, count = np.unique(owner[1:], return_inverse=True, return_counts=True)
    return np.concatenate([np.zeros(1, bool), count[fragment] > 1])


def _across_gaps(pieces: np.ndarray, fragments: np.ndarray, may: np.ndarray) -> np.ndarray:
    """(E, 2) pairs of pieces of one fragment that lie over each other with skipped slices between; sought where ``may`` (flat)."""
    at = np.flatnonzero(may)
    piece, fragment = pieces.ravel(), fragments.ravel()
    found = [np.zeros((0, 2), pieces.dtype)]
    for step in range(2, _GAP + 2):
        low = at[at < pieces.size - step * pieces[0].size]
        high = low + step * pieces[0].size
        across = (fragment[low] == fragment[high]) & (piece[low] != piece[high])
        found.append(np.stack([piece[low[across]], piece[high[across]]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _count_pairs(a: np.ndarray, b: np.ndarray, lengths: np.ndarray, size_b: int) -> tuple[np.ndarray, np.ndarray]:
    """(E, 2) int64 pairs that occur, sorted, and in how many voxels, from (R,) stretches."""
    packed, pair = np.unique(a.astype(np.int64) * size_b + b.astype(np.int64), return_inverse=True)
    return np.stack(np.divmod(packed, size_b), axis=1), totals(pair, lengths, len(packed))


def _reaching(pieces: np.ndarray, count: int, axis: int, plane: int) -> np.ndarray:
    """(count,) bool: which pieces have a voxel in one of the two planes at the face."""
    reach = np.zeros(count, bool)
    index: list[slice] = [slice(None)] * 3
    index[axis] = slice(max(plane - 1, 0), plane + 1)
    reach[np.unique(pieces[tuple(index)])] = True
    return reach


def _is_best(piece: np.ndarray, strength: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(E,) bool: the strongest pair of each piece; ties go to the smaller partner."""
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -strength, piece))
    first = np.ones(len(order), bool)
    first[1:] = piece[order][1:] != piece[order][:-1]
    best = np.zeros(len(order), bool)
    best[order[first]] = True
    return best


def _add_splits(
    accepted: np.ndarray,
    pairs: np.ndarray,
    owners: np.ndarray,
    smaller: np.ndarray,
    split_overlap: float,
    low: np.ndarray,
    high: np.ndarray,
) -> None:
    """Accept further partners of pieces that have one, in place; fragments that lie side by side in their block stay apart."""
    has_partner = np.isin(pairs[:, 0], pairs[accepted, 0]) | np.isin(pairs[:, 1], pairs[accepted, 1])
    candidates = np.flatnonzero(~accepted & has_partner & (smaller >= split_overlap))
    if len(candidates) == 0:
        return
    apart = [_side_by_side(side) for side in (low, high)]
    partners: list[dict[int, set[int]]] = [{}, {}]  # of each piece, the fragments of the other block
    for i in np.flatnonzero(accepted):
        _add_partner(partners, pairs[i], owners[i])
    # Best contained first; ties by number, so that the result depends on nothing else.
    for i in candidates[np.lexsort((pairs[candidates, 1], pairs[candidates, 0], -smaller[candidates]))]:
        clash = any(
            _ordered(int(owners[i, 1 - side]), other) in apart[1 - side]
            for side in (0, 1)
            for other in partners[side].get(int(pairs[i, side]), ())
        )
        if not clash:
            accepted[i] = True
            _add_partner(partners, pairs[i], owners[i])


def _refuse_slivers(
    accepted: np.ndarray, owners: np.ndarray, shared: np.ndarray, alike: np.ndarray, low: np.ndarray, high: np.ndarray
) -> None:
    """Refuse, in place, what would fuse two objects that both blocks tell apart by a piece that they give to different ones.

    That is a pair of fragments which share little, while each shares much with another partner; and either the blocks see
    that little differently (no two pieces are ``alike``), or the fragments lie side by side in one of the blocks.
    """
    pairs, which = np.unique(owners[accepted], axis=0, return_inverse=True)
    which = which.ravel()
    voxels = np.bincount(which, weights=shared[accepted], minlength=len(pairs))
    sure = np.bincount(which, weights=alike[accepted], minlength=len(pairs)) > 0
    best: tuple[dict[int, tuple[float, int]], ...] = ({}, {})  # of each fragment the partner that it shares most with
    for (a, b), n in zip(pairs.tolist(), voxels.tolist(), strict=True):
        best[0][a] = max(best[0].get(a, (0.0, 0)), (n, b))
        best[1][b] = max(best[1].get(b, (0.0, 0)), (n, a))
    little = [
        (number, _ordered(a, best[1][b][1]), _ordered(b, best[0][a][1]))
        for number, ((a, b), n) in enumerate(zip(pairs.tolist(), voxels.tolist(), strict=True))
        if n < _SLIVER * min(best[0][a][0], best[1][b][0])
    ]
    if not little:
        return
    apart = [_side_by_side(side) for side in (low, high)]
    wrong = [n for n, in_low, in_high in little if not sure[n] or in_low in apart[0] or in_high in apart[1]]
    accepted[np.flatnonzero(accepted)[np.isin(which, wrong)]] = False


def _side_by_side(fragments: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of fragments that touch within slices, and in a quarter or more of the slices that the shorter of both has.

    Where they only follow one another from slice to slice, or touch once, their block has lost the thread; it has not told
    them apart.
    """
    touching: Counter[tuple[int, int]] = Counter()
    slices: Counter[int] = Counter()
    for plane in fragments:
        slices.update(fastremap.unique(plane).tolist())
        touching.update(_ordered(int(a), int(b)) for a, b in cc3d.region_graph(np.ascontiguousarray(plane), connectivity=8))
    return {pair for pair, n in touching.items() if n >= _BESIDE * min(slices[pair[0]], slices[pair[1]])}


def _add_partner(partners: list[dict[int, set[int]]], pair: np.ndarray, owner: np.ndarray) -> None:
    for side in (0, 1):
        partners[side].setdefault(int(pair[side]), set()).add(int(owner[1 - side]))


def _ordered(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)


def _by_fragment(owners: np.ndarray, strength: np.ndarray, accepted: np.ndarray) -> Edges:
    """Pairs of pieces as pairs of fragments: accepted where any is, with the strongest of those."""
    low, high = owners.T
    listed = accepted | (strength >= _SEEN)
    low, high, strength, accepted = low[listed], high[listed], strength[listed], accepted[listed]
    order = np.lexsort((-strength, ~accepted, high, low))
    low, high, strength, accepted = low[order], high[order], strength[order], accepted[order]
    first = np.ones(len(low), bool)
    first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return {
        "low": low[first].astype(np.uint32),
        "high": high[first].astype(np.uint32),
        "strength": strength[first].astype(np.float32),
        "accepted": accepted[first],
    }
