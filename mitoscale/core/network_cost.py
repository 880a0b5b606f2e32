"""What networks cost, in a measure that holds on every machine: pixels that went through them for each pixel of a core."""

from __future__ import annotations

from collections.abc import Mapping


def pixels_per_voxel(counts: Mapping[str, float]) -> float:
    """Network pixels for each voxel of the cores, from the counts of a stage's tasks; 0 where no network was counted.

    Examples
    --------
    >>> pixels_per_voxel({"voxels": 100.0, "network_pixels": 150.0}), pixels_per_voxel({"voxels": 100.0})
    (1.5, 0.0)
    """
    return counts.get("network_pixels", 0.0) / max(counts.get("voxels", 0.0), 1.0)


def as_text(per_voxel: float) -> str:
    """The figure of :func:`pixels_per_voxel` for a table; empty where there is none.

    Examples
    --------
    >>> as_text(1.5625), as_text(0.0)
    ('1.56', '')
    """
    return f"{per_voxel:.2f}" if per_voxel else ""
