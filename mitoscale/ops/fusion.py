"""Fusion: the detector's foreground and a segmenter's masks become fragments.

One way for everyone: ``segment`` does it in blocks, ``compare`` on the slices it compares. In order: :meth:`Fusion.profiles`
(what the segmenter is asked for), its masks, :meth:`Fusion.fuse` (suppress, paint, clip to the foreground, fill), and
:meth:`Fusion.link`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mitoscale.core.geometry import Spacing
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.ops.centroids import profiles
from mitoscale.ops.link import link
from mitoscale.ops.masks import Mask, clip_to_foreground, fill_unclaimed, paint, score_of_profiles, suppress


@dataclass(frozen=True, kw_only=True)
class Fused:
    """The masks of all slices, before they are linked."""

    labels: np.ndarray
    """(Z, Y, X) int32 masks of each slice, numbered like its profiles."""
    own: np.ndarray
    """(Z, Y, X) bool: claimed by the segmenter's own mask, not by the watershed."""
    scores: list[np.ndarray]
    """Of each slice (M,) float64: score of the mask with each number; see :func:`mitoscale.ops.masks.score_of_profiles`."""


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """How foreground and masks become one."""

    detect: DetectSettings
    """Threshold, and how far apart two profiles are."""
    segment: SegmentSettings
    """Everything else."""
    spacing: Spacing
    """Voxel size (z, y, x) in nm."""

    @property
    def aspect(self) -> float:
        """Width of a pixel (x) over its height (y)."""
        return self.spacing[2] / self.spacing[1]

    def profiles(self, foreground: np.ndarray) -> np.ndarray:
        """The profiles of each slice: components of the foreground, touching ones split by a watershed, small ones dropped.

        Parameters
        ----------
        foreground : (Z, Y, X) float32
            Foreground probability 0..1.

        Returns
        -------
        (Z, Y, X) int32
            Numbered from 1 without gaps in each slice; 0 is background.
        """
        separation = self.detect.min_separation_nm / self.spacing[1]
        least = self.segment.min_profile_nm2 / (self.spacing[1] * self.spacing[2])
        found = np.zeros(foreground.shape, np.int32)
        for z, plane in enumerate(foreground):
            if plane.any():
                found[z] = drop_small(profiles(plane, self.detect.threshold, separation, self.aspect), least)
        return found

    def kept(self, masks: Sequence[Mask]) -> list[Mask]:
        """The masks of a slice that stay where several answer for the same thing, best first."""
        return [masks[i] for i in suppress(masks, iou=self.segment.nms_iou, iom=self.segment.nms_iom)]

    def fuse(self, foreground: np.ndarray, found: np.ndarray, masks: Sequence[Sequence[Mask]]) -> Fused:
        """The segmenter's masks within the foreground, and the watershed's profiles where it gave none.

        Parameters
        ----------
        foreground : (Z, Y, X) float32
            Foreground probability 0..1.
        found : (Z, Y, X) int32
            From :meth:`profiles`.
        masks : sequence of sequences of Mask
            Of each slice, the segmenter's answers to its profiles.
        """
        labels, own = found.copy(), np.zeros(found.shape, bool)
        scores = [np.zeros(1)] * len(found)
        for z, answers in enumerate(masks):
            if not found[z].any():
                continue
            kept = self.kept(answers)
            within = foreground[z] >= self.detect.threshold
            distance = self.segment.gate_nm / self.spacing[1]
            claimed = clip_to_foreground(paint(found[z].shape, kept), within, distance, self.aspect)
            labels[z] = fill_unclaimed(claimed, found[z])
            own[z] = (claimed > 0) & (claimed == labels[z])
            scores[z] = score_of_profiles(kept)
        return Fused(labels=labels, own=own, scores=scores)

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


def drop_small(profiles: np.ndarray, least: float) -> np.ndarray:
    """Profiles of fewer than ``least`` pixels removed unless they meet the border; the rest renumbered from 1.

    Parameters
    ----------
    profiles : (Y, X) int32
        Numbered from 1; 0 is background.
    least : float
        Pixels of the smallest that stays.

    Returns
    -------
    (Y, X) int32

    Examples
    --------
    >>> drop_small(np.array([[1, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]], np.int32), 2).tolist()
    [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    """
    areas = np.bincount(profiles.ravel())
    kept = areas >= least
    for edge in (profiles[0], profiles[-1], profiles[:, 0], profiles[:, -1]):
        kept[edge] = True
    kept[0] = False
    new = np.zeros(len(areas), np.int32)
    new[kept] = np.arange(1, int(kept.sum()) + 1)
    return new[profiles]
