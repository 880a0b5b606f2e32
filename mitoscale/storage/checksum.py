"""A digest of an array, by which damaged data is told."""

from __future__ import annotations

import numpy as np
import xxhash


def checksum(data: np.ndarray) -> str:
    """Digest of an array's dtype, shape and values, 32 hex digits.

    XXH3, 128 bits: tells damaged data as surely as a cryptographic digest, in a thirtieth of the time; it is no proof against
    someone who wants to deceive.
    """
    digest = xxhash.xxh3_128(f"{data.dtype.str}{data.shape}".encode())
    digest.update(np.ascontiguousarray(data).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
