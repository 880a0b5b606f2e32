"""The index at the end of a file of tables: the settings' token, and of each task's part its place, length and checksum."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

import xxhash

_MAGIC = b"mitotab1"
_END = struct.Struct("<Q16s8s")
END_SIZE = _END.size
"""Bytes behind the index, which tell how long it is."""

Places = dict[str, tuple[int, int, str]]
"""Of each task where its part lies, how long it is, and its checksum."""


class UnfitFileError(Exception):
    """A file that cannot be used."""


class NoFileError(UnfitFileError):
    """A file that is not there."""


class OtherSettingsError(UnfitFileError):
    """A file that was made with other settings."""


def index_of(parts: Mapping[str, bytes], token: str) -> bytes:
    """The index of some parts that lie one behind the other, with what stands behind it.

    Parameters
    ----------
    parts : mapping
        For each task's name its part.
    token : str
        Of the settings they are made with.
    """
    at, places = 0, {}
    for name, part in parts.items():
        places[name] = (at, len(part), xxhash.xxh3_128_hexdigest(part))
        at += len(part)
    index = json.dumps({"token": token, "parts": places}).encode()
    return index + _END.pack(len(index), xxhash.xxh3_128_digest(index), _MAGIC)


def index_size(end: bytes) -> int:
    """Bytes of an index with what stands behind it, from a file's last bytes; 0 where they are broken."""
    if len(end) < _END.size:
        return 0
    length, _, magic = _END.unpack(end[-_END.size :])
    return int(length) + _END.size if magic == _MAGIC else 0


def index_in(path: str, end: bytes) -> tuple[str, Places]:
    """Token and places, from a file's last bytes.

    Parameters
    ----------
    path : str
        The file, for the error.
    end : bytes
        Its last bytes.

    Raises
    ------
    UnfitFileError
        If they are broken.
    """
    size = index_size(end)
    if 0 < size <= len(end):
        index = end[len(end) - size : len(end) - _END.size]
        if xxhash.xxh3_128_digest(index) == _END.unpack(end[-_END.size :])[1]:
            content = json.loads(index)
            return content["token"], {name: (a, n, d) for name, (a, n, d) in content["parts"].items()}
    raise UnfitFileError(f"{path} is broken")
