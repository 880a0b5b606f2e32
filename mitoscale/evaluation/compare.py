"""Compare: U-Net alone, and SAM asked in several ways, on the same slices: accuracy and speed side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mitoscale.core.detector_names import AUTO
from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Spacing
from mitoscale.core.settings import DetectSettings, RelabelSettings, SegmentSettings
from mitoscale.core.source_choices import Reading
from mitoscale.evaluation.detector_choice import choose_detector
from mitoscale.evaluation.evaluate import score
from mitoscale.evaluation.foreground_metrics import foreground_scores
from mitoscale.evaluation.grey_volume import GreyVolume
from mitoscale.evaluation.sam_names import sam_names
from mitoscale.evaluation.truth import above, check_labels, open_truth
from mitoscale.nets.automatic import AutomaticMasks
from mitoscale.nets.checkpoint import load_sam, square_pixel
from mitoscale.nets.device import device
from mitoscale.nets.factories import make_detector
from mitoscale.nets.sam_segmenter import SamSegmenter
from mitoscale.ops.fusion import Fusion, Profiles
from mitoscale.ops.masks import Mask, paint
from mitoscale.ops.prompts import Prompts, prompts_from_profiles

MOST_VOXELS = 2**28
"""Largest region that is compared: it is held in memory once for each method."""

_SLICES_AT_ONCE = 16

UNET = "U-Net"
"""Name of the baseline: the U-Net's foreground, touching profiles parted by a watershed."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to find profiles, and what came of it."""

    name: str
    """What tables and pictures call it."""
    labels: np.ndarray
    """(Z, Y, X) uint32 objects."""
    seconds: float
    """All it took, the U-Net's time included."""
    scores: dict[str, Any]
    """See :func:`mitoscale.evaluation.evaluate.evaluate`."""
    slice_iou: list[float] = field(default_factory=list)
    """Foreground IoU of each slice."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All methods on the same slices."""

    image: np.ndarray
    """(Z, Y, X) uint8, normalised."""
    truth: np.ndarray
    """(Z, Y, X) labels or mask."""
    region: Region
    """What of the volume that is."""
    spacing: Spacing
    """Voxel size (z, y, x) in nm."""
    methods: list[Method]
    """In the order they ran."""
    detector_why: str = ""
    """Why the U-Net is what it is, where it was chosen for the volume."""

    def rows(self) -> list[dict[str, Any]]:
        """One flat row a method: scores, seconds a slice, Mvoxel/s."""
        rows = []
        for m in self.methods:
            nested = {f"{k}_{n}": v for k, part in m.scores.items() if isinstance(part, dict) for n, v in part.items()}
            plain = {k: v for k, v in m.scores.items() if not isinstance(v, dict)}
            speed = {
                "seconds_per_slice": m.seconds / len(self.image),
                "mvoxel_per_second": self.region.size / 1e6 / m.seconds,
            }
            rows.append({"method": m.name, **nested, **plain, **speed})
        return rows


@dataclass(frozen=True, kw_only=True)
class _Slices:
    """Some slices, and what SAM is asked about them."""

    image: np.ndarray
    """(Z, Y, X) uint8, normalised, with tissue mirrored into padding."""
    foreground: np.ndarray
    """(Z, Y, X) float32."""
    found: Profiles
    """The U-Net's profiles."""
    prompts: list[Prompts]
    """Of each slice, for all of its profiles."""
    region: Region
    """Region of the volume that they lie in, in voxels."""


@dataclass(kw_only=True)
class _Stack:
    """The masks of one method, some slices at a time, and its clock."""

    ask: Callable[[_Slices], np.ndarray]
    labels: list[np.ndarray] = field(default_factory=list)
    seconds: float = 0.0


def compare(
    volume: GreyVolume,
    truth: str,
    *,
    sams: Sequence[str],
    detect: DetectSettings,
    region: Region,
    threshold: float | None = None,
    truth_reading: Reading | None = None,
    automatic: bool = True,
    min_truth: int = 0,
    observer: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Compare on a region.

    Every SAM is asked for the U-Net's profiles with a centroid point, with a box, and as ``mitoscale run`` with
    ``--sam-step 0`` does (:mod:`mitoscale.ops.fusion`); and for everything (automatic masks, those with half of their
    pixels on the U-Net's foreground). Masks of neighbouring slices are linked, and objects below
    run's default volume dropped (unless the region cuts them), alike.

    Parameters
    ----------
    volume : GreyVolume
        The image.
    truth : str
        See :func:`mitoscale.evaluation.evaluate.evaluate`.
    sams : sequence of str
        SAM weights by name or path; each file once. See :func:`mitoscale.evaluation.sam_names.sam_names` for what rows call them.
    detect : DetectSettings
        The U-Net, or what stands in for it; ``auto``: whichever embedded one suits the region.
    region : Region
        What is compared.
    threshold : float, optional
        The truth is a mask of grey values or probabilities: values above this count.
    truth_reading : Reading, optional
        What of the truth is read.
    automatic : bool
        Include automatic masks, by far the slowest.
    min_truth : int
        See :func:`mitoscale.evaluation.evaluate.evaluate`.
    observer : callable
        Hears how many steps are done, of how many.

    Raises
    ------
    InputError
        If shapes differ, the region is too large or holds no truth, or weights are wrong or given twice.
    """
    names = sam_names(sams)
    labels = open_truth(truth, threshold, truth_reading)
    if labels.shape != volume.source.shape:
        raise InputError(f"{truth} has shape {labels.shape}, {volume.source.path} has {volume.source.shape}: they must be the same")
    if region.size > MOST_VOXELS:
        raise InputError(
            f"{region} holds {region.size} voxels, the limit is {MOST_VOXELS}; choose fewer slices with --slices or --region"
        )
    wanted = labels.read(region)
    if threshold is None:
        check_labels(wanted, truth)
    else:
        wanted = above(wanted, threshold, f"{truth} in {region}", "give a lower one, or other slices")
    if not wanted.any():
        raise InputError(f"the truth of {region} holds no mitochondrion; choose other slices")
    why = ""
    if detect.detector != AUTO:  # wrong weights are told at once
        make_detector(detect, volume.spacing)
    fusion = Fusion(detect=detect, segment=SegmentSettings(), spacing=volume.spacing)
    stacks = {UNET: _Stack(ask=lambda slices: slices.found.labels)}
    for sam, name in zip(sams, names, strict=True):
        stacks |= _sam_stacks(sam, name, fusion, automatic)
    if detect.detector == AUTO:
        choice = choose_detector(volume, region)
        detect, why = detect.model_copy(update={"detector": choice.detector}), choice.told()
        why += "; knowing this tissue, a run asks no SAM" if choice.knows else ""
    network = make_detector(detect, volume.spacing)
    image, total, done = volume.read(region), region.shape[0] * len(stacks), 0
    margin = tuple(
        int(np.ceil(m / s)) if axis == 0 else 0 for axis, (m, s) in enumerate(zip(detect.margin_nm, volume.spacing, strict=True))
    )
    whole = Region.of_shape(volume.source.shape)
    for first in range(0, region.shape[0], _SLICES_AT_ONCE):
        part = _slab(region, first, min(first + _SLICES_AT_ONCE, region.shape[0]))
        read = part.expanded((margin[0], 0, 0), within=whole)
        began = time.perf_counter()
        seen, padding = volume.read_tissue(read)
        own = part.within(read)
        seen_here, padding_here = seen[own], padding[own]
        foreground = np.where(padding_here, 0, network.foreground(seen, read)[own])
        found = fusion.profiles(foreground)
        shared = time.perf_counter() - began
        prompts = [prompts_from_profiles(plane) for plane in found.labels]
        slices = _Slices(image=seen_here, foreground=foreground, found=found, prompts=prompts, region=part)
        for stack in stacks.values():
            began = time.perf_counter()
            stack.labels.append(np.where(padding_here, 0, stack.ask(slices)))
            stack.seconds += shared + time.perf_counter() - began
            done += part.shape[0]
            observer(done, total)
    methods = [_finished(name, stack, wanted, fusion, min_truth) for name, stack in stacks.items()]
    return Comparison(image=image, truth=wanted, region=region, spacing=volume.spacing, methods=methods, detector_why=why)


def _slab(region: Region, first: int, last: int) -> Region:
    z = region.start[0]
    return Region(start=(z + first, *region.start[1:]), stop=(z + last, *region.stop[1:]))


def _sam_stacks(sam: str, name: str, fusion: Fusion, automatic: bool) -> dict[str, _Stack]:
    """The ways in which one SAM is asked, by the name that it has here."""
    model, card = load_sam(sam)
    model.to(device())
    nm, spacing = square_pixel(card, sam), fusion.spacing
    point, box, both = (SamSegmenter(model, pixel_nm=nm, spacing=spacing, ask=ask) for ask in ("point", "box", "both"))

    def asked(segmenter: SamSegmenter, slices: _Slices) -> list[list[Mask]]:
        return segmenter.masks(slices.image, slices.foreground, slices.prompts, slices.region)

    def fused(slices: _Slices) -> np.ndarray:
        masks = both.masks(slices.image, slices.foreground, slices.found.prompts(), slices.region)
        return fusion.fuse(slices.foreground, slices.found, masks).labels

    def painted(masks: Sequence[Sequence[Mask]], slices: _Slices) -> np.ndarray:
        return np.stack([paint(slices.image.shape[1:], fusion.kept(plane)) for plane in masks])

    def everything(slices: _Slices) -> np.ndarray:
        inside = slices.foreground >= fusion.detect.threshold
        found = [
            [m for m in generator.masks(i) if f[m.slices][m.mask].mean() >= 0.5] for i, f in zip(slices.image, inside, strict=True)
        ]
        return painted(found, slices)

    stacks = {
        f"{name}, points": _Stack(ask=lambda slices: painted(asked(point, slices), slices)),
        f"{name}, boxes": _Stack(ask=lambda slices: painted(asked(box, slices), slices)),
        f"{name} + U-Net": _Stack(ask=fused),
    }
    if automatic:
        generator = AutomaticMasks(model, pixel_nm=nm, spacing=spacing)
        stacks[f"{name}, automatic"] = _Stack(ask=everything)
    return stacks


def _finished(name: str, stack: _Stack, truth: np.ndarray, fusion: Fusion, min_truth: int) -> Method:
    """Link, drop small objects, score."""
    began = time.perf_counter()
    labels = fusion.link(np.concatenate(stack.labels))
    labels = _without_small(labels, RelabelSettings().min_volume_nm3 / float(np.prod(fusion.spacing)))
    seconds = stack.seconds + time.perf_counter() - began
    stack.labels.clear()
    return Method(
        name=name,
        labels=labels,
        seconds=seconds,
        scores=score(labels, truth, min_truth=min_truth),
        slice_iou=[foreground_scores(p, t)["iou"] for p, t in zip(labels, truth, strict=True)],
    )


def _without_small(labels: np.ndarray, least: float) -> np.ndarray:
    """(Z, Y, X) uint32: objects of fewer voxels removed, unless the region's border cuts them and they may be larger."""
    kept = np.bincount(labels.ravel()) >= least
    for axis in range(3):
        for end in (0, -1):
            kept[np.unique(labels.take(end, axis=axis))] = True
    kept[0] = False
    return np.where(kept[labels], labels, 0).astype(np.uint32)
