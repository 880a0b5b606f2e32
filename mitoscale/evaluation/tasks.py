"""The tasks of evaluate: each block is read once, and leaves small tables of which objects meet and which cross its border."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from mitoscale.core.errors import InputError
from mitoscale.core.grid import Block, BlockGrid, Face
from mitoscale.core.result import BlockResult
from mitoscale.evaluation.label_reading import LabelSource
from mitoscale.evaluation.object_numbering import BlockIds, number_block
from mitoscale.evaluation.truth import CURE, check_background, check_finite, check_lowest, not_finite
from mitoscale.ops.contingency import contingency
from mitoscale.stages.stage import Stopwatch
from mitoscale.storage.block_tables import BlockTables
from mitoscale.storage.tables import Columns

WHOLE = -1
"""Stands for the slice where a row is about the volume."""

CURES = {"pred": "write it as 0 and 1, or as labels", "true": CURE}
"""What to do where a side is a mask with grey values."""

SIDES = tuple(CURES)
"""What is judged, and what it is judged by."""


KINDS = ("volume", "slices")
"""A block's tables: ``volume_pairs`` and ``slices_pairs`` of what meets, ``volume_runs`` and ``slices_runs`` of what crosses."""


def tables_in(scratch: str, grid: BlockGrid) -> BlockTables:
    """The tables that the tasks write.

    Parameters
    ----------
    scratch : str
        Their folder.
    grid : BlockGrid
        The blocks.
    """
    return BlockTables(scratch, grid, stage="evaluate", token="", durable=False)


class Evaluation(BaseModel):
    """One task a block; workers receive it pickled."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    labels: LabelSource
    """What is judged."""
    truth: LabelSource
    """What it is judged by."""
    threshold: int | float | None
    """The truth is a mask of grey values or probabilities: values above this count."""
    grid: BlockGrid
    """Blocks with a margin of one voxel; none is needed where both are known to be labels."""
    scratch: str
    """Folder for the tables; all workers must see it."""
    kinds: tuple[str, ...] = KINDS
    """What is counted."""

    def process(self, key: Block | Face) -> BlockResult:
        """Read a block of both, count, and write its tables."""
        assert isinstance(key, Block)
        watch = Stopwatch()
        with watch.phase("read"):
            pair = (self.labels.read(key.halo), self.truth.read(key.halo))
        with watch.phase("compute"):
            counts = {}
            if self.threshold is not None:
                core = pair[1][key.core.within(key.halo)]
                counts = {"true_highest": float(core.max(initial=0)), "true_bad": float(not_finite(core))}
                pair = (pair[0], pair[1] > self.threshold)
            counts |= _kinds(pair, key)
            if self.threshold is None and not self.truth.labelled:
                counts |= _background(pair[1][key.core.within(key.halo)])
            pair = (_unsigned(pair[0]), _unsigned(pair[1]))
            tables: dict[str, Columns] = {}
            for kind in self.kinds:
                per_slice = kind == "slices"
                ids = [
                    number_block(a, key.core, key.halo, self.grid.region, per_slice=per_slice, labelled=known)
                    for a, known in zip(pair, (self.labels.labelled, self.truth.labelled), strict=True)
                ]
                tables[f"{kind}_pairs"] = _pairs(ids, key, per_slice)
                tables[f"{kind}_runs"] = _concatenated([_runs(one, side) for side, one in enumerate(ids)])
                values = [None if one.value is None else str(one.value) for one in ids]
        with watch.phase("write"):
            tables_in(self.scratch, self.grid).write(key.name, tables, {"values": json.dumps(values)})
        return BlockResult(name=key.name, counts={"voxels": key.core.size, **counts}, seconds=watch.seconds)


def check_kinds(counts: dict[str, float], names: dict[str, str]) -> None:
    """Raise where the voxels seen so far can be no labels.

    Parameters
    ----------
    counts : dict
        Sums of what the tasks returned.
    names : dict
        For ``pred`` and ``true`` what the user named.

    Raises
    ------
    InputError
        If one holds negative values, values that are not finite, or is a mask with softened borders.
    """
    for side, cure in CURES.items():
        check_finite(names[side], counts.get(f"{side}_bad", 0.0))
        check_lowest(names[side], counts.get(f"{side}_lowest", 0.0))
        between, full = counts.get(f"{side}_between", 0.0), counts.get(f"{side}_full", 0.0)
        if counts.get(f"{side}_zero") and 0 < between <= full:
            raise InputError(f"{names[side]} is a mask with grey values between 0 and 255: {cure}")
    if counts.get("background_size"):
        inverse = counts["background_inverse_highest"]
        check_background(
            names["true"],
            voxels=counts["background_size"],
            background=counts["background_zeros"],
            lowest=1 / inverse if inverse else 0,
            highest=counts["background_highest"],
        )


def _kinds(pair: tuple[np.ndarray, np.ndarray], block: Block) -> dict[str, float]:
    """What tells labels from other arrays: see :func:`mitoscale.ops.instances.is_grey_mask`."""
    counts: dict[str, float] = {}
    for side, labels in zip(SIDES, pair, strict=True):
        core = labels[block.core.within(block.halo)]
        if core.dtype.kind == "i":
            counts[f"{side}_lowest"] = float(core.min(initial=0))
        if core.dtype == np.uint8:
            histogram = np.bincount(core.ravel(), minlength=256)
            counts |= {
                f"{side}_zero": float(histogram[0]),
                f"{side}_full": float(histogram[255]),
                f"{side}_between": float(histogram[1:255].sum()),
            }
    return counts


def _background(truth: np.ndarray) -> dict[str, float]:
    """What :func:`mitoscale.evaluation.truth.check_background` asks, in a form that adds up."""
    inside = truth[truth > 0]
    return {
        "background_size": float(truth.size),
        "background_zeros": float(truth.size - inside.size),
        "background_highest": float(inside.max(initial=0)),
        "background_inverse_highest": 1 / float(inside.min()) if inside.size else 0.0,
    }


def _unsigned(labels: np.ndarray) -> np.ndarray:
    """Labels as unsigned; a negative one is refused by :func:`check_kinds` before its number matters."""
    return labels.view(np.dtype(f"u{labels.dtype.itemsize}")) if labels.dtype.kind in "bi" else labels


def _pairs(ids: list[BlockIds], block: Block, per_slice: bool) -> Columns:
    """Rows (slice, pred, true, count) of the objects that meet."""
    parts = zip(*(one.ids for one in ids), strict=True) if per_slice else [(ids[0].ids, ids[1].ids)]
    columns: list[Columns] = []
    for z, (pred, true) in enumerate(parts):
        table = contingency(pred, true)
        columns.append(
            {
                "z": np.full(len(table.count), block.core.start[0] + z if per_slice else WHOLE),
                "pred": table.pred_labels[table.pred].astype(np.uint64),
                "true": table.true_labels[table.true].astype(np.uint64),
                "count": table.count,
            }
        )
    return _concatenated(columns)


def _runs(ids: BlockIds, side: int) -> Columns:
    """Rows (side, own or seen, place, id) of the objects that cross the border."""
    runs = ids.runs
    own = np.repeat([True, False], [len(runs.own_id), len(runs.seen_id)])
    return {
        "side": np.full(len(own), side, np.uint8),
        "own": own,
        "place": np.concatenate([runs.own_place, runs.seen_place]),
        "id": np.concatenate([runs.own_id, runs.seen_id]),
    }


def _concatenated(parts: list[Columns]) -> Columns:
    columns: dict[str, Any] = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    return columns
