"""What a U-Net, turned round in several ways, and SAM say of the windows of a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mitoscale.core.geometry import Spacing
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.evaluation.tissue_windows import Window
from mitoscale.nets.device import device
from mitoscale.nets.predictors import MaskSegmenter
from mitoscale.nets.unet import UNet, folded_normalisation
from mitoscale.nets.unet_detector import ORIENTATIONS, UNetDetector
from mitoscale.ops.fusion import Fusion
from mitoscale.ops.masks import Mask, paint
from mitoscale.training import variety

_ACCEPTED_IOU = 0.5
"""A mask of SAM that meets its profile less than this answers for something else."""

_OUT_NM = 60.0
"""How far SAM's masks may leave a profile."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is said of one window's own slice."""

    views: np.ndarray
    """(V, Y, X) float32 foreground probability 0..1 of the U-Net, one orientation each."""
    changed: np.ndarray
    """(Y, X) float32 the same of the window with other grey values, noise and sharpness."""
    profiles: np.ndarray
    """(Y, X) int32 surely foreground pixels of each profile, numbered from 1."""
    wide: np.ndarray
    """(Y, X) int32 the same with the unsure pixels around each."""
    judged: np.ndarray | None
    """(Y, X) int32 the profile whose accepted mask claims the pixel; None: nobody was asked."""
    outline: float | None
    """Sum over profiles of area x IoU of the profile with its mask; None: nobody was asked."""

    @property
    def mean(self) -> np.ndarray:
        """(Y, X) float32 mean of the views."""
        mean: np.ndarray = self.views.mean(axis=0)
        return mean


class Asker:
    """Asks U-Nets and SAM about windows.

    Parameters
    ----------
    spacing : (z, y, x)
        Voxel size in nm.
    pixel_nm : float or (y, x)
        Pixel size of the U-Net.
    judge : MaskSegmenter or None
        SAM, or nobody.
    """

    def __init__(self, spacing: Spacing, pixel_nm: float | tuple[float, float], judge: MaskSegmenter | None) -> None:
        self.spacing = spacing
        self.pixel_nm = pixel_nm
        self.judge = judge
        segment = SegmentSettings(gate_nm=_OUT_NM)  # all profiles are asked for
        self.fusion = Fusion(detect=DetectSettings(), segment=segment, spacing=spacing)

    def answers(self, model: UNet, windows: Sequence[Window]) -> list[Answer]:
        """What the network and SAM say.

        Parameters
        ----------
        model : UNet
            The network, as it is in a training or not; it stays as it is.
        windows : sequence of Window
            What is asked about.
        """
        quick = folded_normalisation(model).to(device())
        detector = UNetDetector(quick, pixel_nm=self.pixel_nm, spacing=self.spacing)
        return [self._answer(detector, window) for window in windows]

    def _answer(self, detector: UNetDetector, window: Window) -> Answer:
        views = []
        for axes in ORIENTATIONS:
            turned = np.ascontiguousarray(np.flip(window.image, axes) if axes else window.image)
            (view,) = detector.probability(turned, [window.own])
            views.append(np.flip(view, axes) if axes else view)
        stacked = np.stack(views)
        (changed,) = detector.probability(_changed(window), [window.own])
        found = self.fusion.profiles(stacked.mean(axis=0)[None])
        profiles, wide = found.labels[0], found.wide[0]
        judged, outline = None, None
        if self.judge is not None:
            plane = window.image[window.own : window.own + 1]
            (masks,) = self.judge.masks(plane, stacked.mean(axis=0)[None], found.prompts(), window.region)
            judged, outline = _judged(profiles, masks, self.fusion.segment.min_score)
        return Answer(views=stacked, changed=changed, profiles=profiles, wide=wide, judged=judged, outline=outline)


def _judged(profiles: np.ndarray, masks: Sequence[Mask], least_score: float) -> tuple[np.ndarray, float]:
    """The pixels that accepted masks claim, and the sum of area x IoU."""
    areas = np.bincount(profiles.ravel())
    united: dict[int, list[Mask]] = {}
    for mask in masks:
        united.setdefault(mask.profile, []).append(mask)  # a large profile has several, its parts, which overlap
    accepted, outline = [], 0.0
    for number, parts in united.items():
        claimed = np.zeros(profiles.shape, bool)
        for part in parts:
            claimed[part.slices] |= part.mask
        both = int((claimed & (profiles == number)).sum())
        iou = both / max(areas[number] + int(claimed.sum()) - both, 1)
        outline += float(iou * areas[number])
        if iou >= _ACCEPTED_IOU and max(part.score for part in parts) >= least_score:
            accepted += parts
    return paint(profiles.shape, accepted), outline


def _changed(window: Window) -> np.ndarray:
    """(K, Y, X) uint8: the window as another microscope would show it, always the same for the same window."""
    rng = np.random.default_rng([7, *window.region.start])
    image = window.image.astype(np.float32) / 255
    image = variety.expose(variety.grey_curve(image, rng), rng)
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
