"""Segment: the profiles of each slice become masks, masks of neighbouring slices become fragments.

A block works over its whole read region, so that neighbours have the same object twice in what both read; the stitch compares them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from mitoscale.core.geometry import Region
from mitoscale.core.grey_findings import VolumeGrey
from mitoscale.core.grid import Block
from mitoscale.core.result import BlockResult, Key
from mitoscale.nets.factories import make_segmenter
from mitoscale.nets.model_check import check_segmenter
from mitoscale.nets.predictors import Counting, MaskSegmenter, VolumeSegmenter
from mitoscale.nets.validate import ask_masks, checked_fragments
from mitoscale.ops.fusion import Fusion, Profiles
from mitoscale.ops.link import open_ends
from mitoscale.ops.masks import Mask
from mitoscale.ops.run_lengths import run_lengths, sizes, totals
from mitoscale.ops.touching_in_block import touching_pairs
from mitoscale.stages.cell_mask import outside
from mitoscale.stages.earlier_outputs import (
    Seals,
    check_seal,
    known_empty,
    read_written,
    seal,
    sealed,
    seals_of,
    seals_of_zeros,
    table_checksum,
)
from mitoscale.stages.fragment_slots import create_slots, write_slot
from mitoscale.stages.network_view import network_view, read_block
from mitoscale.stages.seams import middle_contacts
from mitoscale.stages.stage import Stage, Stopwatch
from mitoscale.stages.work_tables import tables_of
from mitoscale.storage.arrays import open_array
from mitoscale.storage.stored_files import remove_tree
from mitoscale.storage.tables import Columns


class _Fragments(NamedTuple):
    fragments: np.ndarray
    """(Z, Y, X) uint32."""
    own: np.ndarray
    """(Z, Y, X) bool: claimed by the segmenter itself."""
    changed: np.ndarray
    """(Z, Y, X) bool: other than without the segmenter."""
    score_sums: np.ndarray
    """(N,) float64 of each fragment's number: scores of its own voxels in the core, added up; NaN where there are no scores."""
    counts: dict[str, float]
    """Counts for the ledger's line."""


class Segment(Stage):
    """One task a block."""

    name: ClassVar[str] = "segment"
    group: ClassVar[str] = "gpu"

    sources: ClassVar[tuple[str, ...]] = ("convert", "detect")

    grey: VolumeGrey
    """Of the volume."""

    def reads(self, key: Key) -> Iterator[tuple[str, str]]:
        """The image and the foreground in the read region."""
        assert isinstance(key, Block)
        yield from self.image_tasks(read_block(self.plan, self.grey, key).halo)
        yield from self.block_tasks("detect", key.halo)

    def stamp(self) -> str:
        """Normalisation and padding."""
        return self.grey.stamp()

    def prepare(self, fresh: bool) -> Mapping[str, str]:
        """Create the slots of the fragments."""
        check_segmenter(self.plan.settings.segment, self.plan.spec.spacing)
        if fresh:
            remove_tree(self.folder.fragments)
            remove_tree(self.folder.masks_parts)
            create_slots(self.plan)
        return {}

    def process(self, key: Key) -> BlockResult:
        """Read, segment, link, write."""
        assert isinstance(key, Block)
        watch = Stopwatch()
        with watch.phase("read"):
            foreground = self._foreground(key)
            watch.moved("read", foreground)
        found = self._find(foreground, key, watch)
        with watch.phase("compute"):
            fragments = found.fragments
            table = self._table(found, key)
            pairs = touching_pairs(fragments)
            parts = self._sealed(key)
            seals = seal(fragments, key.halo, parts) if len(table["local"]) else seals_of_zeros(parts, fragments.dtype)
            planes = middle_contacts(fragments, key)
        with watch.phase("write"):
            self.check_current()
            if len(table["local"]):  # else its seals say that there is nothing, and nobody reads it
                write_slot(self.plan, key, fragments)
                watch.moved("written", fragments)
            self.check_current()  # again: what others wrote meanwhile keeps its seals, by which these fragments are told
            touching = {"a": pairs[:, 0], "b": pairs[:, 1]}
            tables = {"fragments": table, "touching": touching, "planes": planes}
            tables_of(self.plan, "segment").write(key.name, tables, sealed(seals))
        counts = {"voxels": key.core.size, "fragments": len(table["local"]), **found.counts, **watch.bytes}
        return BlockResult(
            name=key.name, checksum=table_checksum({**table, "fragments": fragments}), counts=counts, seconds=watch.seconds
        )

    def _foreground(self, key: Block) -> np.ndarray:
        """(Z, Y, X) uint8 of the read region; what neighbours wrote is compared with their seals, and read where there is some."""
        lost, written = self.lost.get("detect", frozenset()), tables_of(self.plan, "detect")
        filled: dict[str, tuple[Region, Seals]] = {}
        for block in (self.plan.grid.block(index) for index in self.plan.grid.meeting(key.halo)):
            part = block.core.intersection(key.halo)
            if part is not None and block.name not in lost:
                seals = seals_of(written.read(block.name, (), finished=True))
                if not known_empty(part, "uint8", seals):
                    filled[block.name] = part, seals
        foreground = np.zeros(key.halo.shape, np.uint8)
        if filled:
            region = Region.around([part for part, _ in filled.values()])
            array = open_array(self.folder.foreground)
            foreground[region.within(key.halo)] = read_written(array, region, self.plan.grid, stage="detect", lost=lost)
        for name, (part, seals) in filled.items():
            check_seal(foreground[part.within(key.halo)], part, seals, stage="detect", task=name)
        return foreground

    def _find(self, stored: np.ndarray, key: Block, watch: Stopwatch) -> _Fragments:
        """The fragments, from (Z, Y, X) uint8 foreground; the image is read only where the segmenter looks at it."""
        with watch.phase("compute"):
            segmenter = make_segmenter(self.plan.settings.segment, self.plan.spec.spacing)
            if not isinstance(segmenter, VolumeSegmenter) and not stored.any():
                return _nothing(key, segmenter)
            foreground = stored / np.float32(255)
        if isinstance(segmenter, VolumeSegmenter):
            image = self._image(key, watch)
            with watch.phase("compute"):
                return self._of_volume(segmenter, image, foreground, key)
        with watch.phase("compute"):
            fusion = self._fusion
            ask_in = fusion.ask_in(key.halo, self.plan.region, self.plan.grid.margin[0])
            profiles = fusion.profiles(foreground, key.core.within(key.halo), ask_in)
        masks: Sequence[Sequence[Mask]] = []
        if segmenter is not None and any(profiles.questions):
            image = self._image(key, watch)
            with watch.phase("compute"):
                masks = ask_masks(segmenter, image, foreground, profiles.prompts(), key.halo)
        with watch.phase("compute"):
            found = self._fused(foreground, profiles, masks, key)
        return found._replace(counts=found.counts | _counts_of(segmenter, profiles))

    def _image(self, key: Block, watch: Stopwatch) -> np.ndarray:
        """(Z, Y, X) uint8 of the read region, as networks see it."""
        with watch.phase("read"):
            wide = read_block(self.plan, self.grey, key)
            image = self.read_image(wide.halo)
            watch.moved("read", image)
        with watch.phase("compute"):
            return network_view(self.plan, self.grey, image, wide).whole[key.halo.within(wide.halo)]

    def _sealed(self, key: Block) -> Iterator[Region]:
        """The parts of the read region that the tasks of its faces will read, and the core that relabel reads."""
        yield key.core
        for block in self.plan.grid.neighbours(key):
            part = block.halo.intersection(key.halo)
            if part is not None and sum(a != b for a, b in zip(block.index, key.index, strict=True)) == 1:
                yield part

    @property
    def _fusion(self) -> Fusion:
        settings = self.plan.settings
        return Fusion(detect=settings.detect, segment=settings.segment, spacing=self.plan.spec.spacing)

    def _of_volume(self, segmenter: VolumeSegmenter, image: np.ndarray, foreground: np.ndarray, block: Block) -> _Fragments:
        """What a segmenter of volumes finds: all of it is its own."""
        fragments = checked_fragments(segmenter.fragments(image, foreground, block.halo), image.shape)
        fragments = np.where(outside(self.plan, block.halo), 0, fragments) if self.plan.settings.detect.mask else fragments
        return _Fragments(fragments, fragments > 0, fragments > 0, np.full(int(fragments.max(initial=0)) + 1, np.nan), {})

    def _fused(self, foreground: np.ndarray, found: Profiles, masks: Sequence[Sequence[Mask]], block: Block) -> _Fragments:
        """Profiles and masks as fragments, how much of them the segmenter itself claimed, and how sure it was."""
        fusion, core = self._fusion, block.core.within(block.halo)
        slices = fusion.fuse(foreground, found, masks)
        if self.plan.settings.detect.mask:  # masks may leave the foreground, not the cell
            beyond = outside(self.plan, block.halo)
            for values in (slices.labels, slices.own, slices.changed):
                values[beyond] = 0
        fragments = fusion.link(slices.labels, open_ends=open_ends(block))
        own = slices.own & (fragments > 0)
        sums = np.zeros(int(fragments.max(initial=0)) + 1)
        z, y, x = core
        for i in range(z.start, z.stop):
            where = own[i, y, x]
            weights = slices.scores[i][slices.labels[i, y, x][where]]
            sums += np.bincount(fragments[i, y, x][where], weights, minlength=len(sums))
        counts = {
            "changed_voxels": float(np.count_nonzero(slices.changed[core])),
            "mask_voxels": float(np.count_nonzero((slices.labels[core] > 0) | (found.labels[core] > 0))),
        }
        return _Fragments(fragments, own, slices.changed & (fragments > 0), sums, counts)

    def _table(self, found: _Fragments, block: Block) -> Columns:
        """One row a fragment: voxels in the core, how many of them the segmenter claimed and changed, and the sum of its scores."""
        fragments = found.fragments
        size = int(fragments.max(initial=0)) + 1
        present = sizes(fragments, size) > 0
        present[0] = False
        core = block.core.within(block.halo)
        if size == 1:  # nothing is found, or read again
            core = (slice(0, 0), *core[1:])
        lengths, fragment, own = run_lengths(fragments[core], found.own[core])
        return {
            "local": np.flatnonzero(present).astype(np.uint32),
            "core_voxels": totals(fragment, lengths, size)[present],
            "own_voxels": totals(fragment, lengths * own, size)[present],
            "changed_voxels": np.bincount(fragments[core][found.changed[core]], minlength=size)[present],
            "score_sum": found.score_sums[present],
        }

    def finish(self, done: Collection[str], counts: Mapping[str, float]) -> dict[str, float]:
        """Count fragments, and what the segmenter was asked and changed."""
        names = ("fragments", "changed_voxels", "mask_voxels", "profiles", "prompts", "interpolated")
        return {name: counts.get(name, 0.0) for name in names}


def _nothing(block: Block, segmenter: MaskSegmenter | None) -> _Fragments:
    """Of a block without foreground."""
    fragments, nowhere = np.zeros(block.halo.shape, np.uint32), np.zeros(block.halo.shape, bool)
    counts = {"changed_voxels": 0.0, "mask_voxels": 0.0, **_counts_of(segmenter)}
    return _Fragments(fragments, nowhere, nowhere, np.zeros(1), counts)


def _counts_of(segmenter: MaskSegmenter | None, found: Profiles | None = None) -> dict[str, float]:
    """Profiles that a segmenter could help with, those it was asked for, and what that cost, for the ledger's line."""
    if segmenter is None:
        return {}
    counts = {"profiles": 0.0, "prompts": 0.0, "interpolated": 0.0}
    if found is not None:
        asked, answered = sum(found.questions), sum(found.asked)
        counts = {"profiles": float(found.possible), "prompts": float(asked), "interpolated": float(answered - asked)}
    return {**counts, **segmenter.counts} if isinstance(segmenter, Counting) else counts
