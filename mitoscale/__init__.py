"""Find every mitochondrion in large electron-microscopy volumes.

The Python API is what this module offers: :func:`segment`, :func:`run`, :func:`open_run`, :func:`show_points` and
:func:`show_mask`. Nothing heavy is imported before one of them is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mitoscale.api.opened import OpenedRun, open_run
    from mitoscale.api.pictures import show_mask, show_points
    from mitoscale.api.running import run
    from mitoscale.api.segmenting import segment

__version__ = "0.1.0"

__all__ = ["OpenedRun", "__version__", "open_run", "run", "segment", "show_mask", "show_points"]

_HOMES = {
    "OpenedRun": "opened",
    "open_run": "opened",
    "run": "running",
    "segment": "segmenting",
    "show_mask": "pictures",
    "show_points": "pictures",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mitoscale' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"mitoscale.api.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
