"""What a source leaves open, as the user has decided it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from mitoscale.core.geometry import Triple


class Reading(BaseModel):
    """Which of several images is read, and how bytes without a header are understood; None: the source itself tells.

    Examples
    --------
    >>> Reading(channel=1).described(), Reading().described()
    ('--channel 1', '')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: int | None = None
    """Of several channels this one, counted from 0."""
    time: int | None = None
    """Of several times this one, counted from 0."""
    series: int | None = None
    """Of several images of a file this one, counted from 0."""
    axes: str | None = None
    """Order of the stored axes, slowest first, such as ``zyx`` or ``xyzc``."""
    shape: Triple | None = None
    """Shape (z, y, x) of raw bytes; with ``axes``, in that order."""
    dtype: str | None = None
    """NumPy dtype of raw bytes, with its byte order where that matters, such as ``uint8`` or ``>u2``."""
    fill_gaps: bool = False
    """Slices whose numbers are missing in a folder or glob are allowed: their neighbours stand for them."""

    def of_truth(self, dtype: str | None) -> Reading:
        """How the volume's truth is read: the same shape where it is raw bytes too, and nothing else in common.

        Parameters
        ----------
        dtype : str or None
            Of its raw bytes; None: the volume's.
        """
        if self.shape is None:
            return Reading(dtype=dtype)
        return Reading(shape=self.shape, axes=self.axes, dtype=dtype or self.dtype)

    def described(self) -> str:
        """The options that say the same on the command line; empty where nothing was decided."""
        values = self.model_dump(exclude_none=True, exclude={"fill_gaps"})
        said = [f"--{name} {','.join(map(str, value)) if name == 'shape' else value}" for name, value in values.items()]
        return " ".join(said + ["--fill-gaps"] * self.fill_gaps)
