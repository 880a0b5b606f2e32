"""A training's history as a picture: the loss, and the scores on slices that were not learnt from."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mitoscale.storage.atomic import replacing

_LOSSES = ("loss", "val_loss")


def save_history(path: Path, columns: Mapping[str, Sequence[float]]) -> None:
    """Draw a history as PNG.

    Parameters
    ----------
    path : Path
        The file.
    columns : mapping
        ``step``, ``loss``, and any number of scores 0..1, each (N,) values, one a report; ``val_loss`` goes with the loss.

    Raises
    ------
    StoppedError
        If it cannot be written, as on a full disk.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained", dpi=120)
    left, right = figure.subplots(1, 2)
    scores = [name for name in columns if name not in ("step", *_LOSSES)]
    for axes, names, title in ((left, _LOSSES, "loss"), (right, scores, "scores on the tuning slices")):
        shown = [name for name in names if name in columns]
        for name in shown:
            axes.plot(columns["step"], columns[name], marker="o", markersize=3, linewidth=1.2, label=name.replace("_", " "))
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step")
        axes.spines[["top", "right"]].set_visible(False)
        if len(shown) > 1:
            axes.legend(frameon=False, fontsize=8)
        if not shown:
            axes.text(0.5, 0.5, "no tuning slices were given", ha="center", va="center", transform=axes.transAxes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    with replacing(str(path)) as part:
        Path(part).write_bytes(buffer.getvalue())
