"""Paths of a disk and addresses of an object store, as text: told apart, joined and taken apart in one way."""

from __future__ import annotations

import os
import posixpath

SCHEMES = ("s3://", "gs://", "https://", "http://")
"""Addresses that are read."""

PROBE = ".mitoscale-probe"
"""Name of an object that is put for a moment, to see whether a store can be written."""


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path is an address and not a local path."""
    return os.fspath(path).startswith(SCHEMES)


def absolute(path: str) -> str:
    """A local path made absolute, an address without the slash at its end."""
    return path.rstrip("/") if is_remote(path) else os.path.abspath(os.path.expanduser(path))


def join(folder: str, *names: str) -> str:
    """What lies in a folder.

    Parameters
    ----------
    folder : str
        Folder or address.
    *names : str
        Names of folders in it, one inside the other, and of what lies in the last.

    Examples
    --------
    >>> join("s3://bucket/run/", "tables", "objects.csv"), join("/data/run", "tables")
    ('s3://bucket/run/tables/objects.csv', '/data/run/tables')
    """
    if not is_remote(folder):
        return os.path.join(folder, *names)
    return "/".join((folder.rstrip("/"), *(name.strip("/") for name in names)))


def parent(path: str) -> str:
    """The folder that something lies in.

    Examples
    --------
    >>> parent("s3://bucket/run/run.json")
    's3://bucket/run'
    """
    return posixpath.dirname(path)


def name_of(path: str) -> str:
    """The last part of a path or address."""
    return posixpath.basename(path)
