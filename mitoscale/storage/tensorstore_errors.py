"""What the system said, out of tensorstore's messages of many parts."""

from __future__ import annotations

import os
import re

_CODE = re.compile(r"os_error_code='(\d+)'")


def is_refusal(error: Exception) -> bool:
    """Whether the system refused something, such as to write on a full disk."""
    return _CODE.search(str(error)) is not None


def reason(error: Exception) -> str:
    """In a few words where the system gave its reason; else tensorstore's own text, in one line.

    Examples
    --------
    >>> reason(ValueError("OUT_OF_RANGE: Error writing local file: File too large [os_error_code='27']"))
    'File too large'
    """
    code = _CODE.search(str(error))
    if code:
        return os.strerror(int(code[1]))
    return " ".join(str(getattr(error, "strerror", None) or error).split())
