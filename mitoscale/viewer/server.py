"""What the viewer's page asks for besides neuroglancer's own files: voxels, meshes, detections, lists and rows, on one port."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from mitoscale.core.errors import MitoscaleError
from mitoscale.core.geometry import Region
from mitoscale.core.plan import RunPlan
from mitoscale.corrections.object_lists import Place
from mitoscale.viewer.detections import Detections

Rule = tuple[str, type[RequestHandler], dict[str, Any]]
"""A path, what answers it, and with what."""

Command = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes what the page sends, and gives back what it shows."""


class _Files(StaticFileHandler):
    """Files of an OME-Zarr as they are now: a run may be at work on them."""

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", "no-cache")


class _Mesh(RequestHandler):
    """Neuroglancer's legacy meshes: ``info``, ``LABEL:0`` (which file) and ``LABEL`` (the file)."""

    def initialize(self, mesh: Callable[[int], bytes | None]) -> None:
        self._mesh = mesh

    async def get(self, what: str) -> None:
        self.set_header("Cache-Control", "no-cache")
        if what == "info":
            self.finish({"@type": "neuroglancer_legacy_mesh"})
            return
        label, colon, _ = what.partition(":")
        if not label.isdigit():
            raise HTTPError(404)
        if colon:
            self.finish({"fragments": [label]})
            return
        mesh = await asyncio.get_running_loop().run_in_executor(None, self._mesh, int(label))
        if mesh is None:
            raise HTTPError(404)
        self.set_header("Content-Type", "application/octet-stream")
        self.finish(mesh)


class _Detections(RequestHandler):
    """Neuroglancer's precomputed annotations, cell by cell from the table."""

    def initialize(self, plan: RunPlan, detections: Detections) -> None:
        self._plan, self._detections = plan, detections

    async def get(self, what: str) -> None:
        shape, spacing, core = (v[::-1] for v in (self._plan.spec.shape, self._plan.spec.spacing, self._plan.core))
        if what == "info":
            axes = {name: [s * 1e-9, "m"] for name, s in zip("xyz", spacing, strict=True)}
            grid = [-(-n // c) for n, c in zip(shape, core, strict=True)]
            spatial = {"key": "cells", "grid_shape": grid, "chunk_size": core, "limit": 10_000}
            self.finish(
                {
                    "@type": "neuroglancer_annotations_v1",
                    "dimensions": axes,
                    "lower_bound": [0, 0, 0],
                    "upper_bound": shape,
                    "annotation_type": "POINT",
                    "properties": [],
                    "relationships": [],
                    "by_id": {"key": "by_id"},
                    "spatial": [spatial],
                }
            )
            return
        kind, _, name = what.partition("/")
        try:
            place = [int(part) for part in name.split("_")]
        except ValueError:
            raise HTTPError(404) from None
        if kind != "cells" or len(place) != 3:
            raise HTTPError(404)
        z, y, x = (p * c for p, c in zip(reversed(place), self._plan.core, strict=True))
        dz, dy, dx = self._plan.core
        cell = Region(start=(z, y, x), stop=(z + dz, y + dy, x + dx))
        points = await asyncio.get_running_loop().run_in_executor(None, self._detections.within, cell)
        ids = (np.arange(len(points)) + place[0] * 2**40 + place[1] * 2**32 + place[2] * 2**24).astype("<u8")
        self.set_header("Content-Type", "application/octet-stream")
        self.finish(struct.pack("<Q", len(points)) + points[:, ::-1].astype("<f4").tobytes() + ids.tobytes())


class _Page(RequestHandler):
    """The page around neuroglancer."""

    def initialize(self, html: str) -> None:
        self._html = html

    def get(self) -> None:
        self.finish(self._html)


class _Lists(RequestHandler):
    """The lists to jump to."""

    def initialize(self, lists: Callable[[], dict[str, list[Place]]]) -> None:
        self._lists = lists

    def get(self) -> None:
        self.set_header("Cache-Control", "no-cache")
        self.finish({name: [asdict(place) for place in places] for name, places in self._lists().items()})


class _Commands(RequestHandler):
    """What the page asks to be done: jumps, rows, corrections."""

    def initialize(self, commands: dict[str, Command]) -> None:
        self._commands = commands

    async def post(self, name: str) -> None:
        if name not in self._commands:
            raise HTTPError(404)
        asked = json.loads(self.request.body or "{}")
        try:  # in a thread: a correction may read much, and voxels are served meanwhile
            self.finish(await asyncio.get_running_loop().run_in_executor(None, self._commands[name], asked))
        except MitoscaleError as error:
            self.set_status(400)
            self.finish({"error": str(error)})


def rules(
    secret: str,
    plan: RunPlan,
    folders: dict[str, str],
    lists: Callable[[], dict[str, list[Place]]],
    detections: Detections,
    meshes: dict[str, Callable[[int], bytes | None]],
    commands: dict[str, Command],
    frame: str,
) -> list[Rule]:
    """What is answered under ``/mitoscale/SECRET/``.

    Parameters
    ----------
    secret : str
        Nobody who does not know it gets an answer.
    plan : RunPlan
        Of the run.
    folders : dict
        Name -> folder whose files are served as ``files/NAME/``.
    lists : callable
        The lists to jump to by now.
    detections : Detections
        The run's detections.
    meshes : dict
        Name -> what makes an object's mesh, or None where there is no such object; served as ``NAME/``.
    commands : dict
        Name -> what is done when the page posts to ``do/NAME``.
    frame : str
        Address of neuroglancer on this server, which the page shows within.
    """
    page = Path(__file__).with_name("viewer.html").read_text(encoding="utf-8").replace("FRAME_ADDRESS", frame)
    root = f"/mitoscale/{secret}"
    files: list[Rule] = [(f"{root}/files/{name}/(.*)", _Files, {"path": path}) for name, path in folders.items()]
    surfaces: list[Rule] = [(f"{root}/{name}/(.+)", _Mesh, {"mesh": mesh}) for name, mesh in meshes.items()]
    return [
        *files,
        *surfaces,
        (f"{root}/detections/(.+)", _Detections, {"plan": plan, "detections": detections}),
        (f"{root}/lists", _Lists, {"lists": lists}),
        (f"{root}/do/([a-z]+)", _Commands, {"commands": commands}),
        (f"{root}/", _Page, {"html": page}),
    ]
