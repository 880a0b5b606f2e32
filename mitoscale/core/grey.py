"""What conversion found out about a volume's grey values, for all later stages."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from mitoscale.core.volume import Normalisation


class VolumeGrey(BaseModel):
    """How grey values become what networks see, and what was left out when that was decided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    normalisation: Normalisation
    """Of the whole volume."""
    least: float
    """Least grey value that occurs."""
    most: float
    """Largest grey value that occurs."""
    extreme_share: float = 0.0
    """Part of the voxels, 0..1, that are rare extremes: too far from all others to count for the normalisation."""

    padding_share: float = 0.0
    """Part of the voxels, 0..1, that are padding: constant areas around the tissue."""
    padding_values: tuple[float, ...] = ()
    """Grey values of padding."""
    padding_digest: str = ""
    """Tells the padding from another one; empty where there is none."""

    def told(self) -> list[str]:
        """What a user should know, a line each; nothing of a volume without faults."""
        norm, lines = self.normalisation, []
        if self.padding_share:
            lines.append(f"{_percent(self.padding_share)} of the voxels are padding: they do not count, and nothing is found there")
        if self.extreme_share:
            lines.append(
                f"{_percent(self.extreme_share)} of the voxels are far from all others ({self.least:g} to {self.most:g} occur) and "
                f"do not count: grey values are normalised from {norm.low:g} to {norm.high:g}"
            )
        return lines


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
