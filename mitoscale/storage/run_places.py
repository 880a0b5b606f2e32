"""Where runs can lie: folders on a disk, and addresses in an object store that can be reached and written."""

from __future__ import annotations

from mitoscale.core.errors import InputError
from mitoscale.storage.addresses import is_remote
from mitoscale.storage.layout import check_writable


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
    if not address.startswith("s3://"):
        raise InputError(f"{address} can be read from, but no run can lie there; give a folder, or an s3:// address")
    if not address.partition("://")[2].partition("/")[2]:
        raise InputError(f"{address} names a whole bucket; give a name in it for the run, such as {address}/RUN")
