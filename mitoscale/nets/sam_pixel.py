"""The pixel size a network is asked to work at, held against the volume's: a slip of the pen must not fill the memory."""

from __future__ import annotations

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Spacing

FINER, COARSER = 8, 32
"""How many times smaller or larger than the volume's pixels a network's may be. A slice of smaller pixels takes the square of
that in memory and time, and shows no more; of larger ones a mitochondrion would be a few."""


def checked_pixel(pixel_nm: float | None, spacing: Spacing, option: str = "--sam-pixel") -> float | None:
    """The pixel size that was asked for, where it fits the volume.

    Parameters
    ----------
    pixel_nm : float or None
        What the option says, in nm; None: nothing.
    spacing : (z, y, x)
        Voxel size of the volume in nm.
    option : str
        Its name.

    Raises
    ------
    InputError
        If it is much smaller or larger than the volume's pixels.

    Examples
    --------
    >>> checked_pixel(10.0, (50.0, 5.0, 5.0)), checked_pixel(None, (5.0, 5.0, 5.0))
    (10.0, None)
    """
    low, high = max(spacing[1:]) / FINER, min(spacing[1:]) * COARSER
    if pixel_nm is not None and not low <= pixel_nm <= high:
        size = " x ".join(f"{s:g}" for s in spacing[1:])
        raise InputError(
            f"{option} {pixel_nm:g} nm is not between {low:g} and {high:g} nm, 1/{FINER} and {COARSER} times the volume's "
            f"pixels of {size} nm; give one near those, or leave it out"
        )
    return pixel_nm
