"""Slices in which the segmenter is not asked: its masks of the slices around, carried over by shape interpolation.

Slices of an isotropic volume show nearly the same. What a mask adds to its profile and takes away from it is a difference of two
signed distances; between two slices that are asked it is interpolated, and added to the signed distance of the profile in between
(shape-based interpolation, Raya & Udupa 1990, of the difference, so that profiles may move and change size).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from mitoscale.core.geometry import Region
from mitoscale.ops.contingency import contingency
from mitoscale.ops.masks import Mask

_BESIDE = 8
"""Pixels around profile and mask in which differences are known; farther out they are as at the edge."""

_MOST_ACROSS = 256
"""Pixels of a box along either axis up to which distances are taken at each; in larger ones at each third, fifth, ... alone, and
interpolated between: SAM draws a window's masks no finer."""


def asked_slices(read: Region, worked_on: Region, every: int) -> np.ndarray:
    """The slices in which the segmenter is asked: each so many-th of the volume's, and its last.

    Parameters
    ----------
    read : Region
        What is looked at.
    worked_on : Region
        The volume: the same slices are asked wherever a region that is looked at begins.
    every : int
        1: all.

    Returns
    -------
    (Z,) bool

    Examples
    --------
    >>> volume = Region.of_shape((14, 9, 9))
    >>> asked_slices(Region(start=(8, 0, 0), stop=(14, 9, 9)), volume, 4).astype(int).tolist()
    [1, 0, 0, 0, 1, 1]
    """
    z = np.arange(read.start[0], read.stop[0])
    asked: np.ndarray = ((z - worked_on.start[0]) % every == 0) | (z == worked_on.stop[0] - 1)
    return asked


@dataclass(frozen=True, kw_only=True)
class Kin:
    """A slice's profiles in one of the next slices that are asked, as far as they can be followed: not where several become one."""

    z: int
    """That slice."""
    numbers: np.ndarray
    """(N + 1,) int32: by a profile's number, the one it has there; 0 where it cannot be followed."""


def kin_of(labels: np.ndarray, asked: np.ndarray) -> dict[int, list[Kin]]:
    """Of each slice that is not asked, its profiles in the next that are, below and above, followed from slice to slice by overlap.

    Parameters
    ----------
    labels : (Z, Y, X) int32
        Profiles, numbered from 1 in each slice.
    asked : (Z,) bool
        Slices in which the segmenter is asked.

    Examples
    --------
    >>> labels = np.zeros((3, 4, 4), np.int32); labels[0, :, :3] = 2; labels[1:, :, 1:] = 1
    >>> [(kin.z, kin.numbers.tolist()) for kin in kin_of(labels, np.array([True, False, False]))[2]]
    [(0, [0, 2])]
    """
    found: dict[int, list[Kin]] = {int(z): [] for z in np.flatnonzero(~asked)}
    for order in (range(len(labels)), range(len(labels) - 1, -1, -1)):
        last: Kin | None = None
        for before, z in pairwise(order):
            if asked[before]:
                last = Kin(z=before, numbers=np.arange(int(labels[before].max(initial=0)) + 1, dtype=np.int32))
            if last is not None:
                last = Kin(z=last.z, numbers=last.numbers[_followed(labels[z], labels[before])])
                if not asked[z]:
                    found[z].append(last)
    return found


def _followed(labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N + 1,) int32: by label, the label of another (Y, X) plane that covers most of it; 0 where none does, or several are one."""
    best = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    table = contingency(labels, others)
    mine, theirs = table.pred_labels[table.pred], table.true_labels[table.true]
    order = np.argsort(table.count, kind="stable")  # the largest is written last
    order = order[(mine[order] > 0) & (theirs[order] > 0)]
    mine, theirs = mine[order], theirs[order]
    best[mine] = theirs
    back = np.zeros(int(theirs.max(initial=0)) + 1, np.int32)
    back[theirs] = mine
    best[np.bincount(back, minlength=len(best)) > 1] = 0
    return best


@dataclass(frozen=True, kw_only=True)
class _Change:
    """What a mask changes of its profile."""

    y0: int = 0
    x0: int = 0
    step: int = 1
    """Pixels from one value to the next."""
    difference: np.ndarray | None
    """(H, W) float32: signed distance to the mask's outline less that to the profile's; None where there is no mask."""
    score: float

    def at(self, box: tuple[slice, slice], step: int) -> np.ndarray:
        """The difference at each so many-th pixel of a box of the slice; beyond its own box that of the nearest pixel."""
        assert self.difference is not None
        y, x = ((np.arange(s.start, s.stop, step) - first) / self.step for s, first in zip(box, (self.y0, self.x0), strict=True))
        return _interpolated(self.difference, y, x)


_AS_IT_IS = _Change(difference=np.zeros((1, 1), np.float32), score=1.0)
"""Of a profile of which the detector is sure, or that stays without a mask."""


class BetweenSlices:
    """Masks of the slices that are not asked, from those of the slices that are, as far as these were taken there.

    Parameters
    ----------
    profiles : (Z, Y, X) int32
        Profiles, numbered from 1 in each slice.
    labels : (Z, Y, X) int32
        What they have become in the slices that are asked.
    own : (Z, Y, X) bool
        What of that the segmenter's masks hold.
    answers : mapping of int to sequence of Mask
        These masks, of each slice that is asked.
    answered : sequence of int
        Of each slice, the last number of a profile that there is an answer for.
    aspect : float
        Width of a pixel (x) over its height (y).
    """

    def __init__(
        self,
        profiles: np.ndarray,
        labels: np.ndarray,
        own: np.ndarray,
        answers: Mapping[int, Sequence[Mask]],
        answered: Sequence[int],
        aspect: float,
    ) -> None:
        self._profiles, self._labels, self._own, self._answered, self._aspect = profiles, labels, own, answered, aspect
        self._masks: dict[tuple[int, int], list[Mask]] = {}
        for z, masks in answers.items():
            for mask in masks:
                self._masks.setdefault((z, mask.profile), []).append(mask)
        self._boxes: dict[int, list[tuple[slice, slice] | None]] = {}
        self._changes: dict[tuple[int, int], _Change] = {}

    def masks(self, z: int, kin: Sequence[Kin]) -> list[Mask]:
        """The masks of a slice that is not asked, for its first profiles; logits are distances in pixels.

        Parameters
        ----------
        z : int
            The slice.
        kin : sequence of Kin
            One or two, from :func:`kin_of`.
        """
        found = []
        for number in range(1, self._answered[z] + 1):
            near = [(1 / abs(k.z - z), self._change(k.z, int(k.numbers[number]))) for k in kin if k.numbers[number]]
            whole = sum(weight for weight, _ in near)
            mask = self._mask(z, number, [(weight / whole, change) for weight, change in near])
            if mask is not None:
                found.append(mask)
        return found

    def _mask(self, z: int, number: int, near: Sequence[tuple[float, _Change]]) -> Mask | None:
        """A profile with the changes around it, each with its weight."""
        there = [(weight, change) for weight, change in near if change.difference is not None]
        profile = self._box(z, number)
        if not there or profile is None:
            return None
        reach = max(float(change.difference.max()) for _, change in there if change.difference is not None)
        box = self._wider(profile, _BESIDE + max(0.0, reach))
        step = max(_step(box), *(change.step for _, change in there))
        box = _on_grid(box, step)
        whole = sum(weight for weight, _ in there)
        own = self._profiles[z][box] == number
        change = np.sum([np.float32(weight / whole) * change.at(box, step) for weight, change in there], axis=0)
        values = self._signed(own, step) + change
        if step > 1:
            pixels = [np.arange(s.stop - s.start) / step for s in box]
            values = _interpolated(values, *pixels)
            as_it_is = np.abs(_interpolated(change, *pixels)) < 0.5
            values = np.where(as_it_is, np.where(own, 1, -1) * np.maximum(np.abs(values), 0.5), values)
        score = sum(weight * change.score for weight, change in near)
        return Mask(y0=box[0].start, x0=box[1].start, mask=values > 0, logits=values, score=score, profile=number)

    def _change(self, z: int, number: int) -> _Change:
        """What the segmenter changed of a profile in a slice that was asked."""
        if number > self._answered[z]:
            return _AS_IT_IS
        if (z, number) not in self._changes:
            self._changes[z, number] = self._changed(z, number)
        return self._changes[z, number]

    def _changed(self, z: int, number: int) -> _Change:
        """The whole mask counts: what of it the foreground speaks against in its own slice may be otherwise in the next."""
        profile, masks = self._box(z, number), self._masks.get((z, number), [])
        if profile is None or not self._labels[z][profile][self._profiles[z][profile] == number].any():  # dropped
            return _Change(difference=None, score=max((mask.score for mask in masks), default=0.0))
        if not any((self._own[z][m.slices] & (self._labels[z][m.slices] == number)).any() for m in masks):  # none was taken
            return _AS_IT_IS
        parts = [profile, *(mask.slices for mask in masks)]
        y, x = (slice(min(p[axis].start for p in parts), max(p[axis].stop for p in parts)) for axis in (0, 1))
        box = self._wider((y, x), _BESIDE)
        step = _step(box)
        box = _on_grid(box, step)
        whole = np.zeros(self._profiles.shape[1:], bool)
        for mask in masks:
            whole[mask.slices] |= mask.mask
        difference = self._signed(whole[box], step) - self._signed(self._profiles[z][box] == number, step)
        score = max(mask.score for mask in masks)
        return _Change(y0=box[0].start, x0=box[1].start, step=step, difference=difference, score=score)

    def _box(self, z: int, number: int) -> tuple[slice, slice] | None:
        """Box of a profile."""
        if z not in self._boxes:
            self._boxes[z] = ndimage.find_objects(self._profiles[z])
        return self._boxes[z][number - 1]

    def _signed(self, mask: np.ndarray, step: int) -> np.ndarray:
        """Distance to the outline at each so many-th pixel, float32, in pixels along y, positive inside."""
        mask, sampling = mask[::step, ::step], (step, step * self._aspect)
        inside = ndimage.distance_transform_edt(mask, sampling) if not mask.all() else np.full(mask.shape, step * sum(mask.shape))
        signed = np.where(mask, inside - step / 2, step / 2 - ndimage.distance_transform_edt(~mask, sampling))
        return signed.astype(np.float32)

    def _wider(self, box: tuple[slice, slice], beside: float) -> tuple[slice, slice]:
        """A box with what is within ``beside`` pixels (along y) of it, within the slice."""
        y, x = (
            slice(max(0, s.start - int(np.ceil(n))), min(size, s.stop + int(np.ceil(n))))
            for s, n, size in zip(box, (beside, beside / self._aspect), self._profiles.shape[1:], strict=True)
        )
        return y, x


def _step(box: tuple[slice, slice]) -> int:
    """At each so many-th pixel of a box distances are taken: an odd number, so that no pixel lies half way between two."""
    return -(-max(s.stop - s.start for s in box) // _MOST_ACROSS) // 2 * 2 + 1


def _on_grid(box: tuple[slice, slice], step: int) -> tuple[slice, slice]:
    """A box that begins at a pixel where distances are taken: the same ones of the slice in all boxes of this step."""
    y, x = (slice(s.start // step * step, s.stop) for s in box)
    return y, x


def _interpolated(values: np.ndarray, *at: np.ndarray) -> np.ndarray:
    """(Y, X) float32 values at rows and columns, given as float indices, between four neighbours; beyond the edge as there."""
    for axis, wanted in enumerate(at):
        inside = np.clip(wanted, 0, values.shape[axis] - 1)
        low = np.floor(inside).astype(int)
        share = np.expand_dims((inside - low).astype(np.float32), 1 - axis)
        if share.any():
            high = np.minimum(low + 1, values.shape[axis] - 1)
            values = (1 - share) * values.take(low, axis) + share * values.take(high, axis)
        else:
            values = values.take(low, axis)
    return values
