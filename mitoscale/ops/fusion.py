"""Fusion: the detector's foreground and a segmenter's masks become fragments.

One way for everyone: ``segment`` does it in blocks, ``compare`` on the slices it compares. In order: :meth:`Fusion.profiles`
(and which of them the segmenter is asked for), its masks, :meth:`Fusion.fuse`, and :meth:`Fusion.link`.

Where the foreground is sure it decides; where it is not, the segmenter does: its masks may claim what the foreground gives a low
probability, as long as it is more likely than not for a mask as a whole; profiles that it does not believe in are dropped, and it
is not asked where there is nothing unsure. What a profile has of the foreground and no mask claims stays with it, so nothing
else is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mitoscale.core.geometry import Region, Spacing
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.ops.between_slices import BetweenSlices, Kin, asked_slices, kin_of
from mitoscale.ops.link import link
from mitoscale.ops.masks import Mask, clip_to_foreground, fill_unclaimed, paint, score_of_profiles, suppress
from mitoscale.ops.profiles import profiles
from mitoscale.ops.prompts import Prompts, prompts_from_profiles


@dataclass(frozen=True, kw_only=True)
class Profiles:
    """The watershed's profiles of all slices, those that the segmenter is asked for first."""

    labels: np.ndarray
    """(Z, Y, X) int32: numbered from 1 without gaps in each slice; 0 is background."""
    wide: np.ndarray
    """(Z, Y, X) int32: the same with the unsure pixels around each."""
    asked: list[int]
    """Of each slice, how many of its profiles the segmenter answers for: 1 to this."""
    possible: int
    """How many it would be asked for if it could help with all."""
    between: dict[int, list[Kin]] = field(default_factory=dict)
    """Slices in which it is not asked: its answers there are those for the same objects in the slices around."""

    @property
    def questions(self) -> list[int]:
        """Of each slice, how many of its profiles the segmenter is asked for in it."""
        return [0 if z in self.between else asked for z, asked in enumerate(self.asked)]

    def prompts(self) -> list[Prompts]:
        """Of each slice, a prompt for each profile that is asked for."""
        return [prompts_from_profiles(plane, asked) for plane, asked in zip(self.wide, self.questions, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Fused:
    """The masks of all slices, before they are linked."""

    labels: np.ndarray
    """(Z, Y, X) int32 masks of each slice, numbered like its profiles."""
    own: np.ndarray
    """(Z, Y, X) bool: claimed by the segmenter's own mask, or by one that was interpolated from its masks."""
    changed: np.ndarray
    """(Z, Y, X) bool: other than without the segmenter: added, dropped, or another profile's."""
    scores: list[np.ndarray]
    """Of each slice (M,) float64: score of the mask with each number; see :func:`mitoscale.ops.masks.score_of_profiles`."""


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How foreground and masks become one."""

    detect: DetectSettings
    """Threshold, and how far apart two profiles are."""
    segment: SegmentSettings
    """How masks are asked for, cut at the foreground, filled and linked."""
    spacing: Spacing
    """Voxel size (z, y, x) in nm."""

    @property
    def aspect(self) -> float:
        """Width of a pixel (x) over its height (y)."""
        return self.spacing[2] / self.spacing[1]

    def ask_in(self, read: Region, worked_on: Region, margin: int) -> np.ndarray | None:
        """The slices of a read region in which the segmenter is asked; None: all of them.

        Parameters
        ----------
        read : Region
            A block with its margin.
        worked_on : Region
            All of what is segmented: the slices are counted from its first, and are the same in whatever block they lie.
        margin : int
            Slices that a block reads beyond its core: no two that are asked are further apart, so that it reads one on each side.
        """
        step = self.segment.sam_step_nm if self.segment.segmenter == "sam" else 0.0
        every = max(1, int(min(step / self.spacing[0] + 1e-6, margin)))
        return asked_slices(read, worked_on, every) if every > 1 else None

    def profiles(self, foreground: np.ndarray, core: tuple[slice, ...] | None = None, ask_in: np.ndarray | None = None) -> Profiles:
        """The profiles of each slice, small ones dropped, and which of them the segmenter is asked for.

        Foreground that hangs together by unsure pixels is one component, and touching profiles of a component are split by a
        watershed. What is surely foreground of each is the profile.

        Parameters
        ----------
        foreground : (Z, Y, X) float32
            Foreground probability 0..1.
        core : (slice, slice, slice), optional
            The part that counts: SAM is not asked for profiles that do not meet it.
        ask_in : (Z,) bool, optional
            The slices in which the segmenter is asked, with those that the core lies between; without it all.
        """
        counting = _counting(core, ask_in, len(foreground))
        least = self.segment.min_profile_nm2 / (self.spacing[1] * self.spacing[2])
        separation, level = self.detect.min_separation_nm / self.spacing[1], min(self.segment.group_from, self.detect.threshold)
        labels, wide = np.zeros(foreground.shape, np.int32), np.zeros(foreground.shape, np.int32)
        asked, possible = [0] * len(foreground), 0
        for z, plane in enumerate(foreground):
            found = plane >= self.detect.threshold
            if not found.any():
                continue
            grouped = profiles(plane, level, separation, self.aspect)
            numbers = without_small(np.where(found, grouped, 0), least, int(grouped.max()))
            here = None if core is None else core[1:] if z in counting else (slice(0), slice(0))
            order, asked[z], near = self._asked(plane, numbers[grouped], here)
            possible += near
            wide[z] = order[numbers[grouped]]
            labels[z] = np.where(found, wide[z], 0)
        between = kin_of(labels, ask_in) if ask_in is not None else {}
        for z, kin in between.items():
            order, asked[z] = _answered_first(kin, asked, asked[z], int(labels[z].max()))
            wide[z], labels[z] = order[wide[z]], order[labels[z]]
            between[z] = [replace(k, numbers=k.numbers[np.argsort(order)]) for k in kin]
        return Profiles(labels=labels, wide=wide, asked=asked, possible=possible, between=between)

    def _asked(self, foreground: np.ndarray, wide: np.ndarray, core: tuple[slice, ...] | None) -> tuple[np.ndarray, int, int]:
        """New numbers of a slice's profiles, those to ask for first; how many that are; and how many lie in the core."""
        sure = np.where(foreground >= self.detect.threshold, wide, 0)
        size = int(wide.max(initial=0)) + 1
        if self.segment.asks_all:
            return np.arange(size, dtype=np.int32), size - 1, size - 1
        claimable = np.where(foreground >= min(self.segment.unsure_from, self.detect.threshold), wide, 0)
        area, around = np.bincount(sure.ravel(), minlength=size), np.bincount(claimable.ravel(), minlength=size)
        total = np.bincount(sure.ravel(), foreground.ravel(), minlength=size)
        near = np.ones(size, bool) if core is None else np.bincount(wide[core].ravel(), minlength=size) > 0
        unsure = (around - area >= self.segment.unsure_share * area) | (total < self.segment.unsure_mean * area)
        wanted = (near & unsure)[1:]
        numbers = np.zeros(size, np.int32)
        numbers[np.argsort(~wanted, kind="stable") + 1] = np.arange(1, size)
        return numbers, int(wanted.sum()), int(near[1:].sum())

    def kept(self, masks: Sequence[Mask]) -> list[Mask]:
        """The masks of a slice that stay where several answer for the same thing, best first."""
        return [masks[i] for i in suppress(masks, iou=self.segment.nms_iou, iom=self.segment.nms_iom)]

    def fuse(self, foreground: np.ndarray, found: Profiles, masks: Sequence[Sequence[Mask]]) -> Fused:
        """The segmenter's masks where they may claim, and the watershed's profiles elsewhere.

        Parameters
        ----------
        foreground : (Z, Y, X) float32
            Foreground probability 0..1.
        found : Profiles
            From :meth:`profiles`.
        masks : sequence of sequences of Mask
            Of each slice, the segmenter's answers to what it was asked; empty where there is no segmenter.
        """
        labels, own = found.labels.copy(), np.zeros(found.labels.shape, bool)
        scores = [np.zeros(1)] * len(labels)
        answered = {z: masks[z] for z in range(len(masks)) if found.asked[z]}
        for z in sorted(answered.keys() - found.between.keys()):
            labels[z], own[z], scores[z] = self._fused(foreground[z], found.labels[z], answered[z], found.asked[z])
        between = BetweenSlices(found.labels, labels, own, answered, found.asked, self.aspect)
        for z in sorted(answered.keys() & found.between.keys()):
            carried = between.masks(z, found.between[z])
            labels[z], own[z], scores[z] = self._fused(foreground[z], found.labels[z], carried, found.asked[z])
        return Fused(labels=labels, own=own, changed=labels != found.labels, scores=scores)

    def _fused(
        self, foreground: np.ndarray, plane: np.ndarray, answers: Sequence[Mask], asked: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels, own voxels and scores of a slice; see :class:`Fused`."""
        dropped = self._dropped(plane, answers, asked)
        kept = self.kept([m for m in answers if not dropped[m.profile]])
        claimed = self._within(paint(plane.shape, kept), foreground)
        claimed[plane > asked] = 0  # sure of those, the foreground decides
        claimed = self._believed(claimed, foreground)
        labels = fill_unclaimed(claimed, np.where(dropped[plane], 0, plane))
        return labels, (claimed > 0) & (claimed == labels), score_of_profiles(kept)

    def _within(self, painted: np.ndarray, foreground: np.ndarray) -> np.ndarray:
        """What the masks of a slice may claim of it."""
        if self.segment.gate_nm is None:
            return np.where(foreground >= min(self.segment.unsure_from, self.detect.threshold), painted, 0)
        within, distance = foreground >= self.detect.threshold, self.segment.gate_nm / self.spacing[1]
        return clip_to_foreground(painted, within, distance, self.aspect)

    def _believed(self, claimed: np.ndarray, foreground: np.ndarray) -> np.ndarray:
        """Without the masks that the foreground as a whole speaks against: other organelles, of which it is sure of a part."""
        if self.segment.asks_all:
            return claimed
        pixels, total = np.bincount(claimed.ravel()), np.bincount(claimed.ravel(), foreground.ravel())
        return np.where((total < self.segment.min_mask_mean * pixels)[claimed], 0, claimed)

    def _dropped(self, plane: np.ndarray, answers: Sequence[Mask], asked: int) -> np.ndarray:
        """(N + 1,) bool: profiles of a slice that the segmenter does not believe in; never one that the border cuts."""
        best = np.full(int(plane.max(initial=0)) + 1, np.inf)
        best[1 : asked + 1] = 0
        for mask in answers:
            best[mask.profile] = max(best[mask.profile], mask.score)
        dropped = best < self.segment.least_score
        for edge in (plane[0], plane[-1], plane[:, 0], plane[:, -1]):
            dropped[edge] = False
        return dropped

    def link(self, labels: np.ndarray, *, open_ends: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Masks of neighbouring slices become fragments.

        Parameters
        ----------
        labels : (Z, Y, X) integer
            Masks of each slice, numbered within it.
        open_ends : (int, int)
            See :func:`mitoscale.ops.link.link`.

        Returns
        -------
        (Z, Y, X) uint32
        """
        settings = self.segment
        return link(
            labels,
            self.spacing,
            iou=settings.link_iou,
            iom=settings.link_iom,
            max_gap=settings.max_gap,
            open_ends=open_ends,
        )


def _counting(core: tuple[slice, ...] | None, ask_in: np.ndarray | None, count: int) -> set[int]:
    """Slices whose profiles are asked for: the core's, and the next ones around it in which the segmenter is asked."""
    if core is None:
        return set(range(count))
    slices = set(range(core[0].start, core[0].stop))
    if ask_in is not None:
        asked = np.flatnonzero(ask_in)
        slices |= {*asked[asked <= core[0].start][-1:].tolist(), *asked[asked >= core[0].stop - 1][:1].tolist()}
    return slices


def _answered_first(kin: Sequence[Kin], asked: Sequence[int], wanted: int, last: int) -> tuple[np.ndarray, int]:
    """(N + 1,) int32 new numbers of a slice's profiles, those first that get an answer from the slices around; how many."""
    known = np.zeros(last + 1, bool)
    for k in kin:
        known |= (k.numbers > 0) & (k.numbers <= asked[k.z])
    known[0], known[wanted + 1 :] = False, False
    order = np.zeros(len(known), np.int32)
    order[np.argsort(~known[1:], kind="stable") + 1] = np.arange(1, len(known))
    return order, int(known.sum())


def without_small(profiles: np.ndarray, least: float, last: int = 0) -> np.ndarray:
    """New numbers for profiles: 0 for those of fewer than ``least`` pixels, unless they meet the border; from 1 for the rest.

    Parameters
    ----------
    profiles : (Y, X) int32
        Numbered from 1; 0 is background.
    least : float
        Pixels of the smallest that stays.
    last : int
        Largest number there may be, where no pixel has it.

    Returns
    -------
    (N + 1,) int32
        By the present number.

    Examples
    --------
    >>> profiles = np.array([[1, 0, 0, 0], [0, 0, 2, 0], [0, 0, 3, 3], [0, 0, 0, 0]], np.int32)
    >>> without_small(profiles, 3).tolist()
    [0, 1, 0, 2]
    """
    areas = np.bincount(profiles.ravel(), minlength=last + 1)
    kept = areas >= least
    for edge in (profiles[0], profiles[-1], profiles[:, 0], profiles[:, -1]):
        kept[edge] = True
    kept[0] = False
    new = np.zeros(len(areas), np.int32)
    new[kept] = np.arange(1, int(kept.sum()) + 1)
    return new
