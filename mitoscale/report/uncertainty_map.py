"""The map of where the models were unsure, as SVG that follows the page's light and dark."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mitoscale.core.geometry import Spacing
from mitoscale.report.uncertainty import DoubtMap
from mitoscale.storage.tables import Columns

_SOFT, _MARK = "#010203", "#d55e00"
"""A stand-in for a colour of the page (Matplotlib takes no CSS variable), and the colour of the numbered objects."""
_HIGHEST = 7.0
"""Most inches for the map seen along z."""


def draw_doubt_map(found: DoubtMap, listed: Columns, spacing: Spacing) -> bytes:
    """Both maps, one above the other, with the listed objects numbered as in their list.

    Parameters
    ----------
    found : DoubtMap
        What is drawn, from sure (light) to unsure (dark), in colours that colour-blind people tell apart too.
    listed : dict
        The objects in doubt most, the first one in front.
    spacing : (z, y, x)
        Voxel size in nm.

    Returns
    -------
    bytes
        SVG; empty where there is no profile.
    """
    if not found.profiles:
        return b""
    style: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "doubt", "font.family": "sans-serif", "font.size": 9}
    style |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _SOFT)
    low, high = ([v * s / 1000 for v, s in zip(corner, spacing, strict=True)] for corner in (found.region.start, found.region.stop))
    size = [max(b - a, 1e-9) for a, b in zip(low, high, strict=True)]
    wide = min(9.0, _HIGHEST * size[2] / size[1])
    heights = [1.1 * size[1] / size[2] * wide, min(max(size[0] / size[2] * wide, 0.4), 3.0)]
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(wide + 2, sum(heights) + 1.2), layout="constrained")
        upper, lower = figure.subplots(2, 1, height_ratios=heights, sharex=True)
        shown = None
        for axes, values, axis in ((upper, found.along_z, 1), (lower, found.along_y, 0)):
            extent = (low[2], high[2], high[axis], low[axis])
            shown = axes.imshow(values, cmap="cividis_r", vmin=0, vmax=_top(found), extent=extent, interpolation="nearest")
            axes.set_aspect("equal" if axes is upper else "auto")
            axes.spines[:].set_linewidth(0.5)
            axes.set_ylabel(f"{'zyx'[axis]} (µm)")
            _number(axes, listed, axis)
        lower.set_xlabel("x (µm)")
        upper.set_title("mean doubt of the profiles, seen along z", loc="left", fontsize=9)
        lower.set_title("seen along y", loc="left", fontsize=9)
        assert shown is not None
        figure.colorbar(shown, ax=[upper, lower], shrink=0.6, aspect=30, label="doubt", pad=0.01)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue().decode().replace(_SOFT, "var(--soft)").encode()


def _top(found: DoubtMap) -> float:
    """Where the scale ends: a few cells that stand out must not make all others alike."""
    values = found.along_z[np.isfinite(found.along_z)]
    return max(0.1, float(np.quantile(values, 0.98)) if len(values) else 0.1)


def _number(axes: Any, listed: Columns, axis: int) -> None:
    for i in range(len(listed.get("label", ()))):
        place = listed["centroid_x_nm"][i] / 1000, listed[f"centroid_{'zyx'[axis]}_nm"][i] / 1000
        axes.plot(*place, "o", markersize=11, markerfacecolor="white", markeredgecolor=_MARK, markeredgewidth=1.2)
        axes.text(*place, str(i + 1), ha="center", va="center", fontsize=7, color=_MARK)
