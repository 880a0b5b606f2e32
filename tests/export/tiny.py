"""Labels and image of a run made by hand, as small and odd as a test wants them, without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from mitoscale.core.geometry import Region, Spacing, Triple
from mitoscale.core.plan import RunPlan
from mitoscale.core.settings import ConvertSettings, RunSettings
from mitoscale.core.volume import VolumeSpec
from mitoscale.export.exported import Content
from mitoscale.ops.downsample import mean_downsample, mode_downsample
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import LABELS, RunFolder
from mitoscale.storage.ome import create_image, create_labels

FACTORS: tuple[Triple, ...] = ((1, 1, 1), (1, 2, 2), (2, 4, 4))
CORE = (4, 8, 8)


def content(
    folder: Path,
    labels: np.ndarray,
    *,
    image: np.ndarray | None = None,
    region: Region | None = None,
    first: int = 0,
    spacing: Spacing = (50.0, 4.6, 4.6),
    **values: Any,
) -> Content:
    """A :class:`Content` of labels (Z, Y, X) that lie in a run folder, three levels of them."""
    run = RunFolder(str(folder / "run"))
    shape = labels.shape
    whole = Region.of_shape(shape)
    spec = VolumeSpec(shape=shape, dtype="uint8", spacing=spacing, chunks=(2, 4, 4), shards=CORE, factors=FACTORS)
    create_image(run.volume, spec, name="image")
    create_labels(run.volume, LABELS, spec.model_copy(update={"dtype": str(labels.dtype)}))
    grey = np.zeros(shape, np.uint8) if image is None else image
    last = FACTORS[0]
    for level, factor in enumerate(FACTORS):
        step = tuple(b // a for a, b in zip(last, factor, strict=True))
        last = factor
        if level:
            labels, grey = mode_downsample(labels, step), mean_downsample(grey, step)
        open_array(f"{run.labels}/{level}").write(Region.of_shape(labels.shape), labels)
        open_array(f"{run.volume}/{level}").write(Region.of_shape(grey.shape), grey)
    convert = ConvertSettings(
        source="none", fingerprint="0" * 64, spacing=spacing, in_place=False, core=CORE, chunks=(2, 4, 4), region=whole
    )
    plan = RunPlan(run=run.path, image=f"{run.volume}/0", labels=run.labels, spec=spec, settings=RunSettings(convert=convert))
    return Content(
        plan=plan,
        target=str(folder / "target"),
        group=run.labels,
        table=run.objects,
        objects=run.objects,
        region=region or whole,
        first=first,
        **values,
    )


def stored(made: Content, level: int) -> np.ndarray:
    """(Z, Y, X) labels of a level as they lie in the run, cut to the region that is exported."""
    return open_array(f"{made.group}/{level}").read_all()[made.region.downsampled(FACTORS[level]).slices]


@st.composite
def shapes_and_regions(draw: st.DrawFn) -> tuple[tuple[int, int, int], Region]:
    """A shape, often of one slice or row, and a part of it."""
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 21), st.integers(1, 21)))
    start = tuple(draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    return shape, Region(start=start, stop=stop)
