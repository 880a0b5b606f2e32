"""Weights found by name: those that ship with the package, and those of others that were downloaded."""

from __future__ import annotations

import json
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from mitoscale.core.errors import InputError
from mitoscale.nets.published import PUBLISHED, cache_folder

FOLDER = Path(str(files("mitoscale.nets") / "weights"))
"""Where they lie."""


def embedded_names() -> list[str]:
    """Names of the embedded weights."""
    return sorted(p.stem for p in FOLDER.glob("*.safetensors"))


def find_weights(name_or_path: str) -> Path:
    """The file of any weights by path, or by name: embedded, downloaded, or own ones kept in the folder of downloads.

    Raises
    ------
    InputError
        If there is none of them.
    """
    embedded = FOLDER / f"{name_or_path}.safetensors"
    if "/" not in name_or_path and embedded.is_file():
        return embedded
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path.absolute()
    own = cache_folder() / f"{name_or_path}.safetensors"
    if "/" not in name_or_path and own.is_file():
        return own
    if name_or_path in PUBLISHED:
        downloaded = PUBLISHED[name_or_path].path
        if downloaded.is_file():
            return downloaded
        raise InputError(f"weights {name_or_path} are not downloaded yet; get them with mitoscale weights download {name_or_path}")
    embedded_ones, published_ones = ", ".join(embedded_names()) or "none", ", ".join(PUBLISHED)
    raise InputError(
        f"weights {name_or_path!r} are neither a file nor embedded; embedded are: {embedded_ones}; mitoscale weights download "
        f"gets {published_ones}"
    )


def carried(name_or_path: str) -> dict[str, Any]:
    """What weights tell of themselves, read without torch, as a plan needs it; empty where there is nothing to read.

    Whether weights can be used at all is checked where they are loaded.
    """
    from safetensors import SafetensorError, safe_open

    with suppress(InputError, OSError, SafetensorError, KeyError, ValueError):
        with safe_open(find_weights(name_or_path), framework="np") as file:
            card = json.loads((file.metadata() or {})["mitoscale"])
        return card if isinstance(card, dict) else {}
    return {}
