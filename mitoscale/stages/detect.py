"""Detect: foreground probability of each block, and a detection for each profile whose centroid lies in its core."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import groupby
from typing import ClassVar

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grey_findings import VolumeGrey
from mitoscale.core.grid import Block, block_name
from mitoscale.core.result import BlockResult, Key
from mitoscale.nets.factories import make_detector
from mitoscale.nets.model_check import check_detector
from mitoscale.nets.predictors import CoreDetector, CoreForeground
from mitoscale.nets.validate import checked_foreground
from mitoscale.ops.profiles import deduplicate, detections_from_profiles, profiles
from mitoscale.stages.earlier_outputs import seal, sealed
from mitoscale.stages.network_view import NetworkView, is_without_tissue, network_view, read_block
from mitoscale.stages.stage import Stage, Stopwatch
from mitoscale.stages.work_tables import tables_of
from mitoscale.storage.arrays import checksum, open_array
from mitoscale.storage.creation import create_array
from mitoscale.storage.stored_files import remove_tree
from mitoscale.storage.tables import Columns, appending

_COLUMNS = {"z": np.int64, "y": np.float64, "x": np.float64, "score": np.float32, "area": np.int64}


class Detect(Stage):
    """One task a block."""

    name: ClassVar[str] = "detect"
    group: ClassVar[str] = "gpu"

    sources: ClassVar[tuple[str, ...]] = ("convert",)

    grey: VolumeGrey
    """Of the volume."""

    def keys(self) -> Iterable[Key]:
        """Blocks with the detector's margin."""
        return self.plan.detect_grid.blocks()

    def reads(self, key: Key) -> Iterator[tuple[str, str]]:
        """The image in the read region."""
        assert isinstance(key, Block)
        return self.image_tasks(read_block(self.plan, self.grey, key).halo)

    def stamp(self) -> str:
        """Normalisation and padding."""
        return self.grey.stamp()

    def prepare(self, fresh: bool) -> Mapping[str, str]:
        """Create the foreground."""
        check_detector(self.plan.settings.detect, self.plan.spec.spacing)  # wrong weights are told now, not by every task
        if fresh:
            remove_tree(self.folder.foreground)
            create_array(
                self.folder.foreground,
                shape=self.plan.spec.shape,
                dtype="uint8",
                chunks=self.plan.spec.chunks,
                shards=self.plan.spec.shards,
            )
        return {}

    def process(self, key: Key) -> BlockResult:
        """Read, predict, write; find detections."""
        assert isinstance(key, Block)
        watch = Stopwatch()
        with watch.phase("read"):
            wide = read_block(self.plan, self.grey, key)
            empty = is_without_tissue(self.plan, self.grey, wide)
            if not empty:
                image = self.read_image(wide.halo)
                watch.moved("read", image)
        with watch.phase("compute"):
            if empty:
                predicted, counts = self._nothing(wide)
            else:
                view = network_view(self.plan, self.grey, image, wide)
                predicted, counts = self._foreground(view, wide)
                view.complete(predicted, wide.core.start[0])
            foreground = np.ascontiguousarray(predicted[key.core.within(wide.core)])
            for row in self.plan.convert_grid.meeting(key.core):  # no foreground where nothing could be read
                if block_name(row) in self.lost.get("convert", ()):
                    foreground[_common(key.core, self.plan.convert_grid.block(row).core)] = 0
            found = self._detections(foreground, key)
            seals = seal(foreground, key.core, self._sealed(key))
        with watch.phase("write"):
            self.check_current()
            open_array(self.folder.foreground).write(key.core, foreground)
            watch.moved("written", foreground)
            self.check_current()  # again: what others wrote meanwhile keeps its seals, by which this foreground is told
            tables_of(self.plan, "detect").write(key.name, {"detections": found}, sealed(seals))
        return BlockResult(
            name=key.name,
            checksum=checksum(foreground),
            counts={"voxels": foreground.size, "detections": len(found["z"]), **counts, **watch.bytes},
            seconds=watch.seconds,
        )

    def _foreground(self, view: NetworkView, block: Block) -> CoreForeground:
        """Of the core; the part of it that is padding is not asked for."""
        if view.asked is None:
            return self._nothing(block)
        found, foreground = self._asked(view.image, view.asked), np.zeros(block.core.shape, np.uint8)
        foreground[view.asked.core.within(block.core)] = found.foreground
        hidden = block.core.size - view.asked.core.size
        return CoreForeground(foreground, {**found.counts, "flat_voxels": found.counts.get("flat_voxels", 0.0) + hidden})

    def _nothing(self, block: Block) -> CoreForeground:
        """Of a core that is padding."""
        counts = {"flat_blocks": 1.0, "flat_voxels": float(block.core.size)}
        return CoreForeground(np.zeros(block.core.shape, np.uint8), counts)

    def _asked(self, image: np.ndarray, block: Block) -> CoreForeground:
        """What the detector finds in a core, from what is seen of the read region."""
        detector = make_detector(self.plan.settings.detect, self.plan.spec.spacing)
        if isinstance(detector, CoreDetector):
            return detector.core_foreground(image, block.halo, block.core)
        answer = checked_foreground(detector.foreground(image, block.halo), image.shape)
        probability = answer[block.core.within(block.halo)]
        return CoreForeground(np.rint(np.clip(probability, 0, 1) * 255).astype(np.uint8), {})

    def _sealed(self, key: Block) -> Iterator[Region]:
        """The parts of the core that other blocks will read to segment."""
        for block in self.plan.grid.neighbours(key):
            part = block.halo.intersection(key.core)
            if part is not None:
                yield part
        yield key.core

    def _detections(self, foreground: np.ndarray, block: Block) -> Columns:
        settings, spacing = self.plan.settings.detect, self.plan.spec.spacing
        separation = settings.min_separation_nm / spacing[1]
        parts: dict[str, list[np.ndarray]] = {name: [np.zeros(0, kind)] for name, kind in _COLUMNS.items()}
        for z, plane in enumerate(foreground):
            if not plane.any():
                continue
            probability = plane / np.float32(255)
            labels = profiles(probability, settings.threshold, separation, spacing[2] / spacing[1])
            found = detections_from_profiles(labels, probability)
            parts["z"].append(np.full(len(found["y"]), block.core.start[0] + z))
            parts["y"].append(found["y"] + block.core.start[1])
            parts["x"].append(found["x"] + block.core.start[2])
            parts["score"].append(found["score"])
            parts["area"].append(found["area"])
        return {name: np.concatenate(parts[name]).astype(kind) for name, kind in _COLUMNS.items()}

    def finish(self, done: Collection[str], counts: Mapping[str, float]) -> dict[str, float]:
        """One table of all detections; of two that are the same profile cut at a face the better one stays.

        Only profiles of one slice can be the same, so a layer of blocks is done at a time.
        """
        count, written = 0, tables_of(self.plan, "detect")
        with appending(self.folder.detections) as append:
            append({name: np.zeros(0, kind) for name, kind in _COLUMNS.items()})
            for _, layer in groupby(sorted(done), key=lambda name: name.partition("_")[0]):
                parts = written.read_each(layer, ("detections",))
                found = self._distinct([part.tables["detections"] for _, part in parts])
                append(found)
                count += len(found["z"])
        return {"detections": count}

    def _distinct(self, tables: list[Columns]) -> Columns:
        """Detections of a layer of blocks, each profile once."""
        columns = {name: np.concatenate([t[name] for t in tables]) for name in _COLUMNS}
        spacing, distance = self.plan.spec.spacing, self.plan.settings.detect.min_separation_nm
        apart = 10 * distance  # further than any distance that counts: slices are kept from each other
        points = np.stack([columns["z"] * apart, columns["y"] * spacing[1], columns["x"] * spacing[2]], axis=1)
        kept = deduplicate(points, columns["score"], distance)
        return {name: values[kept] for name, values in columns.items()}


def _common(core: Region, other: Region) -> tuple[slice, slice, slice]:
    """What two regions that meet share, as slices into the first."""
    common = core.intersection(other)
    assert common is not None
    return common.within(core)
