"""Pictures of a run: slices with their labels, cuts along all axes, and the distribution of volumes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image

from mitoscale.core.geometry import Spacing

_FILL = 0.28
"""How much of a label's colour covers the image inside it."""


def label_colours(labels: np.ndarray) -> np.ndarray:
    """A stable colour for each label.

    Parameters
    ----------
    labels : (...) unsigned
        Labels.

    Returns
    -------
    (..., 3) float32
        RGB 0..1; the same label has the same colour in every picture.
    """
    # Multiplying by a large odd number spreads neighbouring labels over the palette.
    place = (labels.astype(np.uint64) * np.uint64(2654435761) % np.uint64(2**32)).astype(np.float64) / 2**32
    colours: np.ndarray = colormaps["hsv"](place)[..., :3].astype(np.float32)
    return colours


def overlay(image: np.ndarray, labels: np.ndarray, points: np.ndarray | None = None) -> np.ndarray:
    """A slice with its labels as light fills and outlines.

    Parameters
    ----------
    image : (Y, X) uint8
        Grey values.
    labels : (Y, X) unsigned
        0 is background.
    points : (N, 2) float, optional
        y, x of detections, drawn as small crosses.

    Returns
    -------
    (Y, X, 3) uint8
    """
    rgb = np.repeat(image[..., None].astype(np.float32) / 255, 3, axis=2)
    colours = label_colours(labels)
    inside = labels > 0
    outline = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        differs = np.diff(labels.astype(np.int64), axis=axis) != 0
        low, high = [slice(None)] * 2, [slice(None)] * 2
        low[axis], high[axis] = slice(0, -1), slice(1, None)
        outline[tuple(low)] |= differs
        outline[tuple(high)] |= differs
    outline &= inside
    rgb[inside] = (1 - _FILL) * rgb[inside] + _FILL * colours[inside]
    rgb[outline] = colours[outline]
    for y, x in np.rint(points if points is not None else np.zeros((0, 2))).astype(int):
        for dy, dx in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-2, 0), (2, 0), (0, -2), (0, 2)):
            if 0 <= y + dy < rgb.shape[0] and 0 <= x + dx < rgb.shape[1]:
                rgb[y + dy, x + dx] = 1.0
    return np.rint(rgb * 255).astype(np.uint8)


def isotropic(picture: np.ndarray, height_nm: float, width_nm: float) -> np.ndarray:
    """A picture stretched to square pixels.

    Parameters
    ----------
    picture : (H, W, 3) uint8
        RGB.
    height_nm, width_nm : float
        Size of a pixel.

    Returns
    -------
    (H', W', 3) uint8
    """
    pixel = min(height_nm, width_nm)
    size = (max(1, round(picture.shape[1] * width_nm / pixel)), max(1, round(picture.shape[0] * height_nm / pixel)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST))


def cuts(image: np.ndarray, labels: np.ndarray, spacing: Spacing) -> dict[str, np.ndarray]:
    """The middle cut along each axis, with labels and square pixels.

    Parameters
    ----------
    image, labels : (Z, Y, X)
        uint8 grey values and labels of the same region.
    spacing : (z, y, x)
        Voxel size in nm.

    Returns
    -------
    dict
        ``xy``, ``xz``, ``yz``: (H, W, 3) uint8.
    """
    z, y, x = (n // 2 for n in image.shape)
    return {
        "xy": isotropic(overlay(image[z], labels[z]), spacing[1], spacing[2]),
        "xz": isotropic(overlay(image[:, y], labels[:, y]), spacing[0], spacing[2]),
        "yz": isotropic(overlay(image[:, :, x], labels[:, :, x]), spacing[0], spacing[1]),
    }


def volume_histogram(volumes_nm3: np.ndarray) -> bytes:
    """Distribution of object volumes on a logarithmic axis, as SVG.

    Parameters
    ----------
    volumes_nm3 : (N,) float
        Volumes in nm^3.
    """
    figure = Figure(figsize=(6, 2.6), layout="constrained")
    axes = figure.subplots()
    if len(volumes_nm3):
        cubic = volumes_nm3 / 1e9
        low, high = np.log10(cubic.min()) - 0.05, np.log10(cubic.max()) + 0.05
        axes.hist(cubic, bins=np.logspace(low, high, 25).tolist(), color="#3b6fb6")
        axes.set_xscale("log")
    axes.set_xlabel("volume (µm³)")
    axes.set_ylabel("objects")
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


def save_png(path: Path, picture: np.ndarray) -> None:
    """Write (H, W, 3) uint8 as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
