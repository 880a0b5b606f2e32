"""A setting as the command line spells it, for messages."""

from __future__ import annotations

from typing import Any

from mitoscale.core.geometry import Region

_OPTIONS = {
    ("convert", "spacing"): "voxel-size",
    ("convert", "core"): "block",
    ("convert", "region"): "region",
    ("convert", "invert"): "invert",
    ("detect", "detector"): "detector",
    ("detect", "mask"): "mask",
    ("detect", "pixel_nm"): "detector-pixel",
    ("detect", "options"): "detector-option",
    ("detect", "threshold"): "threshold",
    ("segment", "segmenter"): "segmenter",
    ("segment", "options"): "segmenter-option",
    ("segment", "sam"): "sam",
    ("segment", "sam_pixel_nm"): "sam-pixel",
    ("segment", "gate_nm"): "gate",
    ("relabel", "min_volume_nm3"): "min-volume",
}


def spelled(stage: str, name: str, value: Any) -> str:
    """A setting with its value; by its own name where no option is for it alone.

    Parameters
    ----------
    stage : str
        One of ``STAGES``.
    name : str
        Name of the setting.
    value : object
        Its value.

    Examples
    --------
    >>> spelled("convert", "core", (64, 512, 512)), spelled("detect", "options", {"threshold": "3"})
    ('--block 64,512,512', '--detector-option threshold=3')
    >>> spelled("detect", "mask", {"path": "cells.tif", "fingerprint": "45cacca2f08e"}), spelled("detect", "mask", None)
    ('--mask cells.tif (digest 45cacca2)', '--mask (none)')
    >>> spelled("detect", "mirror", True)
    'detect mirror True'
    """
    if name == "mask":
        value = f"{value['path']} (digest {value['fingerprint'][:8]})" if value else "(none)"
    elif name == "region":
        value = Region.model_validate(value)
    elif isinstance(value, tuple | list):
        value = ",".join(f"{number:g}" for number in value)
    elif isinstance(value, dict):
        value = " ".join(f"{key}={content}" for key, content in value.items()) or "(none)"
    elif isinstance(value, float):
        value = f"{value:g}"
    option = _OPTIONS.get((stage, name))
    return f"--{option} {value}" if option else f"{stage} {name} {value}"
