"""Pictures of a run: slices with their labels, cuts along all axes, and the distribution of volumes."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from PIL import Image, ImageDraw, ImageFilter

from mitoscale.report.colours import label_colours
from mitoscale.report.scale import scale_bar
from mitoscale.storage.atomic import replacing

_FILL = 0.26
"""How much of a label's colour covers the image inside it: ultrastructure stays visible."""

_COMFORTABLE = 1024
"""Slices are enlarged by whole steps as long as they stay within so many pixels."""

_PNG_LEVEL = 3
"""Of zlib: best compression takes 20 times as long and saves a fifth."""

_PNG_UP_TO = 400_000
"""Pictures with more pixels than this are embedded as JPEG: noise makes their PNG several megabytes."""


def overlay(image: np.ndarray, labels: np.ndarray | None, points: np.ndarray | None = None, *, outlines: bool = True) -> np.ndarray:
    """A slice with its labels as light fills and outlines.

    Parameters
    ----------
    image : (Y, X) uint8
        Grey values.
    labels : (Y, X) unsigned or None
        0 is background; None: the image alone.
    points : (N, 2) float, optional
        y, x of detections, drawn as small dots with a dark rim.
    outlines : bool
        Draw each label's inner border.

    Returns
    -------
    (Y, X, 3) uint8

    Raises
    ------
    ValueError
        If the image is not uint8, or image and labels differ in shape.
    """
    if image.dtype != np.uint8:
        raise ValueError(f"a picture is made of uint8, not {image.dtype}: apply the volume's Normalisation first")
    rgb = np.repeat(image[..., None].astype(np.float32), 3, axis=2)
    if labels is not None:
        if labels.shape != image.shape:
            raise ValueError(f"image {image.shape} and labels {labels.shape} differ in shape")
        inside = labels > 0
        colours = 255 * label_colours(labels[inside])
        rgb[inside] = (1 - _FILL) * rgb[inside] + _FILL * colours
        if outlines and inside.any():
            # A page shows a large picture at half its size or less: there a line needs two pixels to be seen.
            border = _borders(labels, max(1, round(max(image.shape) / 550)))
            rgb[border & inside] = colours[border[inside]]
    picture = np.rint(rgb).astype(np.uint8)
    return picture if points is None or not len(points) else _dotted(picture, points)


def _borders(labels: np.ndarray, width: int) -> np.ndarray:
    """(Y, X) bool: pixels less than ``width`` away from a pixel that touches another label."""
    border = np.zeros(labels.shape, bool)
    border[:-1] |= labels[:-1] != labels[1:]
    border[1:] |= labels[:-1] != labels[1:]
    border[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    border[:, 1:] |= labels[:, :-1] != labels[:, 1:]
    return np.asarray(Image.fromarray(border).convert("L").filter(ImageFilter.MaxFilter(2 * width - 1))) > 0


def _dotted(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    radius = max(2.0, max(picture.shape[:2]) / 340)
    for y, x in np.asarray(points, dtype=float):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill="white", outline="#101418")
    return np.asarray(canvas)


def view(
    image: np.ndarray,
    labels: np.ndarray | None,
    size_nm: tuple[float, float],
    points: np.ndarray | None = None,
    *,
    within: int = _COMFORTABLE,
) -> np.ndarray:
    """One slice as a report shows it: square pixels, large enough to see, with labels, points and a scale bar.

    Parameters
    ----------
    image : (Y, X) uint8
        Grey values; may as well be a cut along another axis.
    labels : (Y, X) unsigned or None
        0 is background; None: the image alone.
    size_nm : pair of float
        Height and width of a pixel in nm.
    points : (N, 2) float, optional
        y, x of detections in pixels of ``image``.
    within : int
        A small slice is enlarged by whole steps up to so many pixels.

    Returns
    -------
    (H, W, 3) uint8
    """
    # Stretched before it is drawn, so that outlines are equally thin along both axes and on small slices too.
    pixel = min(size_nm)
    extent = max(n * nm / pixel for n, nm in zip(image.shape, size_nm, strict=True))
    pixel /= max(1, int(within // extent))
    grey = isotropic(image, *size_nm, pixel_nm=pixel, smooth=True)
    ids = None if labels is None else isotropic(labels, *size_nm, pixel_nm=pixel)
    if points is not None:
        points = (np.asarray(points, dtype=float).reshape(-1, 2) + 0.5) * (np.array(size_nm) / pixel) - 0.5
    return scale_bar(overlay(grey, ids, points), pixel)


def isotropic(
    picture: np.ndarray, height_nm: float, width_nm: float, *, pixel_nm: float | None = None, smooth: bool = False
) -> np.ndarray:
    """A picture stretched to square pixels.

    Parameters
    ----------
    picture : (H, W) or (H, W, 3) uint8, or (H, W) of labels
        Labels, which must not be averaged, are only repeated (``smooth`` off).
    height_nm, width_nm : float
        Size of a pixel in nm.
    pixel_nm : float, optional
        Edge of a new pixel in nm; the smaller of the two by default.
    smooth : bool
        Interpolate linearly; uint8 only.

    Returns
    -------
    (H', W') or (H', W', 3)
        Of the same dtype.
    """
    pixel = pixel_nm or min(height_nm, width_nm)
    height, width = (max(1, round(n * nm / pixel)) for n, nm in zip(picture.shape, (height_nm, width_nm), strict=False))
    if (height, width) == picture.shape[:2]:
        return picture
    if smooth:
        return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
    # The pixel whose area holds the centre of the new one.
    rows, columns = ((np.arange(n) + 0.5) * m / n for n, m in zip((height, width), picture.shape, strict=False))
    return picture[rows.astype(int)[:, None], columns.astype(int)]


def montage(pictures: Sequence[np.ndarray], columns: int, gap: int = 6) -> np.ndarray:
    """Pictures side by side on white, row by row.

    Parameters
    ----------
    pictures : sequence of (H, W, 3) uint8
        Each lies in the upper left corner of its cell; cells are as large as the largest.
    columns : int
        Pictures in a row; at least 1.
    gap : int
        Pixels between cells.

    Returns
    -------
    (H', W', 3) uint8

    Raises
    ------
    ValueError
        If there is no picture, or no column.
    """
    if not pictures or columns < 1:
        raise ValueError(f"a montage needs a picture and a column, got {len(pictures)} and {columns}")
    columns = min(columns, len(pictures))
    height, width = (max(p.shape[i] for p in pictures) for i in (0, 1))
    rows = -(-len(pictures) // columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return canvas


def volume_histogram(volumes_nm3: np.ndarray) -> bytes:
    """Distribution of object volumes on a logarithmic axis, with the median, as SVG.

    Colours are the page's CSS variables, so that it follows light and dark.

    Parameters
    ----------
    volumes_nm3 : (N,) float
        Volumes in nm^3; what is not above 0 is left out.

    Returns
    -------
    bytes
        SVG; empty where there is no volume.
    """
    soft, accent, page, ink = "#010203", "#040506", "#070809", "#0a0b0c"  # stand-ins: Matplotlib takes no CSS variable
    cubic = np.asarray(volumes_nm3, dtype=float) / 1e9
    cubic = cubic[cubic > 0]
    if not len(cubic):
        return b""
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "mitoscale",
        "font.family": "sans-serif",
        "font.size": 9,
    }
    style |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), soft)
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(11, 3), layout="constrained")
        axes = figure.subplots()
        axes.set_xlabel("volume of an object (µm³)")
        axes.set_ylabel("objects")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        low, high = np.log10(cubic.min()) - 0.06, np.log10(cubic.max()) + 0.06
        bins = int(np.clip(round(math.sqrt(len(cubic)) * 1.5), 8, 40))
        axes.hist(cubic, bins=np.logspace(low, high, bins + 1).tolist(), color=accent, edgecolor=page, linewidth=1)
        axes.set_xscale("log")
        axes.set_xlim(10**low, 10**high)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high - low < 2.5 else (1.0,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
        median = float(np.median(cubic))
        axes.axvline(median, color=ink, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_title(f"median {median:.3g} µm³", loc="right", fontsize=9)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue().decode()
    for stand_in, colour in (
        (soft, "var(--soft)"),
        (accent, "var(--accent)"),
        (page, "var(--paper)"),
        (ink, "var(--ink)"),
    ):
        svg = svg.replace(stand_in, colour)
    return svg.encode()


def encode(picture: np.ndarray) -> bytes:
    """(H, W, 3) uint8 as PNG, or where it is large as JPEG: what the page embeds."""
    buffer = io.BytesIO()
    if picture.shape[0] * picture.shape[1] <= _PNG_UP_TO:
        Image.fromarray(picture).save(buffer, format="png", compress_level=_PNG_LEVEL)
    else:  # full colour resolution: outlines are one pixel thin
        Image.fromarray(picture).save(buffer, format="jpeg", quality=88, subsampling=0, optimize=True)
    return buffer.getvalue()


def save_png(path: str, picture: np.ndarray) -> None:
    """Write (H, W, 3) uint8 as PNG, whole or not at all.

    Parameters
    ----------
    path : str
        File to write.
    picture : (H, W, 3) uint8
        What to write.

    Raises
    ------
    StoppedError
        If it cannot be written, as on a full disk.
    """
    buffer = io.BytesIO()  # encoded in memory, so that only the system's own errors are met at the disk
    Image.fromarray(picture).save(buffer, format="png", compress_level=_PNG_LEVEL)
    with replacing(path) as part:
        Path(part).write_bytes(buffer.getvalue())
