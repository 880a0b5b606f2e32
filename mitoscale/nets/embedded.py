"""The weights that ship with the package, found by name."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from mitoscale.core.errors import InputError

FOLDER = Path(str(files("mitoscale.nets") / "weights"))
"""Where they lie."""


def embedded_names() -> list[str]:
    """Names of the embedded weights."""
    return sorted(p.stem for p in FOLDER.glob("*.safetensors"))


def find_weights(name_or_path: str) -> Path:
    """The file of embedded weights by name, or of any weights by path.

    Raises
    ------
    InputError
        If there is neither.
    """
    embedded = FOLDER / f"{name_or_path}.safetensors"
    if "/" not in name_or_path and embedded.is_file():
        return embedded
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path.absolute()
    names = ", ".join(embedded_names()) or "none"
    raise InputError(f"weights {name_or_path!r} are neither a file nor embedded; embedded are: {names}")
