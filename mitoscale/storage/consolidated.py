"""Consolidated metadata: a group's list of all arrays below it, which readers take instead of looking."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from pathlib import Path

import zarr

from mitoscale.core.errors import StoppedError


def consolidate_again(path: str) -> None:
    """Renew the list of a Zarr v3 group, of its labels and of each group around it, where they have one.

    Parameters
    ----------
    path : str
        The group below which an array was made or removed.

    Raises
    ------
    StoppedError
        If it cannot be written.
    """
    group = Path(path)
    while (group / "zarr.json").is_file():
        for stale in (group / "labels", group):
            if _is_consolidated(stale):
                _consolidate(stale)
        group = group.parent


def _is_consolidated(group: Path) -> bool:
    with suppress(OSError, ValueError, AttributeError):
        return bool(json.loads((group / "zarr.json").read_text(encoding="utf-8")).get("consolidated_metadata"))
    return False


def _consolidate(group: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the list is no part of Zarr v3 yet: it was there before us
        try:
            zarr.consolidate_metadata(str(group), zarr_format=3)
        except OSError as error:
            raise StoppedError(f"cannot write {group}: {error.strerror or error}; free or repair the disk") from error
