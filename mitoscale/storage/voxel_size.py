"""The voxel size that a TIFF tells, where it tells all three edges."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from mitoscale.core.geometry import Spacing

_NANOMETERS = {
    "pm": 1e-3,
    "Å": 0.1,
    "angstrom": 0.1,
    "nm": 1.0,
    "nanometer": 1.0,
    "µm": 1e3,  # micro sign
    "μm": 1e3,  # Greek mu
    "um": 1e3,
    "micron": 1e3,
    "microns": 1e3,
    "micrometer": 1e3,
    "mm": 1e6,
    "cm": 1e7,
    "m": 1e9,
}
_SANE = (0.01, 1e6)
"""Voxel edges of electron microscopy lie within, in nm; anything else is a default nobody set."""


def from_ome(xml: str) -> Spacing | None:
    """(z, y, x) in nm from OME-XML's PhysicalSize; None where an edge is missing or not sane."""
    try:
        pixels = ET.fromstring(xml).find(".//{*}Pixels")
    except ET.ParseError:
        return None
    if pixels is None:
        return None
    edges = []
    for axis in "ZYX":
        value = pixels.get(f"PhysicalSize{axis}")
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")  # the schema's default
        edges.append(_edge(value, unit))
    return _sane(edges)


def from_imagej(metadata: Mapping[str, Any], resolution: tuple[float, float]) -> Spacing | None:
    """(z, y, x) in nm from ImageJ's spacing and unit, and the resolution in pixels a unit (x, y); or None."""
    unit = str(metadata.get("unit", "")).replace("\\u00B5", "µ")
    if not all(r > 0 for r in resolution):
        return None
    x, y = (1 / r for r in resolution)
    return _sane([_edge(metadata.get("spacing"), unit), _edge(y, unit), _edge(x, unit)])


def _edge(value: Any, unit: str) -> float:
    try:
        return abs(float(value)) * _NANOMETERS[unit]  # ImageJ's spacing is negative in flipped stacks
    except (TypeError, ValueError, KeyError):
        return math.nan


def _sane(edges: list[float]) -> Spacing | None:
    z, y, x = edges
    return (z, y, x) if all(_SANE[0] <= edge <= _SANE[1] for edge in edges) else None
