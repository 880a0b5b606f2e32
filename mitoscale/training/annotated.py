"""An annotated volume to train on: grey values normalised as inference does, and truth as instances."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Spacing
from mitoscale.core.source_choices import Reading
from mitoscale.evaluation.truth import CURE, above, check_background, check_lowest, open_truth
from mitoscale.ops.grey_histogram import Histogram
from mitoscale.ops.instances import components, connected_parts, instances, is_grey_image, is_grey_mask, is_two_valued
from mitoscale.ops.slice_padding import padding_of_slices, without_padding
from mitoscale.stages.grey_statistics import grey_of, tissue_of
from mitoscale.stages.source import Source, open_source
from mitoscale.storage.sources.kinds import open_reader
from mitoscale.storage.sources.reader import PartialSpacing
from mitoscale.training.crop import UNLABELLED, Annotated

_EXACT = 2**24
"""Crops are sampled as float32, which holds smaller labels exactly; larger ones are numbered anew."""


_PIECES = 4
"""An instance is mostly one piece; values that mean something else are many."""


@dataclass(frozen=True, kw_only=True)
class AnnotatedVolume:
    """A whole annotated volume."""

    image: np.ndarray
    """(Z, Y, X) uint8 normalised, with tissue mirrored into padding."""
    truth: np.ndarray
    """(Z, Y, X) integer: two-valued, or instances."""
    spacing: Spacing
    """Voxel size (z, y, x) in nm."""
    digest: str
    """SHA-256 of image and truth."""
    unknown: np.ndarray | None = None
    """(Z, Y, X) bool: what nobody has annotated, 0 in ``truth``; such a volume may be without a mitochondrion."""
    padding: np.ndarray | None = None
    """(Z, Y, X) bool: where there is no tissue, which teaches nothing either; None: tissue everywhere."""
    labelled: bool = False
    """Whether each value is known to be an object; else one value besides 0 is a mask."""
    notes: tuple[str, ...] = ()
    """What people should know of the volume."""

    @property
    def depth(self) -> int:
        """Number of slices."""
        return len(self.image)

    @property
    def truth_told(self) -> str:
        """What the truth was taken for, for people to see; with a doubt where its values fall in many pieces each."""
        mask = not self.labelled and is_two_valued(self.truth)
        pieces = int((components if mask else connected_parts)(self.truth).max())
        if mask:
            return f"a mask of {pieces} separate pieces"
        values = len(np.unique(self.truth[self.truth != 0]))
        told = f"{values} instances in {pieces} separate pieces"
        if pieces <= _PIECES * values:
            return told
        return f"{told}: if its values are grey values or classes, give --truth-threshold"

    def part(self, slices: tuple[int, int], share: float, *, border: int = 0, name: str = "") -> Annotated:
        """Some slices to train on or to score on; a two-valued truth becomes instances there.

        Parameters
        ----------
        slices : (start, stop)
            Which.
        share : float
            How often they are drawn from, relative to other volumes.
        border : int
            Pixels along the edges of each slice that become unlabelled.
        name : str
            What they are called in scores.

        Raises
        ------
        InputError
            If the slices leave the volume, or hold no mitochondrion or nothing else.
        """
        start, stop = slices
        if not 0 <= start < stop <= self.depth:
            raise InputError(f"slices {start}:{stop} leave the volume, which has 0:{self.depth}")
        truth = self.truth[start:stop]
        if not truth.any() and self.unknown is None:
            raise InputError(f"the truth of slices {start}:{stop} holds no mitochondrion; choose other slices")
        if truth.all():
            raise InputError(
                f"the truth of slices {start}:{stop} holds nothing but mitochondria; is it inverted, or is "
                "--truth-threshold missing or too low?"
            )
        labels = truth if self.labelled else instances(truth)
        if labels.max() >= _EXACT:
            _, compact = np.unique(np.append(0, labels), return_inverse=True)  # 0 stays 0
            labels = compact[1:].reshape(labels.shape)
        labels = labels.astype(np.int32)
        for untaught in (self.unknown, self.padding):
            if untaught is not None:
                labels[untaught[start:stop]] = UNLABELLED
        if border:
            inner = labels[:, border:-border, border:-border]
            if not inner.any():
                raise InputError(f"the truth of slices {start}:{stop} holds no mitochondrion within its border of {border} pixels")
            labels = np.pad(inner, ((0, 0), (border, border), (border, border)), constant_values=UNLABELLED)
        return Annotated(image=self.image[start:stop], labels=labels, spacing=self.spacing, share=share, name=name)


def read_annotated(
    volume: str,
    truth: str,
    voxel_size: Spacing | None,
    threshold: float | None = None,
    *,
    invert: bool = False,
    unlabelled: int | None = None,
    normalised: bool = False,
    reading: Reading | None = None,
    truth_dtype: str | None = None,
) -> AnnotatedVolume:
    """Read a volume and its truth.

    Parameters
    ----------
    volume, truth : str
        What is read.
    voxel_size : (z, y, x), optional
        In nm; wins over what the files say.
    threshold : float, optional
        The truth is a mask of grey values or probabilities: above this is mitochondrion.
    invert : bool
        Swap dark and bright.
    unlabelled : int, optional
        Value of the truth that means "not annotated".
    normalised : bool
        The image is normalised already.
    reading : Reading, optional
        What of the volume is read.
    truth_dtype : str, optional
        Of a truth of raw bytes.

    Raises
    ------
    InputError
        If either cannot be read, the shapes or voxel sizes differ, or the truth is empty or no annotation.
    """
    reading = reading or Reading()
    source = open_source(volume, voxel_size, reading)
    labels_source = open_truth(truth, threshold, reading.of_truth(truth_dtype))
    if voxel_size is None:
        _check_spacing(truth, labels_source.reader.spacing, source.spacing, volume)
    image, padding = _normalised(source, invert, normalised)
    labels = labels_source.read(labels_source.cropped(None))
    if labels.shape != image.shape:
        raise InputError(f"{truth} has shape {labels.shape}, {volume} has {image.shape}: they must be the same")
    unknown = None if unlabelled is None else labels == unlabelled
    if unknown is not None:
        if unknown.all():
            raise InputError(f"{truth} holds nothing but {unlabelled}, which means not annotated: there is nothing to learn")
        labels = np.where(unknown, 0, labels).astype(labels.dtype)
    if threshold is not None:
        labels = above(labels, threshold, truth)
    else:
        check_lowest(truth, int(labels.min(initial=0)))
        if is_grey_mask(labels) or is_grey_image(labels):
            raise InputError(f"{truth} holds grey values, not labels: {CURE}")
        if not labels_source.labelled:
            inside = labels[labels > 0]
            lowest, highest = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)
            background = labels.size - inside.size
            check_background(truth, voxels=labels.size, background=background, lowest=lowest, highest=highest)
    if not labels.any() and unknown is None:
        raise InputError(f"{truth} is empty: it holds no mitochondrion")
    digest = hashlib.sha256(np.ascontiguousarray(image).data)
    digest.update(np.ascontiguousarray(labels).data)
    if unknown is not None:
        digest.update(np.packbits(unknown).data)
    return AnnotatedVolume(
        image=image,
        truth=labels,
        spacing=source.spacing,
        digest=digest.hexdigest(),
        unknown=unknown,
        padding=padding,
        labelled=labels_source.labelled and threshold is None,
        notes=source.notes,
    )


def read_grey(
    volume: str,
    voxel_size: Spacing | None,
    *,
    invert: bool = False,
    normalised: bool = False,
    reading: Reading | None = None,
) -> tuple[np.ndarray, Spacing]:
    """Read a volume's grey values, normalised as inference does.

    Parameters
    ----------
    volume : str
        A volume of any kind.
    voxel_size : (z, y, x), optional
        In nm; wins over what the file says.
    invert : bool
        Swap dark and bright.
    normalised : bool
        It is so already, and taken as it is.
    reading : Reading, optional
        What of the volume is read.

    Returns
    -------
    (Z, Y, X) uint8
        Grey values, with tissue mirrored into padding.
    (z, y, x)
        Voxel size in nm.

    Raises
    ------
    InputError
        If it cannot be read, has no contrast, or is said to be normalised and is not uint8.
    """
    source = open_source(volume, voxel_size, reading)
    return _normalised(source, invert, normalised)[0], source.spacing


def _normalised(source: Source, invert: bool, already: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """(Z, Y, X) uint8 of the whole volume with tissue mirrored into padding, and (Z, Y, X) bool where that is; None: nowhere."""
    image = open_reader(source.path, source.reading).read(Region.of_shape(source.shape))
    if already:
        if image.dtype != np.uint8 or invert:
            raise InputError(f"{source.path} is {image.dtype}; what is normalised already is uint8 and not to be inverted")
        return image, None
    padding, bins = padding_of_slices(image)
    tissue, known = tissue_of(Histogram.of(image), bins)
    normalised = grey_of(tissue, source.path, invert=invert).normalisation.apply(image)
    return (without_padding(normalised, padding), padding) if known and padding.any() else (normalised, None)


def _check_spacing(truth: str, there: PartialSpacing, spacing: Spacing, volume: str) -> None:
    """Raise where the truth tells another voxel size than the volume's; who does not tell it is believed."""
    if any(a is not None and not np.isclose(a, b, rtol=0.01) for a, b in zip(there, spacing, strict=True)):
        raise InputError(
            f"{truth} has voxels of {_shown(there)} nm, {volume} of {_shown(spacing)} nm: they must be the same; "
            "where one of them is wrong, give --voxel-size"
        )


def _shown(spacing: Spacing | PartialSpacing) -> str:
    return " x ".join("?" if s is None else f"{s:g}" for s in spacing)
