"""Regions: half-open boxes of level-0 voxels, axis order (z, y, x)."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, model_validator

from mitoscale.core.errors import InputError

Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]

SINGLE_NM = 500.0
"""Slices this far apart are single pictures: a profile of the one tells nothing of those of the next."""


class Region(BaseModel):
    """A half-open box ``start <= voxel < stop``.

    Examples
    --------
    >>> a = Region(start=(0, 0, 0), stop=(4, 8, 8))
    >>> b = a.shifted((2, 0, 0))
    >>> a.intersection(b).shape
    (2, 8, 8)
    >>> a.expanded((1, 1, 1), within=a) == a
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: Triple
    """First voxel (z, y, x)."""
    stop: Triple
    """One past the last voxel (z, y, x); never below ``start``."""

    @model_validator(mode="after")
    def _check(self) -> Region:
        if any(b < a for a, b in zip(self.start, self.stop, strict=True)):
            raise ValueError(f"region stops before it starts: {self.start} .. {self.stop}")
        return self

    @classmethod
    def of_shape(cls, shape: Triple) -> Region:
        """The region ``0 .. shape``."""
        return cls(start=(0, 0, 0), stop=shape)

    @classmethod
    def parse(cls, text: str, shape: Triple) -> Region:
        """Read ``z0:z1,y0:y1,x0:x1``; an empty bound means the volume's border.

        Parameters
        ----------
        text : str
            Three ranges in voxels.
        shape : (z, y, x)
            Shape of the volume.

        Raises
        ------
        InputError
            If the text is not three ranges, or a range is empty or leaves ``shape``.

        Examples
        --------
        >>> Region.parse("0:8,:,16:", (10, 20, 30))
        Region(start=(0, 0, 16), stop=(8, 20, 30))
        """
        parts = text.split(",")
        if len(parts) != 3 or any(p.count(":") != 1 for p in parts):
            raise InputError(f"region {text!r} is not z0:z1,y0:y1,x0:x1; for example 0:64,0:512,0:512")
        bounds = []
        for axis, part, length in zip("zyx", parts, shape, strict=True):
            low, high = part.split(":")
            try:
                a, b = int(low or 0), int(high or length)
            except ValueError:
                raise InputError(f"region {text!r}: {part!r} on axis {axis} is not two whole numbers") from None
            if not 0 <= a < b <= length:
                raise InputError(f"region {text!r}: {a}:{b} on axis {axis} is empty or leaves the volume (0:{length})")
            bounds.append((a, b))
        (z0, z1), (y0, y1), (x0, x1) = bounds
        return cls(start=(z0, y0, x0), stop=(z1, y1, x1))

    @classmethod
    def around(cls, parts: Sequence[Region]) -> Region:
        """The smallest region that holds all of some regions, of which there is at least one."""
        start = tuple(min(values) for values in zip(*(part.start for part in parts), strict=True))
        stop = tuple(max(values) for values in zip(*(part.stop for part in parts), strict=True))
        return cls(start=start, stop=stop)

    def __str__(self) -> str:
        return ",".join(f"{a}:{b}" for a, b in zip(self.start, self.stop, strict=True))

    @property
    def shape(self) -> Triple:
        """Edge lengths (z, y, x) in voxels."""
        z, y, x = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    @property
    def size(self) -> int:
        """Number of voxels."""
        z, y, x = self.shape
        return z * y * x

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The region as NumPy slices into the whole volume."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    def within(self, outer: Region) -> tuple[slice, slice, slice]:
        """The region as NumPy slices into an array that holds ``outer``."""
        z, y, x = (slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, outer.start, strict=True))
        return z, y, x

    def expanded(self, margin: Triple, within: Region) -> Region:
        """The region grown by ``margin`` on both sides of each axis and cut at ``within``.

        Parameters
        ----------
        margin : (z, y, x)
            Voxels on each side.
        within : Region
            What the result must not leave.
        """
        start = tuple(max(a - m, w) for a, m, w in zip(self.start, margin, within.start, strict=True))
        stop = tuple(min(b + m, w) for b, m, w in zip(self.stop, margin, within.stop, strict=True))
        return Region(start=start, stop=stop)

    def intersection(self, other: Region) -> Region | None:
        """The common region, or None where there is none."""
        start = tuple(map(max, self.start, other.start))
        stop = tuple(map(min, self.stop, other.stop))
        if any(b <= a for a, b in zip(start, stop, strict=True)):
            return None
        return Region(start=start, stop=stop)

    def shifted(self, offset: Triple) -> Region:
        """The region moved by ``offset``."""
        start = tuple(a + o for a, o in zip(self.start, offset, strict=True))
        stop = tuple(b + o for b, o in zip(self.stop, offset, strict=True))
        return Region(start=start, stop=stop)

    def downsampled(self, factor: Triple) -> Region:
        """The region on a coarser lattice: start rounded down, stop rounded up."""
        start = tuple(a // f for a, f in zip(self.start, factor, strict=True))
        stop = tuple(-(-b // f) for b, f in zip(self.stop, factor, strict=True))
        return Region(start=start, stop=stop)
