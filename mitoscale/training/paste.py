"""Mitochondria of one picture put into another: real textures in surroundings they were never seen in."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_RIM_NM = 15.0
"""What is taken along around a mitochondrion: its outer membrane."""


def paste_objects(
    image: np.ndarray,
    labels: np.ndarray,
    other_image: np.ndarray,
    other_labels: np.ndarray,
    pixel_nm: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Put another picture's mitochondria into a picture, in the grey values that their surroundings have there.

    Parameters
    ----------
    image : (S, S) float32
        Grey values 0..1.
    labels : (S, S) int32
        Its instances, 0 is background, negative is unlabelled.
    other_image, other_labels : as above
        Where the mitochondria come from.
    pixel_nm : float
        Pixel size in nm.

    Returns
    -------
    image : (S, S) float32
        With the other's mitochondria over whatever was there.
    labels : (S, S) int32
        With the other's instances, numbered above its own.
    """
    objects = other_labels > 0
    if not objects.any() or objects.all():
        return image, labels
    width = 2 * max(round(_RIM_NM / pixel_nm), 1) + 1
    wide = ndimage.uniform_filter(ndimage.maximum_filter(objects.astype(np.float32), width), 3)
    around = ~objects & (other_labels == 0)
    base = image[labels <= 0] if (labels <= 0).any() else image
    theirs = other_image[around] if around.any() else other_image
    scale = float(np.clip(base.std() / max(theirs.std(), 1e-3), 0.5, 2.0))
    moved = (other_image - theirs.mean()) * scale + base.mean()
    pasted = (image + wide * (moved - image)).astype(np.float32)
    above = max(int(labels.max()), 0)
    taken = np.where(wide > 0.5, 0, labels)
    return pasted, np.where(objects, other_labels + above, taken).astype(np.int32)
