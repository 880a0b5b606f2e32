"""The table of objects: sizes, places and shapes in nm from merged sums."""

from __future__ import annotations

import numpy as np

from mitoscale.core.geometry import Region, Spacing

Columns = dict[str, np.ndarray]
"""Column name -> (N,) values."""


def finish_objects(sums: Columns, spacing: Spacing, volume: Region) -> Columns:
    """The table of objects, one row a label.

    Parameters
    ----------
    sums : dict
        From :func:`mitoscale.ops.objects.merge_objects`.
    spacing : (z, y, x)
        Voxel size in nm.
    volume : Region
        What was measured; its border is where objects are cut.

    Returns
    -------
    dict
        ``label`` uint64; ``voxels`` int64; ``volume_nm3``;

        ``surface_nm2``: area of voxel faces to other labels, to background and to the outside of the volume: 1 to 1.73
        times the area of the smooth surface (by its slope; 1.5 times for a ball);

        ``centroid_z``, ``centroid_y``, ``centroid_x`` in voxels (the middle of voxel 0 is 0) and ``centroid_z_nm`` .. the
        same in nm; ``bbox_z0``, ``bbox_z1`` .. half-open, in voxels;

        ``axis_major_nm``, ``axis_middle_nm``, ``axis_minor_nm``: full axes of the solid ellipsoid with the same second
        moments, in which a voxel is a box, not a point;

        ``n_slices``: from the first to the last; ``touches_border``: whether the box reaches the volume's border;
        ``mean_intensity`` in the image's grey values; ``mean_foreground`` 0..1.

    Examples
    --------
    >>> from mitoscale.ops.objects import partial_objects
    >>> region = Region.of_shape((1, 4, 4))
    >>> labels = np.zeros((1, 4, 4), np.uint32)
    >>> labels[0, 1:3, 1:3] = 7
    >>> table = finish_objects(partial_objects(labels, core=region, read=region, volume=region), (40, 5, 5), region)
    >>> table["volume_nm3"].tolist(), table["surface_nm2"].tolist(), table["centroid_y_nm"].tolist()
    ([4000.0], [1800.0], [7.5])
    """
    count = np.maximum(sums["voxels"], 1)
    # Sums are relative to the box's corner, so these differences of squares cancel little.
    inner = np.stack([sums[a] / count for a in "zyx"], axis=1)
    corner = np.stack([sums[a] for a in ("z0", "y0", "x0")], axis=1)
    step = np.array(spacing, np.float64)
    mean = corner + inner
    face_areas = np.prod(step) / step
    lengths = _axes(sums, inner, step)
    table: Columns = {
        "label": sums["label"],
        "voxels": sums["voxels"],
        "volume_nm3": sums["voxels"] * np.prod(step),
        "surface_nm2": np.stack([sums[f"faces_{a}"] for a in "zyx"], axis=1) @ face_areas,
    }
    for i, a in enumerate("zyx"):
        table[f"centroid_{a}"] = mean[:, i]
        table[f"centroid_{a}_nm"] = mean[:, i] * step[i]
    border = np.zeros(len(count), bool)
    for i, a in enumerate("zyx"):
        low, high = sums[f"{a}0"], sums[f"{a}1"]
        table[f"bbox_{a}0"], table[f"bbox_{a}1"] = low, high
        border |= (low <= volume.start[i]) | (high >= volume.stop[i])
    return table | {
        "axis_major_nm": lengths[:, 2],
        "axis_middle_nm": lengths[:, 1],
        "axis_minor_nm": lengths[:, 0],
        "n_slices": sums["z1"] - sums["z0"],
        "touches_border": border,
        "mean_intensity": sums["intensity"] / count,
        "mean_foreground": sums["foreground"] / count / 255,
    }


def _axes(sums: Columns, inner: np.ndarray, step: np.ndarray) -> np.ndarray:
    """(N, 3) full axes in nm, ascending; ``inner`` (N, 3) is the mean relative to the box's corner, in voxels."""
    count = np.maximum(sums["voxels"], 1)
    covariance = np.empty((len(count), 3, 3))
    for i, a in enumerate("zyx"):
        for j, b in enumerate("zyx"):
            product = sums[a + b] if a + b in sums else sums[b + a]
            # The 1/12 is the spread of a box of edge 1 about its middle.
            covariance[:, i, j] = (product / count - inner[:, i] * inner[:, j] + (i == j) / 12) * step[i] * step[j]
    # A solid ellipsoid with semi-axis a has variance a**2 / 5 along it.
    result: np.ndarray = 2 * np.sqrt(5 * np.clip(np.linalg.eigvalsh(covariance), 0, None))
    return result
