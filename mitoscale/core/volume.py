"""What a volume is: its shape, dtype, voxel size and pyramid."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, model_validator

from mitoscale.core.geometry import SINGLE_NM, Spacing, Triple


class VolumeSpec(BaseModel):
    """Shape, dtype, voxel size and storage layout of a volume and its pyramid.

    Examples
    --------
    >>> spec = VolumeSpec(shape=(20, 100, 100), dtype="uint8", spacing=(50.0, 5.0, 5.0),
    ...                   chunks=(8, 32, 32), shards=(16, 64, 64), factors=((1, 1, 1), (1, 2, 2)))
    >>> spec.level_shape(1), spec.level_spacing(1), spec.level_shards(1)
    ((20, 50, 50), (50.0, 10.0, 10.0), (16, 64, 64))
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Triple
    """Level-0 shape (z, y, x) in voxels."""
    dtype: str
    """NumPy name of the dtype, such as ``uint8``."""
    spacing: Spacing
    """Level-0 voxel size (z, y, x) in nm."""
    origin: Spacing = (0.0, 0.0, 0.0)
    """Position (z, y, x) of the first voxel's centre in nm."""
    chunks: Triple
    """Chunk of each level, (z, y, x) voxels; where a level's shard is smaller, its chunk is the shard."""
    shards: Triple
    """Shard of level 0, (z, y, x) voxels: what one block writes."""
    factors: tuple[Triple, ...]
    """For each level how many level-0 voxels one voxel spans (z, y, x); the first is (1, 1, 1)."""

    @model_validator(mode="after")
    def _check(self) -> VolumeSpec:
        if any(n < 1 for n in self.shape):
            raise ValueError(f"shape {self.shape} must be at least 1 on each axis")
        if any(not s > 0 for s in self.spacing):
            raise ValueError(f"voxel size {self.spacing} nm must be above 0 on each axis")
        if any(s % c for s, c in zip(self.shards, self.chunks, strict=True)):
            raise ValueError(f"shard {self.shards} must be a whole number of chunks {self.chunks}")
        if not self.factors or self.factors[0] != (1, 1, 1):
            raise ValueError("the first level's factor must be (1, 1, 1)")
        for factor in self.factors:
            if any(s % f for s, f in zip(self.shards, factor, strict=True)):
                raise ValueError(f"shard {self.shards} must be divisible by the level's factor {factor}")
        return self

    @property
    def single(self) -> bool:
        """Whether the slices are single pictures; see :data:`mitoscale.core.geometry.SINGLE_NM`."""
        return self.spacing[0] >= SINGLE_NM

    def level_shape(self, level: int) -> Triple:
        """Shape (z, y, x) of a level."""
        z, y, x = (-(-n // f) for n, f in zip(self.shape, self.factors[level], strict=True))
        return z, y, x

    def level_spacing(self, level: int) -> Spacing:
        """Voxel size (z, y, x) of a level in nm."""
        z, y, x = (s * f for s, f in zip(self.spacing, self.factors[level], strict=True))
        return z, y, x

    def level_shards(self, level: int) -> Triple:
        """Shard (z, y, x) of a level: as many voxels on each, so that there are few of the coarser ones."""
        self.factors[level]  # raises where there is no such level
        return self.shards

    def level_chunks(self, level: int) -> Triple:
        """Chunk (z, y, x) of a level: the wanted chunk, or the shard where that is smaller or does not divide."""
        shards = self.level_shards(level)
        z, y, x = (c if s % c == 0 else s for c, s in zip(self.chunks, shards, strict=True))
        return z, y, x
