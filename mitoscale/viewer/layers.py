"""The layers of the viewer: image, labels with meshes, foreground, detections, and what the labels are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import neuroglancer
import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.normalisation import Normalisation
from mitoscale.core.plan import RunPlan
from mitoscale.evaluation.label_reading import LabelSource
from mitoscale.report.colours import HERE, SHARED, THERE, hex_colour, rgb_of
from mitoscale.stages.convert import Convert
from mitoscale.storage.lazy import LazyArray

_COLOURED = 5000
"""So many objects get the colours of the report; the rest has neuroglancer's own."""

_HEAT = """#uicontrol float opacity slider(min=0, max=1, default=0.5)
void main() {
  float p = toNormalized(getDataValue());
  emitRGBA(vec4(1.0, 0.35 + 0.65 * p, 0.1, p * opacity));
}"""


def space(plan: RunPlan) -> Any:
    """x, y, z in voxels of the volume: x and y first, so that the first view is a slice as the microscope took it."""
    return neuroglancer.CoordinateSpace(names=["x", "y", "z"], units="nm", scales=plan.spec.spacing[::-1])


def read_here(plan: RunPlan) -> Any:
    """A source that is no OME-Zarr, read as the stages read it and sent to the browser in pieces."""
    return _local(plan, LazyArray(Convert(plan=plan).open_image()), "image")


def image_layer(source: Any, normalisation: Normalisation | None) -> Any:
    """The image, its grey window the one the networks see where that is known.

    Parameters
    ----------
    source : str
        Address of the image for neuroglancer.
    normalisation : Normalisation or None
        Of the volume; None: neuroglancer's own window.
    """
    if normalisation is None:
        return neuroglancer.ImageLayer(source=source)
    low, high = normalisation.low, normalisation.high
    window = [high, low] if normalisation.invert else [low, high]
    return neuroglancer.ImageLayer(
        source=source,
        shader="#uicontrol invlerp normalized\nvoid main() { emitGrayscale(normalized()); }",
        shader_controls={"normalized": {"range": window, "window": [low, high]}},
    )


def label_layer(sources: list[str], labels: np.ndarray) -> Any:
    """The objects; one that is selected has its mesh in 3D.

    Parameters
    ----------
    sources : list of str
        Addresses of labels and meshes for neuroglancer.
    labels : (N,) integer
        Objects that are shown.
    """
    return neuroglancer.SegmentationLayer(source=sources, **_look(labels))


def corrected_layer(plan: RunPlan, data: Any, meshes: str, labels: np.ndarray) -> tuple[Any, Any]:
    """The objects with corrections, and the volume that must be told when they change.

    Parameters
    ----------
    plan : RunPlan
        The run.
    data : object
        What neuroglancer reads the labels from.
    meshes : str
        Address of the meshes.
    labels : (N,) integer
        Objects that are shown.
    """
    source = _local(plan, data, "segmentation")
    return neuroglancer.SegmentationLayer(source=[source, meshes], **_look(labels)), source.url


def _look(labels: np.ndarray) -> dict[str, Any]:
    colours = {int(label): hex_colour(int(label)) for label in labels[:_COLOURED]}
    return {"selected_alpha": 0.35, "not_selected_alpha": 0.25, "segment_colors": colours, "hide_segment_zero": True}


def foreground_layer(plan: RunPlan, source: str) -> Any:
    """The detector's probability; not shown until somebody asks, because it has one level alone.

    Parameters
    ----------
    plan : RunPlan
        The run.
    source : str
        Address for neuroglancer.
    """
    return neuroglancer.ImageLayer(source=neuroglancer.LayerDataSource(source, transform=_in_voxels(plan)), shader=_HEAT)


def detection_layer(source: str) -> Any:
    """A dot for each profile."""
    return neuroglancer.AnnotationLayer(
        source=source,
        shader="void main() { setPointMarkerSize(5.0); setPointMarkerColor(vec4(1.0, 1.0, 1.0, 0.9)); }",
    )


def other_layer(plan: RunPlan, other: LabelSource) -> Any:
    """Labels that these are compared with.

    Parameters
    ----------
    plan : RunPlan
        The run.
    other : LabelSource
        The other labels.
    """
    return neuroglancer.SegmentationLayer(source=_local(plan, _Other(other), "segmentation"), selected_alpha=0.25)


def _agreement_shader() -> str:
    """Green: both; orange: the run alone; blue: the other alone; as in the pictures of ``mitoscale compare``."""
    lines = ["void main() {", "  uint v = toRaw(getDataValue());", "  emitRGBA(vec4(0.0));"]
    for value, colour in enumerate((SHARED, HERE, THERE), 1):
        red, green, blue = (f"{c / 255:.3f}" for c in rgb_of(colour))
        lines.append(f"  if (v == {value}u) emitRGBA(vec4({red}, {green}, {blue}, 0.5));")
    return "\n".join([*lines, "}"])


def agreement_layer(plan: RunPlan, own: LabelSource, other: LabelSource) -> Any:
    """Where both have an object, or only one has.

    Parameters
    ----------
    plan : RunPlan
        The run.
    own, other : LabelSource
        Labels of the run, and those they are compared with.
    """
    return neuroglancer.ImageLayer(source=_local(plan, _Agreement(own, other), "image"), shader=_agreement_shader())


def zarr_address(root: str, name: str, folder: str) -> str:
    """How neuroglancer finds a Zarr group or array that is served as ``files/NAME/``.

    Parameters
    ----------
    root : str
        Address of the server.
    name : str
        Name the folder is served under.
    folder : str
        Zarr group or array within it.
    """
    return f"{root}/files/{name}/|zarr{3 if Path(folder, 'zarr.json').is_file() else 2}:"


def check_alike(plan: RunPlan, other: LabelSource) -> None:
    """Raise where other labels do not cover the same volume.

    Parameters
    ----------
    plan : RunPlan
        The run.
    other : LabelSource
        The other labels.
    """
    if other.shape != plan.spec.shape:
        raise InputError(f"--with {other.path} has shape {other.shape}, the run's volume {plan.spec.shape}: is it of another?")


def _in_voxels(plan: RunPlan) -> Any:
    """For arrays without a scale; the middle of voxel 0 is 0, as everywhere here, where neuroglancer takes its edge."""
    matrix = [[*(float(i == j) for j in range(3)), -0.5] for i in range(3)]
    output = neuroglancer.CoordinateSpace(names=["z", "y", "x"], units="nm", scales=plan.spec.spacing)
    return neuroglancer.CoordinateSpaceTransform(matrix=matrix, output_dimensions=output)


def _local(plan: RunPlan, data: Any, kind: str) -> Any:
    output = neuroglancer.CoordinateSpace(names=["z", "y", "x"], units="nm", scales=plan.spec.spacing)
    volume = neuroglancer.LocalVolume(data, dimensions=output, volume_type=kind)
    # Without its own meshes: for one of them neuroglancer would read the whole volume.
    only = {"subsources": {"default": True}, "enable_default_subsources": False}
    return neuroglancer.LayerDataSource(volume, transform=_in_voxels(plan), **only)


class _Other:
    """Labels as an array that is read when it is indexed."""

    def __init__(self, source: LabelSource) -> None:
        self._source = source
        self.shape, self.ndim = source.shape, 3
        self.dtype: np.dtype[Any] = np.dtype("uint64")

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        return self._source.read(_region(index)).astype(np.uint64)


class _Agreement(_Other):
    """1 where both have an object, 2 where the run alone has, 3 where the other alone has."""

    def __init__(self, own: LabelSource, other: LabelSource) -> None:
        super().__init__(other)
        self._own = own
        self.dtype = np.dtype("uint8")

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        region = _region(index)
        ours, theirs = self._own.read(region) > 0, self._source.read(region) > 0
        return np.select([ours & theirs, ours, theirs], [np.uint8(1), np.uint8(2), np.uint8(3)], np.uint8(0))


def _region(index: tuple[slice, ...]) -> Region:
    (z0, z1), (y0, y1), (x0, x1) = ((int(s.start), int(s.stop)) for s in index)
    return Region(start=(z0, y0, x0), stop=(z1, y1, x1))
