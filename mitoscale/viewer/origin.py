"""Where the browser finds the server: under another name or port than its own where it comes through a tunnel."""

from __future__ import annotations

import re
from typing import Any

from mitoscale.core.errors import InputError
from mitoscale.viewer.server import Command


class Origin:
    """Lets neuroglancer ask for voxels and meshes where its page came from.

    Parameters
    ----------
    viewer : neuroglancer.Viewer
        What is shown.
    own : str
        The server's own address, such as ``http://127.0.0.1:8080``.
    """

    def __init__(self, viewer: Any, own: str) -> None:
        self._viewer, self.now = viewer, own

    def commands(self) -> dict[str, Command]:
        """What the page may ask for."""
        return {"here": self.here}

    def here(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Point all sources that this server answers to the ``origin`` of a page."""
        wanted = str(asked.get("origin", ""))
        if not re.fullmatch(r"https?://[\w.:\[\]-]+", wanted):
            raise InputError(f"a page comes from an address such as {self.now}, not {wanted!r}")
        if wanted != self.now:
            with self._viewer.txn() as state:
                for layer in state.layers:
                    for source in layer.layer.source:
                        if isinstance(source.url, str):
                            source.url = source.url.replace(f"{self.now}/", f"{wanted}/")
            self.now = wanted
        return {}
