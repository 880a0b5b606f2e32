"""Agglomerate: groups of members that attract and repel, joined strongest first by the mean of what lies between them.

Signed average linkage: Bailoni et al., GASP, CVPR 2022, arXiv 1906.11713. It needs no threshold and no
number of groups, and evidence counts by majority: O(E log E) for E pairs.
"""

from __future__ import annotations

import heapq

import numpy as np


class Groups:
    """Members 0..N-1, each a group of its own at first; member 0 stands for the background and is never paired.

    Parameters
    ----------
    count : int
        Members.

    Examples
    --------
    >>> groups = Groups(4)
    >>> groups.add(np.array([[1, 2], [2, 3], [1, 3]]), np.array([0.9, 0.4, -0.6]))
    >>> groups.join()
    >>> groups.numbers().tolist()
    [0, 1, 1, 2]
    """

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))
        self._between: list[dict[int, tuple[float, int]]] = [{} for _ in range(count)]

    def add(self, pairs: np.ndarray, weights: np.ndarray) -> None:
        """Say what lies between members.

        Parameters
        ----------
        pairs : (E, 2) integer
            Different members above 0; a pair may come several times.
        weights : (E,) float
            Above 0 attracts, below 0 repels.
        """
        for (a, b), weight in zip(pairs.tolist(), weights.tolist(), strict=True):
            p, q = self._root(a), self._root(b)
            if p != q:
                total, number = self._between[p].get(q, (0.0, 0))
                self._between[p][q] = self._between[q][p] = (total + weight, number + 1)

    def join(self) -> None:
        """Join groups while the mean between any two is above 0; ties go to the smaller members."""
        heap = [
            (-total / number, a, b)
            for a, others in enumerate(self._between)
            for b, (total, number) in others.items()
            if a < b and total > 0
        ]
        heapq.heapify(heap)
        while heap:
            weight, a, b = heapq.heappop(heap)
            total, number = self._between[a].get(b, (0.0, 1))
            if -total / number == weight and total > 0:  # else one of both has grown meanwhile
                self._join(a, b, heap)

    def _join(self, a: int, b: int, heap: list[tuple[float, int, int]]) -> None:
        if len(self._between[a]) < len(self._between[b]):  # the shorter list moves: O(E log E) in all
            a, b = b, a
        self._parent[b] = a
        moved, mine = self._between[b], self._between[a]
        self._between[b] = {}
        del mine[b]
        for other, (total, number) in moved.items():
            if other == a:
                continue
            of_other = self._between[other]
            del of_other[b]
            here = mine.get(other, (0.0, 0))
            summed = (here[0] + total, here[1] + number)
            mine[other] = of_other[a] = summed
            if summed[0] > 0:
                heapq.heappush(heap, (-summed[0] / summed[1], min(a, other), max(a, other)))

    def _root(self, member: int) -> int:
        parent = self._parent
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    def roots(self) -> np.ndarray:
        """(N,) int64: a member that stands for each member's group."""
        return np.array([self._root(i) for i in range(len(self._parent))], np.int64)

    def numbers(self) -> np.ndarray:
        """(N,) uint32: the group of each member, groups in the order of their smallest member, from 0."""
        _, first, inverse = np.unique(self.roots(), return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.uint32)
        rank[np.argsort(first)] = np.arange(len(first), dtype=np.uint32)
        result: np.ndarray = rank[inverse]
        return result
