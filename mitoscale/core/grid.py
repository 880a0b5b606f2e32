"""The grid of blocks: how a volume is cut so that each voxel is written once.

Two neighbours along x, each read region drawn on a line of its own::

    x          0        8        16       24       32
    cores      |<------ A ------>|<------ B ------>|      each voxel is written by one block
    A reads    |======================|                   its core and a margin: the read region, or halo
    B reads             |==========================|      cut at the border of the volume
    both read           |=============|                   where their fragments are compared
    face                         ^                        the plane where the cores meet
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

from pydantic import BaseModel, ConfigDict, model_validator

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Triple

SUPER_BLOCK = 12
"""Blocks along each edge of a super-block, whose small tables share a file and whose fragments are merged at once."""

_NAME = re.compile(r"z(\d+)_y(\d+)_x(\d+)")


class Block(BaseModel):
    """One block: its place in the grid, the region it writes, and the region it reads.

    Examples
    --------
    >>> grid = BlockGrid(region=Region.of_shape((8, 8, 8)), core_shape=(4, 8, 8), margin=(2, 2, 2))
    >>> block = grid.block((1, 0, 0))
    >>> block.name, block.core.start, block.halo.start
    ('z001_y000_x000', (4, 0, 0), (2, 0, 0))
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: Triple
    """Place in the grid (z, y, x)."""
    core: Region
    """What the block writes; cores tile the volume once."""
    halo: Region
    """What the block reads: the core plus the margin, cut at the border."""

    @property
    def name(self) -> str:
        """A stable name such as ``z003_y011_x007``."""
        return block_name(self.index)


def block_name(index: Triple) -> str:
    """The name of the block at ``index``.

    Examples
    --------
    >>> block_name((3, 11, 7))
    'z003_y011_x007'
    """
    z, y, x = index
    return f"z{z:03d}_y{y:03d}_x{x:03d}"


def index_of(task: str) -> Triple:
    """The index in the name of a block, or of a face's low block.

    Examples
    --------
    >>> index_of("z003_y011_x007"), index_of("z000_y001_x000+x")
    ((3, 11, 7), (0, 1, 0))
    """
    match = _NAME.match(task)
    if match is None:
        raise ValueError(f"{task!r} is not the name of a block or face")
    z, y, x = map(int, match.groups())
    return z, y, x


class Face(BaseModel):
    """The plane between two blocks that are neighbours along one axis.

    The face lies between voxels ``plane - 1`` (in ``low``'s core) and ``plane`` (in ``high``'s core).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    axis: int
    """0, 1 or 2: the axis the face is normal to."""
    low: Block
    """The block before the face."""
    high: Block
    """The block behind the face."""

    @property
    def plane(self) -> int:
        """First voxel of ``high``'s core along ``axis``."""
        return self.high.core.start[self.axis]

    @property
    def name(self) -> str:
        """A stable name: the low block's name and the axis, such as ``z000_y001_x000+x``."""
        return f"{self.low.name}+{'zyx'[self.axis]}"


class SuperBlock(BaseModel):
    """A box of up to ``SUPER_BLOCK`` blocks along each axis."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: Triple
    """Place (z, y, x) among the super-blocks, counted from 0."""

    @property
    def name(self) -> str:
        """A stable name such as ``super_z000_y001_x000``."""
        return f"super_{block_name(self.index)}"


class CoarseShard(BaseModel):
    """A shard of a coarser level of a pyramid, which spans several blocks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: int
    """The level, from 1."""
    part: Block
    """Place among the level's shards; its core is what is written, in the level's voxels."""
    empty: bool = False
    """Whether all that it spans is known to be 0, so that nobody need read it."""

    @property
    def name(self) -> str:
        """A stable name such as ``level1_z000_y001_x000``."""
        return f"{COARSE}{self.level}_{self.part.name}"


COARSE = "level"
"""How names of :class:`CoarseShard` begin; those of blocks and faces do not."""


class BlockGrid(BaseModel):
    """Blocks of ``core_shape`` on a lattice anchored at the volume's origin, cut at ``region``.

    Raises
    ------
    ValueError
        If the margin exceeds the core (a read region then reaches past its neighbours).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: Region
    """What is worked on: the whole volume, or the part that ``--region`` names."""
    core_shape: Triple
    """Edge lengths (z, y, x) of a core; a whole number of shards."""
    margin: Triple
    """How far (z, y, x) a block reads beyond its core."""

    @model_validator(mode="after")
    def _check(self) -> BlockGrid:
        if any(c < 1 for c in self.core_shape):
            raise ValueError(f"core {self.core_shape} must be at least 1 on each axis")
        if any(m < 0 or m > c for m, c in zip(self.margin, self.core_shape, strict=True)):
            raise ValueError(f"margin {self.margin} must lie between 0 and the core {self.core_shape} on each axis")
        return self

    def check_aligned(self, shard_shape: Triple) -> None:
        """Raise unless each core is a whole number of shards, so that a shard has one writer."""
        if any(c % s for c, s in zip(self.core_shape, shard_shape, strict=True)):
            raise InputError(f"block core {self.core_shape} is not a whole number of shards {shard_shape}; choose a multiple of it")

    @property
    def first(self) -> Triple:
        """Index of the first block that meets the region."""
        z, y, x = (a // c for a, c in zip(self.region.start, self.core_shape, strict=True))
        return z, y, x

    @property
    def counts(self) -> Triple:
        """Number of blocks (z, y, x) that meet the region."""
        z, y, x = (-(-b // c) - f for b, c, f in zip(self.region.stop, self.core_shape, self.first, strict=True))
        return z, y, x

    def __len__(self) -> int:
        z, y, x = self.counts
        return z * y * x

    def block(self, index: Triple) -> Block:
        """The block at ``index``."""
        if not self.contains(index):
            raise IndexError(f"block {index} is not in the grid {self.first} + {self.counts}")
        lattice = Region(
            start=tuple(i * c for i, c in zip(index, self.core_shape, strict=True)),
            stop=tuple((i + 1) * c for i, c in zip(index, self.core_shape, strict=True)),
        )
        core = lattice.intersection(self.region)
        assert core is not None  # contains() has said so
        return Block(index=index, core=core, halo=core.expanded(self.margin, within=self.region))

    def contains(self, index: Triple) -> bool:
        """Whether ``index`` names a block of this grid."""
        return all(f <= i < f + n for i, f, n in zip(index, self.first, self.counts, strict=True))

    def named(self, name: str) -> Block:
        """The block with this name; raises KeyError for a name that is none of this grid's."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise KeyError(f"{name!r} is not a block name like z003_y011_x007")
        z, y, x = map(int, match.groups())
        if not self.contains((z, y, x)):
            raise KeyError(f"{name} is not in the grid {self.first} + {self.counts}")
        return self.block((z, y, x))

    def number(self, index: Triple) -> int:
        """The block's place in :meth:`blocks`, counted from 0."""
        z, y, x = (i - f for i, f in zip(index, self.first, strict=True))
        return (z * self.counts[1] + y) * self.counts[2] + x

    def numbered(self, number: int) -> Block:
        """The block at a place in :meth:`blocks`; the inverse of :meth:`number`."""
        rest, x = divmod(number, self.counts[2])
        z, y = divmod(rest, self.counts[1])
        return self.block((z + self.first[0], y + self.first[1], x + self.first[2]))

    def blocks(self) -> Iterator[Block]:
        """All blocks, z slowest."""
        ranges = (range(f, f + n) for f, n in zip(self.first, self.counts, strict=True))
        for z, y, x in product(*ranges):
            yield self.block((z, y, x))

    def super_block_of(self, index: Triple) -> Triple:
        """The super-block (z, y, x) of the block at ``index``, counted from 0."""
        z, y, x = ((i - f) // SUPER_BLOCK for i, f in zip(index, self.first, strict=True))
        return z, y, x

    def super_block_corners(self, edge: int = SUPER_BLOCK) -> Iterator[Triple]:
        """All super-blocks, in the order of :meth:`super_blocks`, each by its place (z, y, x) counted from 0."""
        yield from product(*(range(-(-n // edge)) for n in self.counts))

    def super_blocks(self, edge: int) -> Iterator[list[Block]]:
        """The blocks in boxes of up to ``edge`` of them along each axis, z slowest; a face's high block never comes before its low.

        Examples
        --------
        >>> grid = BlockGrid(region=Region.of_shape((4, 4, 12)), core_shape=(4, 4, 4), margin=(0, 0, 0))
        >>> [[block.name for block in blocks] for blocks in grid.super_blocks(2)]
        [['z000_y000_x000', 'z000_y000_x001'], ['z000_y000_x002']]
        """
        ranges = [range(f, f + n) for f, n in zip(self.first, self.counts, strict=True)]
        for corner in product(*(range(0, n, edge) for n in self.counts)):
            inside = (r[c : c + edge] for r, c in zip(ranges, corner, strict=True))
            yield [self.block((z, y, x)) for z, y, x in product(*inside)]

    def meeting(self, region: Region) -> Iterator[Triple]:
        """Indices of the blocks whose core meets ``region``, z slowest.

        Examples
        --------
        >>> grid = BlockGrid(region=Region.of_shape((8, 8, 8)), core_shape=(4, 8, 8), margin=(0, 0, 0))
        >>> list(grid.meeting(Region(start=(3, 0, 0), stop=(5, 1, 1))))
        [(0, 0, 0), (1, 0, 0)]
        """
        inside = region.intersection(self.region)
        if inside is None:
            return
        bounds = zip(inside.start, inside.stop, self.core_shape, strict=True)
        ranges = [range(a // c, -(-b // c)) for a, b, c in bounds]
        yield from ((z, y, x) for z, y, x in product(*ranges))

    def neighbours(self, block: Block) -> Iterator[Block]:
        """The up to 26 blocks that touch ``block``, z slowest."""
        z, y, x = block.index
        for dz, dy, dx in product((-1, 0, 1), repeat=3):
            index = (z + dz, y + dy, x + dx)
            if index != block.index and self.contains(index):
                yield self.block(index)

    @property
    def face_count(self) -> int:
        """Number of faces."""
        z, y, x = self.counts
        return (z - 1) * y * x + z * (y - 1) * x + z * y * (x - 1)

    def faces_above(self, block: Block) -> Iterator[Face]:
        """The up to three faces between ``block`` and its neighbours with a larger index."""
        for axis in range(3):
            index = list(block.index)
            index[axis] += 1
            neighbour = (index[0], index[1], index[2])
            if self.contains(neighbour):
                yield Face(axis=axis, low=block, high=self.block(neighbour))

    def faces(self) -> Iterator[Face]:
        """All faces of the grid."""
        for block in self.blocks():
            yield from self.faces_above(block)
