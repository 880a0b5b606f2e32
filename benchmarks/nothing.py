"""A run whose tasks compute nothing: what remains is what mitoscale and Dask need for a block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from mitoscale.core.geometry import Region
from mitoscale.core.grid import Block
from mitoscale.core.plan import RunPlan
from mitoscale.core.result import BlockResult, Key
from mitoscale.core.settings import ConvertSettings, DetectSettings, RunSettings
from mitoscale.core.volume import VolumeSpec
from mitoscale.pipeline.run import Run
from mitoscale.stages.stage import Stage
from mitoscale.storage.layout import RunFolder

CORE = (4, 8, 8)


class Nothing(Stage):
    """Stands in for detect: a task a block, each named after what it would read, and nothing done."""

    name: ClassVar[str] = "detect"
    group: ClassVar[str] = "gpu"
    sources: ClassVar[tuple[str, ...]] = ("convert",)

    def reads(self, key: Key) -> Iterator[tuple[str, str]]:
        """The image in the read region."""
        assert isinstance(key, Block)
        return self.image_tasks(key.halo)

    def prepare(self, fresh: bool) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def process(self, key: Key) -> BlockResult:
        """Nothing, but what a real task tells of itself."""
        return result_of(key)


class Simulated(Run):
    """A run with that stage alone."""

    def stage(self, name: str, lost: Mapping[str, frozenset[str]] | None = None) -> Stage:
        """It."""
        return Nothing(plan=self.plan, lost=lost or {})


def result_of(key: Key) -> BlockResult:
    """Numbers as a real task gives them."""
    counts = {"voxels": 16777216.0, "bytes_read": 26214400.0, "bytes_written": 16777216.0, "detections": 123.0}
    seconds = {"read": 0.1234, "compute": 0.0, "write": 0.2345}
    return BlockResult(name=key.name, checksum=f"{hash(key.name) & (2**128 - 1):032x}", counts=counts, seconds=seconds)


def simulated(folder: str, blocks: int) -> Simulated:
    """A run of at least so many blocks, in a layer of a square."""
    edge = next(n for n in range(1, blocks + 1) if n * n >= blocks)
    shape = (CORE[0] * edge, CORE[1] * edge, CORE[2])
    region = Region.of_shape(shape)
    convert = ConvertSettings(source="none", fingerprint="0", spacing=(5.0, 5.0, 5.0), core=CORE, chunks=CORE, region=region)
    spec = VolumeSpec(shape=shape, dtype="uint8", spacing=(5.0, 5.0, 5.0), chunks=CORE, shards=CORE, factors=((1, 1, 1),))
    settings = RunSettings(convert=convert, detect=DetectSettings(margin_nm=(5.0, 10.0, 10.0)))
    files = RunFolder(folder)
    return Simulated(plan=RunPlan(run=folder, image=f"{files.volume}/0", labels=files.labels, spec=spec, settings=settings))
