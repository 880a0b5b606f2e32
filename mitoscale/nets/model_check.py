"""Whether the models that settings name can be had, told without torch where they are the embedded ones."""

from __future__ import annotations

import json

from mitoscale.core.geometry import Spacing
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.nets.factories import make_detector, make_segmenter, weights_digest
from mitoscale.nets.named_weights import embedded_names, find_weights
from mitoscale.nets.sam_pixel import checked_pixel


def check_detector(settings: DetectSettings, spacing: Spacing) -> None:
    """Raise what :func:`~mitoscale.nets.factories.make_detector` would; only models of others are loaded for it.

    Parameters
    ----------
    settings : DetectSettings
        Name, weights, options.
    spacing : (z, y, x)
        Voxel size of the volume in nm.

    Raises
    ------
    InputError
        If there is no such detector, or it cannot be loaded.
    """
    if not settings.options and _embedded(settings.detector, settings.weights, "unet"):
        checked_pixel(settings.pixel_nm, spacing, "--detector-pixel")
    else:
        make_detector(settings, spacing)


def check_segmenter(settings: SegmentSettings, spacing: Spacing) -> None:
    """Raise what :func:`~mitoscale.nets.factories.make_segmenter` would; only models of others are loaded for it.

    Parameters
    ----------
    settings : SegmentSettings
        Name, weights, options.
    spacing : (z, y, x)
        Voxel size of the volume in nm.

    Raises
    ------
    InputError
        If there is no such segmenter, it cannot be loaded, or SAM's pixel size is far from the volume's.
    """
    if settings.segmenter == "sam" and not settings.options and _embedded(settings.sam, settings.weights, "sam"):
        checked_pixel(settings.sam_pixel_nm, spacing)
    else:
        make_segmenter(settings, spacing)


def _embedded(name: str, digest: str, architecture: str) -> bool:
    """Whether these are embedded weights of an architecture, and those that are expected."""
    if name not in embedded_names() or (digest and weights_digest(name) != digest):
        return False
    from safetensors import safe_open

    with safe_open(find_weights(name), framework="np") as file:
        return bool(json.loads((file.metadata() or {})["mitoscale"])["architecture"] == architecture)
