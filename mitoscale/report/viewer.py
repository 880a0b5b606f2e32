"""A viewer in the browser: neuroglancer on a run's OME-Zarr image and labels, streamed from where they lie."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitoscale.core.errors import InputError
from mitoscale.core.plan import RunPlan


@dataclass(frozen=True, kw_only=True)
class View:
    """A viewer that is running."""

    url: str
    """Address to open in a browser."""
    image: str
    """Address of the image's OME-Zarr, from which the browser reads."""
    labels: str
    """Address of the labels' OME-Zarr."""
    state: Any
    """What is shown: neuroglancer's state."""


@contextmanager
def viewer(plan: RunPlan, *, bind: str = "127.0.0.1") -> Iterator[View]:
    """Start a viewer on a run whose labels are written, and stop it at the end.

    The page comes with neuroglancer and loads nothing from elsewhere. Voxels are read by the browser, level by level, so a
    terabyte opens as quickly as a crop.

    Parameters
    ----------
    plan : RunPlan
        Of a finished run.
    bind : str
        Address to listen on; ``0.0.0.0`` lets other machines in, and has no password but the secret part of the address.

    Yields
    ------
    View

    Raises
    ------
    InputError
        If neuroglancer is not installed.
    """
    try:
        import neuroglancer
        from neuroglancer.static_file_server import StaticFileServer
    except ImportError as error:
        raise InputError("the viewer needs neuroglancer; install it with pip install 'mitoscale[view]'") from error
    image = plan.settings.convert.source if plan.settings.convert.in_place else os.path.dirname(plan.image)
    neuroglancer.set_server_bind_address(bind)
    with ExitStack() as stack:

        def served(group: str) -> str:
            address = stack.enter_context(StaticFileServer(group, bind_address=bind, daemon=True))
            return f"{address}/|zarr{3 if Path(group, 'zarr.json').is_file() else 2}:"

        sources = served(image), served(plan.labels)
        shown = neuroglancer.Viewer()
        stack.callback(neuroglancer.stop)
        with shown.txn() as state:
            state.layers["image"] = neuroglancer.ImageLayer(source=sources[0])
            state.layers["mitochondria"] = neuroglancer.SegmentationLayer(source=sources[1], selected_alpha=0.3)
            state.layout = "4panel"
            z, y, x = ((a + b) / 2 for a, b in zip(plan.region.start, plan.region.stop, strict=True))
            state.dimensions = neuroglancer.CoordinateSpace(names=["z", "y", "x"], units="nm", scales=plan.spec.spacing)
            state.position = [z, y, x]
        yield View(url=shown.get_viewer_url(), image=sources[0], labels=sources[1], state=shown.state)
