"""What every stage is: a small picklable value that prepares once, processes keys, and finishes once."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mitoscale.core.geometry import Region
from mitoscale.core.grid import Block, CoarseShard, SuperBlock, block_name
from mitoscale.core.plan import RunPlan
from mitoscale.core.result import BlockResult, Key
from mitoscale.core.source_choices import Reading
from mitoscale.stages.current_settings import check_current
from mitoscale.stages.earlier_outputs import read_written
from mitoscale.stages.work_tables import STAGES_WITH_TABLES, tables_of
from mitoscale.storage.arrays import Array, open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.sources.kinds import open_reader
from mitoscale.storage.sources.reader import Reader


class Stage(BaseModel):
    """Base of all stages; workers receive it pickled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    """The stage's name in the ledger and the dashboard."""

    group: ClassVar[str] = "io"
    """The group of workers that takes its tasks: ``gpu`` for networks, else ``io``."""
    sources: ClassVar[tuple[str, ...]] = ()
    """The earlier stages whose tasks' results this stage's tasks read."""

    plan: RunPlan
    """What run this is."""
    lost: Mapping[str, frozenset[str]] = Field(default_factory=dict)
    """For each of ``sources`` the tasks that were given up: what they should have written reads as 0."""
    start: int = 0
    """Number of the start of the stage, by which its tasks know later whether they were cancelled; 0 where no run began it."""

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.plan.run)

    @property
    def token(self) -> str:
        """Of the settings of this stage and all before it."""
        return self.plan.settings.token(self.name)

    def open_source(self) -> Reader:
        """What the run was made from."""
        return _source_of(self.plan)

    def open_image(self) -> Array | Reader:
        """Level 0; a source read in place may leave out empty chunks, the run's own volume may not."""
        return open_image(self.plan)

    def check_current(self) -> None:
        """Raise where the run has other settings by now, or began a stage since; every task asks before it writes."""
        check_current(self.plan, self.name, self.start)

    def read_image(self, region: Region) -> np.ndarray:
        """Grey values (Z, Y, X) of a region, as the volume stores them; 0 where converting was given up."""
        lost = self.lost.get("convert", frozenset())
        return read_written(self.open_image(), region, self.plan.convert_grid, stage="convert", lost=lost)

    def image_tasks(self, region: Region) -> Iterator[tuple[str, str]]:
        """The tasks that wrote the image there, for :meth:`reads`."""
        return (("convert", block_name(index)) for index in self.plan.convert_grid.meeting(region))

    def block_tasks(self, stage: str, region: Region) -> Iterator[tuple[str, str]]:
        """The tasks of a stage whose cores meet a region, for :meth:`reads`.

        Parameters
        ----------
        stage : str
            The stage that wrote.
        region : Region
            What is read.
        """
        return ((stage, block_name(index)) for index in self.plan.grid.meeting(region))

    def keys(self) -> Iterable[Key]:
        """What there is to process, one task each; made one by one, because there may be millions."""
        return self.plan.grid.blocks()

    def count(self) -> int:
        """Number of :meth:`keys`."""
        return self.plan.task_count(self.name)

    def reads(self, key: Key) -> Iterator[tuple[str, str]]:
        """Stage and name of each earlier task whose result this task reads; all of the stages are in ``sources``."""
        yield from ()

    def stamp(self) -> str:
        """What all tasks depend on besides settings and earlier tasks; when it changes, all are done again."""
        return ""

    def prepare(self, fresh: bool) -> Mapping[str, str]:
        """Make what all tasks need, on the client, before any task.

        Parameters
        ----------
        fresh : bool
            True where nothing of this stage is done yet: arrays are then created anew.

        Returns
        -------
        mapping
            For tasks that get something of their own: name -> digest of it. A task whose digest changes is done again.
        """
        return {}

    def process(self, key: Key) -> BlockResult:
        """Do one task; when this returns, its data is durable."""
        raise TypeError(f"stage {self.name} has no tasks")

    def coarse_levels(self) -> range:
        """Levels of a pyramid that are made once all tasks are done, one after the other."""
        return range(0)

    def wrote_zeros(self, block: Block, checksum: str) -> bool:
        """Whether a task's checksum tells that it wrote nothing but 0 there; False where that cannot be told."""
        return False

    def coarsen(self, key: CoarseShard) -> BlockResult:
        """Write a shard of such a level."""
        raise TypeError(f"stage {self.name} has no pyramid")

    def gather(self, key: Key) -> BlockResult:
        """Bring the tables of a super-block's tasks together in one file, once they are done."""
        assert isinstance(key, SuperBlock)
        self.check_current()
        tables_of(self.plan, self.name).gather(key.index)
        return BlockResult(name=key.name)

    def to_gather(self) -> Iterator[SuperBlock]:
        """Super-blocks some of whose tasks have files of their own."""
        if self.name in STAGES_WITH_TABLES:
            yield from (SuperBlock(index=index) for index in tables_of(self.plan, self.name).loose())

    def finish(self, done: Collection[str], counts: Mapping[str, float]) -> dict[str, float]:
        """Bring the tasks' results together, on the client.

        Parameters
        ----------
        done : collection of str
            Names of the tasks that are done.
        counts : mapping
            Their numbers, added up.

        Returns
        -------
        dict
            Numbers for the summary.
        """
        return {}


def open_image(plan: RunPlan) -> Array | Reader:
    """Level 0 of a run's image: its own, or the source that is read in place."""
    return _source_of(plan) if plan.settings.convert.in_place else open_array(plan.image)


def _source_of(plan: RunPlan) -> Reader:
    convert = plan.settings.convert
    return _source(convert.source, convert.reading)


@lru_cache(maxsize=2)
def _source(path: str, reading: Reading) -> Reader:
    """Opened once a process: the headers of a million slices are read once."""
    return open_reader(path, reading)


class Stopwatch:
    """Adds up the time of named phases.

    Examples
    --------
    >>> watch = Stopwatch()
    >>> with watch.phase("read"):
    ...     pass
    >>> list(watch.seconds)
    ['read']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.bytes: dict[str, float] = defaultdict(float)

    def moved(self, way: Literal["read", "written"], *arrays: np.ndarray) -> None:
        """Count the bytes of arrays that were read or written, before compression, as ``bytes_read`` or ``bytes_written``."""
        self.bytes[f"bytes_{way}"] += float(sum(array.nbytes for array in arrays))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what is inside the ``with``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start
