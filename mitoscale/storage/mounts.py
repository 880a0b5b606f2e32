"""What is known of the file system under a path: whether a file lock there is seen by other machines."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_LOCAL_KINDS = ("beegfs", "fuse.s3fs", "fuse.sshfs", "fuse.rclone", "fuse.gcsfuse", "fuse.mount-s3")
"""Shared file systems whose locks each machine keeps to itself, by default or always."""

_LOCAL_OPTIONS = {
    "nfs": ("local_lock=flock", "local_lock=all", "nolock"),
    "nfs4": ("local_lock=flock", "local_lock=all", "nolock"),
    "lustre": ("localflock",),
    "cifs": ("nobrl",),
    "smb3": ("nobrl",),
}
"""Options with which a shared file system does so."""


def has_local_locks(path: Path, mounts: str | None = None) -> bool:
    """Whether other machines that share the file system do not see a lock on this one.

    Parameters
    ----------
    path : Path
        A file or folder; it need not exist.
    mounts : str, optional
        Contents of ``/proc/self/mountinfo``; by default this machine's. What it does not tell is taken for seen.

    Examples
    --------
    >>> lines = "36 35 0:50 / /data rw - nfs4 server:/export rw,vers=4.2,local_lock=none"
    >>> has_local_locks(Path("/data/run"), lines), has_local_locks(Path("/data/run"), lines.replace("none", "flock"))
    (False, True)
    """
    if mounts is None:
        with suppress(OSError):
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    where = os.path.realpath(path)
    longest, kind, options = -1, "", ""
    for line in (mounts or "").splitlines():
        left, _, right = line.partition(" - ")
        fields, rest = left.split(), right.split()
        if len(fields) < 6 or len(rest) < 3:
            continue
        point = fields[4].replace("\\040", " ").rstrip("/")
        if (where == point or where.startswith(f"{point}/")) and len(point) >= longest:
            longest, kind, options = len(point), rest[0], f"{fields[5]},{rest[2]}"
    return kind in _LOCAL_KINDS or not set(_LOCAL_OPTIONS.get(kind, ())).isdisjoint(options.split(","))
