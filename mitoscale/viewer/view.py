"""A viewer in the browser: neuroglancer on a run's image and labels, with lists to jump to and the picked object's row."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.normalisation import Normalisation
from mitoscale.core.plan import RunPlan
from mitoscale.corrections.object_lists import ObjectLists, Place
from mitoscale.evaluation.label_reading import LabelSource
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ome import is_ome_zarr
from mitoscale.storage.sources.kinds import open_reader

_DOTS = 100_000
"""Up to so many detections are shown at once; of more somebody must ask for them: a browser draws millions slowly."""

LABELS = "mitochondria"
"""The layer of the run's labels."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A viewer that is running."""

    url: str
    """Address to open in a browser: neuroglancer with the lists beside it."""
    port: int
    """The one port it listens on."""
    image: str
    """Address of the image's OME-Zarr, from which the browser reads; empty where a source of another kind is read here."""
    labels: str
    """Address of the labels' OME-Zarr; empty where there are none yet."""
    viewer: Any
    """Neuroglancer's viewer."""

    @property
    def state(self) -> Any:
        """What is shown: neuroglancer's state."""
        return self.viewer.state


@contextmanager
def viewer(
    plan: RunPlan,
    *,
    bind: str = "127.0.0.1",
    port: int = 0,
    other: LabelSource | None = None,
    normalisation: Normalisation | None = None,
    tables: Callable[[], ObjectLists] | None = None,
    editable: bool = True,
) -> Iterator[View]:
    """Start a viewer on a run, be it finished or at work, and stop it at the end.

    Everything comes over one port and nothing from elsewhere. Voxels are read by the browser, level by level, and meshes are
    made when an object is picked, so a terabyte opens as quickly as a crop.

    Parameters
    ----------
    plan : RunPlan
        Of the run.
    bind : str
        Address to listen on; ``0.0.0.0`` lets other machines in, and has no password but the secret part of the address.
    port : int
        Port to listen on; 0: any that is free.
    other : LabelSource, optional
        Labels to compare with.
    normalisation : Normalisation, optional
        The grey window.
    tables : callable, optional
        The run's tables by now; by default they are read once.
    editable : bool
        With buttons for corrections, where there are labels and objects; not while they are being written.

    Yields
    ------
    View

    Raises
    ------
    InputError
        If neuroglancer is not installed, the port is taken, or the other labels are of another volume.
    """
    try:
        import neuroglancer
    except ImportError as error:
        raise InputError("the viewer needs neuroglancer; install it with pip install 'mitoscale[view]'") from error
    from mitoscale.viewer import layers
    from mitoscale.viewer.detections import Detections
    from mitoscale.viewer.editing import LAYER as CORRECTED
    from mitoscale.viewer.editing import Edits
    from mitoscale.viewer.meshes import Meshes, mesh_of_changed
    from mitoscale.viewer.page import Page
    from mitoscale.viewer.picks import Picks
    from mitoscale.viewer.server import Command, rules

    if other is not None:
        layers.check_alike(plan, other)
    folders = _folders(plan)
    if tables is None:
        read = ObjectLists.of(plan.run)

        def tables() -> ObjectLists:
            return read

    neuroglancer.set_server_bind_address(bind, port)
    with ExitStack() as stack:
        try:
            shown = neuroglancer.Viewer()
        except OSError as error:
            cure = "--port" if error.errno == errno.EADDRINUSE else "--bind or --port"
            raise InputError(f"port {port} of {bind} cannot be used ({error.strerror}); give another {cure}") from error
        stack.callback(neuroglancer.stop)
        server = neuroglancer.server.global_server
        path, detections = f"/mitoscale/{shown.token}", Detections(plan.run)
        page = Page(shown, server.server_url, plan.region.shape[1:])
        root = f"{server.server_url}{path}"
        image = layers.zarr_address(root, "image", folders["image"]) if "image" in folders else ""
        labels = layers.zarr_address(root, "labels", folders["labels"]) if "labels" in folders else ""
        objects = tables().objects.get("label", np.zeros(0, np.uint64))
        with shown.txn() as state:
            state.dimensions = layers.space(plan)
            state.layers["image"] = layers.image_layer(image or layers.read_here(plan), normalisation)
            if "foreground" in folders:
                source = layers.zarr_address(root, "foreground", folders["foreground"])
                state.layers["foreground"] = layers.foreground_layer(plan, source)
                state.layers["foreground"].visible = False
            if other is not None:
                state.layers["other"] = layers.other_layer(plan, other)
                state.layers["other"].visible = False
            if labels:
                surfaces = [f"precomputed://{root}/mesh"] if len(objects) else []
                state.layers[LABELS] = layers.label_layer([labels, *surfaces], objects)
                if other is not None:
                    own = LabelSource(path=plan.run, reader=open_reader(f"{plan.labels}/0", labels=True))
                    state.layers["agreement"] = layers.agreement_layer(plan, own, other)
            if points := detections.count():
                state.layers["detections"] = layers.detection_layer(f"precomputed://{root}/detections")
                state.layers["detections"].visible = points <= _DOTS
            state.layout = "4panel"
            state.show_slices = False  # in 3D the meshes are what one wants to see
            middle = [(a + b - 1) / 2 for a, b in zip(plan.region.start, plan.region.stop, strict=True)]
            state.position = middle[::-1]
            state.cross_section_depth = 1  # detections of this slice alone, not a trail of its neighbours
            _, height, width = plan.region.shape
            state.cross_section_scale = max(height / 350, width / 470)  # until the page tells how large it is
            state.projection_scale = max(plan.region.shape[1:]) * 1.5
        made = Meshes(plan, lambda label: tables().box(label))
        meshes: dict[str, Callable[[int], bytes | None]] = {"mesh": made.of}
        edits = None
        if editable and labels and len(objects):
            edits = Edits(plan, shown, LABELS, lambda: f"precomputed://{page.now}{path}/mesh_corrected")
        commands: dict[str, Command] = edits.commands() if edits else {}
        if edits:
            now = edits  # for the closure: a mesh of what was not changed is the run's own
            meshes["mesh_corrected"] = lambda label: (
                mesh_of_changed(now.corrected, label) if label in now.corrected.touched else made.of(label)
            )
        picks = Picks(shown, (CORRECTED, LABELS), tables, edits.row if edits else lambda label: {})
        commands |= picks.commands() | page.commands()
        frame = urlsplit(shown.get_viewer_url()).path

        def lists() -> dict[str, list[Place]]:
            changed = edits.changed() if edits else []
            return tables().lists(edits.corrected.touched if edits else ()) | ({"corrected": changed} if changed else {})

        answers = rules(shown.token, plan, folders, lists, detections, meshes, commands, frame)
        server.loop.call_soon_threadsafe(server.app.add_handlers, ".*", answers)
        yield View(url=f"{root}/", port=server.port, image=image, labels=labels, viewer=shown)


def _folders(plan: RunPlan) -> dict[str, str]:
    """What is served, by name: only what is there."""
    found = {}
    if not plan.settings.convert.in_place:
        found["image"] = os.path.dirname(plan.image)
    elif is_ome_zarr(plan.settings.convert.source):
        found["image"] = plan.settings.convert.source
    for name, path in (("labels", plan.labels), ("foreground", RunFolder(plan.run).foreground)):
        if Path(path, "zarr.json").is_file():
            found[name] = path
    return found
