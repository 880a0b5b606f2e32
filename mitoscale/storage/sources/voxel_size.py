"""What attributes of arrays tell of the voxel size; used by HDF5, Zarr and N5, whose formats themselves tell nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mitoscale.storage.lengths import nanometers
from mitoscale.storage.sources.axes import AxisOrder
from mitoscale.storage.sources.reader import PartialSpacing

UNKNOWN: PartialSpacing = (None, None, None)
"""No axis has a voxel size."""

_NAMES = ("resolution", "voxel_size", "pixelResolution", "spacing")


def from_attributes(attributes: Mapping[str, Any], order: AxisOrder) -> tuple[PartialSpacing, str]:
    """Voxel size in nm where a unit is told, and else what is said without one, for people.

    Understood are ``element_size_um`` (z, y, x), and ``resolution``, ``voxel_size``, ``spacing`` or ``pixelResolution`` with
    ``units`` or ``unit``, in the order of the stored axes.

    Parameters
    ----------
    attributes : mapping
        Of the array.
    order : AxisOrder
        How its axes are looked at.
    """
    size_um = _numbers(attributes.get("element_size_um"))
    if len(size_um) == 3:
        return _nm(size_um, (1e3,) * 3), ""
    for name in _NAMES:
        told, unit = attributes.get(name), attributes.get("units", attributes.get("unit"))
        if isinstance(told, Mapping):  # {"dimensions": [...], "unit": "um"}
            unit = told.get("unit", unit)
            told = told.get("dimensions")
        numbers = _numbers(told)
        if len(numbers) == len(order.names):
            numbers = [value for value, fixed in zip(numbers, order.fixed, strict=True) if fixed is None]
        kept = [n for n, fixed in zip(order.names, order.fixed, strict=True) if fixed is None]
        if not numbers or len(numbers) != len(kept):
            continue
        units = [unit] * len(numbers) if isinstance(unit, str) or unit is None else [_text(u) for u in unit][: len(numbers)]
        by_axis = dict(zip(kept, zip(numbers, units, strict=False), strict=False))
        values = [by_axis.get(n, (None, None)) for n in "zyx"]
        factors = [nanometers(_text(u)) if u is not None else None for _, u in values]
        if all(factor is None for factor in factors):
            shown = ",".join(f"{v:g}" for v, _ in values if v is not None)
            return UNKNOWN, f"its attribute {name} is {shown} (z,y,x) without a unit"
        return _nm([v for v, _ in values], factors), ""
    return UNKNOWN, ""


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _numbers(value: Any) -> list[float]:
    try:
        return [float(v) for v in np.asarray(value, dtype=float).ravel()]
    except (TypeError, ValueError):
        return []


def _nm(values: Any, factors: Any) -> PartialSpacing:
    z, y, x = (
        float(f"{v * f:.9g}") if v is not None and f is not None and v > 0 else None for v, f in zip(values, factors, strict=True)
    )
    return z, y, x
