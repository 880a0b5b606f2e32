"""Pictures for notebooks: points and masks on a slice, as the report draws them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from mitoscale.core.errors import InputError
from mitoscale.report.pictures import isotropic, overlay, view


def show_points(
    image: np.ndarray, points: np.ndarray | Sequence[tuple[float, float]], *, voxel_size: tuple[float, float] | None = None
) -> Image.Image:
    """A slice with points, such as detections or prompts, as dots.

    Parameters
    ----------
    image : (Y, X)
        Grey values of any dtype; other than uint8 is stretched between its 0.2nd and 99.8th percentile.
    points : (N, 2) of float
        y and x in pixels of ``image``.
    voxel_size : (y, x), optional
        Pixel size in nm: pixels become square, and there is a scale bar.

    Returns
    -------
    PIL.Image.Image
        A notebook shows it; ``.save("points.png")`` keeps it.

    Examples
    --------
    >>> from mitoscale import show_points
    >>> show_points(np.zeros((64, 64), np.uint8), [(20, 30)]).mode
    'RGB'
    """
    return _drawn(image, None, points, voxel_size)


def show_mask(
    image: np.ndarray,
    mask: np.ndarray,
    points: np.ndarray | Sequence[tuple[float, float]] | None = None,
    *,
    voxel_size: tuple[float, float] | None = None,
) -> Image.Image:
    """A slice with a mask or labels as light fills with outlines; a label has the colour it has in the report.

    Parameters
    ----------
    image : (Y, X)
        See :func:`show_points`.
    mask : (Y, X) bool or integers
        What is not 0 is shown.
    points : (N, 2) of float, optional
        y and x in pixels of ``image``.
    voxel_size : (y, x), optional
        Pixel size in nm.

    Returns
    -------
    PIL.Image.Image

    Raises
    ------
    InputError
        If the arrays are not slices of one shape.
    """
    mask = np.asarray(mask)
    if mask.dtype.kind not in "bui":
        raise InputError(f"a mask of {mask.dtype} has no labels; give bool or integers, such as probability > 0.5")
    if mask.dtype.kind == "i" and mask.size and mask.min() < 0:
        raise InputError(f"a mask has no negative labels, but this one goes down to {mask.min()}")
    return _drawn(image, mask.astype(np.uint64), points, voxel_size)


def _drawn(
    image: np.ndarray,
    labels: np.ndarray | None,
    points: np.ndarray | Sequence[tuple[float, float]] | None,
    voxel_size: tuple[float, float] | None,
) -> Image.Image:
    image = np.asarray(image)
    if image.ndim != 2:
        raise InputError(f"a picture shows one slice (Y, X), but the image has shape {image.shape}; take one, such as image[40]")
    if labels is not None and labels.shape != image.shape:
        raise InputError(f"the mask has shape {labels.shape}, the image {image.shape}; give both of the same slice")
    dots = None if points is None else np.asarray(points, float)
    if dots is not None and (dots.ndim != 2 or dots.shape[1] != 2) and dots.size:
        raise InputError(f"points have shape {dots.shape}; give (N, 2): y and x of each")
    if voxel_size is not None:
        return Image.fromarray(view(_grey(image), labels, voxel_size, dots))
    step = max(1, 1024 // max(image.shape))  # small slices are enlarged, so that outlines are thin
    grey = isotropic(_grey(image), 1, 1, pixel_nm=1 / step, smooth=True)
    ids = None if labels is None else isotropic(labels, 1, 1, pixel_nm=1 / step)
    return Image.fromarray(overlay(grey, ids, None if dots is None else (dots.reshape(-1, 2) + 0.5) * step - 0.5))


def _grey(image: np.ndarray) -> np.ndarray:
    """(Y, X) uint8."""
    if image.dtype == np.uint8:
        return image
    low, high = np.percentile(image, (0.2, 99.8))
    return np.clip((image.astype(np.float32) - low) * (255 / max(high - low, 1e-9)), 0, 255).astype(np.uint8)
