"""A setting as the command line spells it, for messages and pages."""

from __future__ import annotations

import re
from typing import Any

from mitoscale.core.geometry import Region
from mitoscale.core.source_choices import Reading

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
    ("detect", "mirror"): "mirror",
    ("segment", "segmenter"): "segmenter",
    ("segment", "options"): "segmenter-option",
    ("segment", "sam"): "sam",
    ("segment", "sam_pixel_nm"): "sam-pixel",
    ("segment", "sam_step_nm"): "sam-step",
    ("segment", "gate_nm"): "gate",
    ("relabel", "min_volume_nm3"): "min-volume",
    ("relabel", "into_source"): "labels-into-source",
}


def option_of(stage: str, name: str) -> str:
    """The option that gives a setting, such as ``--gate``; its own name where no option is for it alone.

    Parameters
    ----------
    stage : str
        One of ``STAGES``.
    name : str
        Name of the setting.

    Examples
    --------
    >>> option_of("segment", "gate_nm"), option_of("segment", "max_gap")
    ('--gate', 'max_gap')
    """
    option = _OPTIONS.get((stage, name))
    return f"--{option}" if option else name


def value_text(name: str, value: Any) -> str:
    """A setting's value as it is given on the command line; ``none`` where nothing was given.

    Parameters
    ----------
    name : str
        Name of the setting.
    value : object
        Its value, as the settings hold it or as JSON does.

    Examples
    --------
    >>> value_text("core", [64, 512, 512]), value_text("min_volume_nm3", 2.2e6), value_text("gate_nm", None)
    ('64,512,512', '2.2e+06', 'none')
    >>> value_text("region", {"start": [0, 0, 8], "stop": [4, 9, 9]}), value_text("mirror", True)
    ('0:4,0:9,8:9', 'yes')
    >>> value_text("weights", "45cacca2f08e" + 52 * "0")
    '45cacca2f08e…'
    """
    if name == "mask":
        return f"{value['path']} (digest {value['fingerprint'][:8]})" if value else "none"
    if name == "region":
        return str(Region.model_validate(value))
    if name == "reading":
        return Reading.model_validate(value).described() or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ",".join(f"{number:g}" if isinstance(number, float) else str(number) for number in value) or "none"
    if isinstance(value, dict):
        return " ".join(f"{key}={content}" for key, content in value.items() if content is not None) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    text = "none" if value in (None, "") else str(value)
    return f"{text[:12]}…" if re.fullmatch("[0-9a-f]{64}", text) else text


def spelled(stage: str, name: str, value: Any) -> str:
    """A setting with its value, for a message.

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
    ('--mask cells.tif (digest 45cacca2)', 'no --mask')
    >>> spelled("detect", "mirror", False), spelled("convert", "invert", True), spelled("segment", "max_gap", 2)
    ('no --mirror', '--invert', 'segment max_gap 2')
    """
    option, text = option_of(stage, name), value_text(name, value)
    if not option.startswith("--"):
        return f"{stage} {name} {text}"
    if text in ("none", "no"):
        return f"no {option}"
    return option if value is True else f"{option} {text}"
