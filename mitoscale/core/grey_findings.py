"""What conversion found out about a volume's grey values, for all later stages."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from mitoscale.core.normalisation import Normalisation


class ReplacedSlice(BaseModel):
    """A bad slice, and the good ones that stand for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    z: int
    """The slice."""
    before: int
    """The good slice before it."""
    after: int
    """The good slice after it."""
    whole: bool
    """False where only the part of it is bad that is padding here and tissue in both of the others."""

    @property
    def weight(self) -> float:
        """How much the later one counts, 0..1."""
        return (self.z - self.before) / (self.after - self.before)


class OtherBrightness(BaseModel):
    """A slice whose grey values become ``gain * value + offset``, so that it looks as its neighbours do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    z: int
    """The slice."""
    gain: float
    """Factor above 0 on the slice's grey values, before the offset is added."""
    offset: float
    """Grey values."""


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

    replaced: tuple[ReplacedSlice, ...] = ()
    """Slices for which their neighbours stand."""
    brightness: tuple[OtherBrightness, ...] = ()
    """Slices of other brightness or contrast."""
    slice_states: dict[str, int] = Field(default_factory=dict)
    """How many slices are bad, for each way of being so."""

    bright_membranes: bool = False
    """Whether membranes seem bright to the networks, where they should be dark."""

    def stamp(self) -> str:
        """All of it that results depend on, as text."""
        return self.model_dump_json(exclude={"bright_membranes"})

    def told(self) -> list[str]:
        """What a user should know, a line each; nothing of a volume without faults."""
        norm, lines = self.normalisation, []
        if self.bright_membranes:
            cure = "leave out --invert" if norm.invert else "add --invert"
            lines.append(f"membranes seem bright, and the networks know dark ones: look at the picture; if they are, {cure}")
        if self.padding_share:
            lines.append(f"{_percent(self.padding_share)} of the voxels are padding: they do not count, and nothing is found there")
        if self.extreme_share:
            lines.append(
                f"{_percent(self.extreme_share)} of the voxels are far from all others ({self.least:g} to {self.most:g} occur) and "
                f"do not count: grey values are normalised from {norm.low:g} to {norm.high:g}"
            )
        if self.slice_states:
            kinds = ", ".join(f"{number} {state}" for state, number in self.slice_states.items())
            lines.append(
                f"slices that are not as their neighbours: {kinds}; for {len(self.replaced)} their neighbours stand, "
                f"{len(self.brightness)} are brought to their brightness; see tables/slices.parquet"
            )
        return lines


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
