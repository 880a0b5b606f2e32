"""What the page tells when it opens: where it came from, which behind a tunnel is another name or port, and how large it is."""

from __future__ import annotations

import re
from typing import Any

from mitoscale.core.errors import InputError
from mitoscale.viewer.server import Command

_BARS = 48
"""Height of neuroglancer's bars in pixels."""


class Page:
    """Lets neuroglancer ask for voxels and meshes where its page came from, and show a slice as large as fits.

    Parameters
    ----------
    viewer : neuroglancer.Viewer
        What is shown.
    own : str
        The server's own address, such as ``http://127.0.0.1:8080``.
    slice_shape : (height, width)
        Of a slice, in voxels.
    """

    def __init__(self, viewer: Any, own: str, slice_shape: tuple[int, int]) -> None:
        self._viewer, self.now, self._slice_shape, self._fitted = viewer, own, slice_shape, False

    def commands(self) -> dict[str, Command]:
        """What the page may ask for."""
        return {"here": self.here, "size": self.size}

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

    def size(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Fit a slice into a quarter of the page that opens first: ``width`` and ``height`` in pixels."""
        panel = (float(asked["height"]) - _BARS) / 2, float(asked["width"]) / 2
        if not self._fitted and min(panel) > 0:
            self._fitted = True
            with self._viewer.txn() as state:
                state.cross_section_scale = max(n / (0.93 * room) for n, room in zip(self._slice_shape, panel, strict=True))
        return {}
