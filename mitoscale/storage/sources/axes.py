"""The order of a stored array's axes, and which channel and time are read of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Triple
from mitoscale.core.source_choices import Reading

_SYNONYMS = {"channel": "c", "channels": "c", "time": "t", "frame": "t", "plane": "z", "depth": "z", "row": "y", "column": "x"}
_PLURAL = {"c": "channels", "t": "times"}
_OPTION = {"c": "channel", "t": "time"}
USUAL = "tczyx"
"""The order of most arrays, slowest first; shorter ones lack the first axes."""


@dataclass(frozen=True)
class AxisOrder:
    """How a stored array is looked at as (z, y, x).

    Examples
    --------
    >>> order = AxisOrder("xyzc", (None, None, None, 1))
    >>> order.shape((7, 6, 5, 2)), order.index(Region.of_shape((5, 6, 1)))
    ((5, 6, 7), (slice(0, 1, None), slice(0, 6, None), slice(0, 5, None), 1))
    >>> order.arranged(np.zeros((1, 6, 5))).shape
    (5, 6, 1)
    """

    names: str
    """A letter an axis, as stored."""
    fixed: tuple[int | None, ...]
    """The index that is read of axes that are not z, y or x."""

    def shape(self, stored: Sequence[int]) -> Triple:
        """Shape (z, y, x) of an array stored with this shape; an axis z that is not there has one slice."""
        return self.picked(stored, 1)

    def picked(self, stored: Sequence[int], missing: int) -> Triple:
        """What belongs to z, y and x of one number a stored axis.

        Parameters
        ----------
        stored : sequence of int
            One number a stored axis.
        missing : int
            Value of an axis that is not stored.
        """
        z, y, x = (int(stored[self.names.index(n)]) if n in self.names else missing for n in "zyx")
        return z, y, x

    def index(self, region: Region) -> tuple[slice | int, ...]:
        """The region as an index into the stored array."""
        slices = dict(zip("zyx", region.slices, strict=True))
        return tuple(slices[n] if f is None else f for n, f in zip(self.names, self.fixed, strict=True))

    def arranged(self, data: np.ndarray) -> np.ndarray:
        """What was read with :meth:`index`, as (Z, Y, X)."""
        kept = [n for n, f in zip(self.names, self.fixed, strict=True) if f is None]
        data = data.transpose([kept.index(n) for n in "zyx" if n in kept])
        return data if "z" in kept else data[None]


def axis_order(names: Sequence[str] | str, stored: Sequence[int], reading: Reading, where: str, channels: str = "") -> AxisOrder:
    """Decide how an array is read.

    Parameters
    ----------
    names : sequence of str
        The axes' names as stored; ``reading.axes`` wins.
    stored : sequence of int
        The array's shape.
    reading : Reading
        The user's decisions.
    where : str
        What it is called in errors.
    channels : str
        Names of its channels, for people to choose by.

    Raises
    ------
    InputError
        If y or x is missing, an axis is unknown or there twice, or there are several channels or times and none is chosen.
    """
    if reading.axes is not None:
        names = list(reading.axes.lower())
    letters = [_SYNONYMS.get(str(n).lower(), str(n).lower()) for n in names]
    told = ", ".join(map(str, names))
    if len(letters) != len(stored):
        raise InputError(f"{where} has {len(stored)} axes, shape {tuple(stored)}, and not {told}; give --axes, such as zyx")
    if len(set(letters)) != len(letters) or not {"y", "x"} <= set(letters):
        raise InputError(
            f"{where} has axes {told}, shape {tuple(stored)}; say which is which with --axes, such as {USUAL[-len(letters) :]}"
        )
    fixed: list[int | None] = []
    for name, length in zip(letters, stored, strict=True):
        fixed.append(None if name in set("zyx") else _chosen(name, int(length), reading, where, channels))
    for letter, option in _OPTION.items():
        if getattr(reading, option) and letter not in letters:
            raise InputError(f"{where} has no {_PLURAL[letter]} (axes {told}); leave out --{option}")
    return AxisOrder("".join(n if len(n) == 1 else "?" for n in letters), tuple(fixed))


def _chosen(name: str, length: int, reading: Reading, where: str, channels: str) -> int:
    """The index that is read of an axis that is not z, y or x."""
    option = _OPTION.get(name)
    if option is None:
        if length == 1:
            return 0
        raise InputError(f"{where} has an axis {name} of length {length}; say what it is with --axes, or store one part on its own")
    wanted = getattr(reading, option)
    if wanted is None and length == 1:
        return 0
    if wanted is None or wanted >= length:
        few = f"--{option} 0 .. {length - 1}" if length > 1 else f"--{option} 0"
        named = f" ({channels})" if channels and name == "c" else ""
        said = f"{where} has {length} {_PLURAL[name] if length > 1 else option}{named}"
        raise InputError(f"{said}; choose one with {few}" if wanted is None else f"{said}, none with number {wanted}; give {few}")
    return int(wanted)


def usual(rank: int) -> str:
    """The usual names of so many axes; unknown ones before them are ``?``.

    Examples
    --------
    >>> usual(3), usual(5), usual(6)
    ('zyx', 'tczyx', '?tczyx')
    """
    return USUAL[-rank:].rjust(rank, "?")
