"""Where runs can lie: folders on a disk, and addresses in an object store that can be reached and written."""

from __future__ import annotations

import os

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.storage.addresses import is_remote, join
from mitoscale.storage.layout import check_writable

_SCHEME = "s3://"
"""Of addresses where runs can lie."""


def holds_run(path: str) -> bool:
    """Whether a run, and not a volume, lies at a path or address; what cannot be read, or holds none, is looked at as a volume."""
    file = join(path, "run.json")
    if not is_remote(path):
        return os.path.isfile(file)
    if not path.startswith(_SCHEME):
        return False
    from mitoscale.storage.object_store import look

    try:
        return look(file).data is not None
    except StoppedError:  # of what is not there, stores that may not be listed say that it may not be read
        return False


def check_reached(address: str) -> None:
    """Raise where no run can lie at an address, or its store cannot be reached.

    Raises
    ------
    InputError
        In one line with its cure.
    """
    from mitoscale.storage import object_store

    _check_address(address)
    object_store.check_reached(address)


def check_place(path: str) -> None:
    """Raise unless runs can be written there; leaves nothing behind.

    Parameters
    ----------
    path : str
        A folder, which need not be there yet, or an address.

    Raises
    ------
    InputError
        In one line with its cure.
    """
    if is_remote(path):
        from mitoscale.storage import object_store

        _check_address(path)
        object_store.check_written(path)
    else:
        check_writable(path)


def _check_address(address: str) -> None:
    if not address.startswith(_SCHEME):
        raise InputError(f"{address} can be read from, but no run can lie there; give a folder, or an s3:// address")
    if not address.partition("://")[2].partition("/")[2]:
        raise InputError(f"{address} names a whole bucket; give a name in it for the run, such as {address}/RUN")
