"""The chain of page headers of a TIFF file, walked to its end."""

from __future__ import annotations

import struct

from mitoscale.core.errors import InputError

_TAG_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Size of a tag's values by their type (TIFF 6.0, section 2; BigTIFF)."""


def count_directories(path: str, size: int) -> int:
    """Walk the chain of page headers (TIFF 6.0, section 2; BigTIFF) and count them.

    tifffile ends the chain in silence where it points past the end of the file, and a stack cut in the middle then
    looks like a short one.

    Parameters
    ----------
    path : str
        The file.
    size : int
        Its bytes.

    Raises
    ------
    InputError
        If it is not a TIFF, or the chain leaves the file or runs in a circle.
    """
    with open(path, "rb") as file:
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        magic = struct.unpack(f"{order}H", head[2:4])[0] if order and len(head) >= 8 else None
        if magic not in (42, 43) or (magic == 43 and len(head) < 16):
            raise InputError(f"{path} is not a TIFF file; give a TIFF, a folder of TIFF or PNG slices, or an OME-Zarr")
        count_format, entry, next_format = ("Q", 20, "Q") if magic == 43 else ("H", 12, "I")
        offset = struct.unpack(f"{order}{next_format}", head[8:16] if magic == 43 else head[4:8])[0]
        seen: set[int] = set()
        while offset:
            if offset in seen:
                raise InputError(f"{path} is damaged: its page headers run in a circle; export it again")
            seen.add(offset)
            file.seek(offset)
            count = file.read(struct.calcsize(f"{order}{count_format}"))
            length = struct.unpack(f"{order}{count_format}", count)[0] * entry if len(count) > 1 else 0
            entries = file.read(length) if length < size else b""
            _check_tags(path, entries, f"{order}HH{next_format}{next_format}", size)
            link = file.read(struct.calcsize(f"{order}{next_format}"))
            if len(link) < struct.calcsize(f"{order}{next_format}"):
                raise InputError(
                    f"{path} is cut off: the header of page {len(seen) - 1} lies at byte {offset} and the file ends at"
                    f" {size}; copy or export it again"
                )
            offset = struct.unpack(f"{order}{next_format}", link)[0]
    if not seen:
        raise InputError(f"{path} holds no image; copy or export it again")
    return len(seen)


def _check_tags(path: str, entries: bytes, layout: str, size: int) -> None:
    """Raise where a tag's value, such as the OME metadata at the end of a file, lies past the end."""
    inline = struct.calcsize(f"<{layout[-1]}")
    for at in range(0, len(entries) - struct.calcsize(layout) + 1, struct.calcsize(layout)):
        tag, kind, count, offset = struct.unpack_from(layout, entries, at)
        length = count * _TAG_BYTES.get(kind, 0)
        if length > inline and offset + length > size:
            raise InputError(
                f"{path} is cut off: tag {tag} ends at byte {offset + length} and the file at {size}; copy or export it again"
            )
