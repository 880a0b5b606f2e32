"""Folders for what one process sorts or merges and then removes: always on a disk, also where the run lies in an object store."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache

from mitoscale.storage.addresses import is_remote
from mitoscale.storage.layout import RunFolder


def scratch_folder(folder: RunFolder, name: str) -> str:
    """Where to keep it: in ``work`` of a run on a disk, so that a later process finds what a killed one left.

    Parameters
    ----------
    folder : RunFolder
        The run.
    name : str
        What it is for.
    """
    return os.path.join(_own() if is_remote(folder.path) else folder.work, name)


@cache
def _own() -> str:
    """This process's own, removed when it ends."""
    made = tempfile.mkdtemp(prefix="mitoscale-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
