"""Amounts as people write them in ``cluster.yaml``: memory and durations, checked when the file is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

SMALLEST_BYTES = 2**29
"""A worker with less memory could not even load its libraries."""


def bytes_of(text: str) -> int:
    """Bytes of an amount such as ``4 GiB``.

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> bytes_of("1 GiB")
    1073741824
    """
    from dask.utils import parse_bytes

    try:
        return int(parse_bytes(text))
    except ValueError:
        raise ValueError(f"{text!r} is no amount of memory such as 4 GiB") from None


def seconds_of(text: str) -> float:
    """Seconds of a duration such as ``30 minutes``.

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> seconds_of("2 minutes")
    120.0
    """
    from dask.utils import parse_timedelta

    try:
        return float(parse_timedelta(text))
    except (ValueError, KeyError):
        raise ValueError(f"{text!r} is no time such as 30 minutes") from None


def _memory(text: str) -> str:
    if bytes_of(text) < SMALLEST_BYTES:
        raise ValueError(f"{text!r} is too little for a worker; give at least {SMALLEST_BYTES >> 20} MiB")
    return text


def _duration(text: str) -> str:
    if not seconds_of(text) >= 1:
        raise ValueError(f"{text!r} is no time of at least a second such as 30 minutes")
    return text


Memory = Annotated[str, AfterValidator(_memory)]
"""Memory of a worker, such as ``4 GiB``."""

Duration = Annotated[str, AfterValidator(_duration)]
"""At least a second, such as ``30 minutes``."""
