"""Writing corrected labels and tables: beside the run's own, only the blocks and objects that changed are made anew."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from mitoscale.core.edit import Edit
from mitoscale.core.errors import InputError, StoppedError
from mitoscale.core.geometry import Region
from mitoscale.core.grid import Block
from mitoscale.core.plan import RunPlan
from mitoscale.corrections.replay import Corrections
from mitoscale.corrections.tables import write_tables
from mitoscale.ops.downsample import mode_downsample
from mitoscale.stages.pyramid import coarse_shards, write_coarse
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import read_json, write_json
from mitoscale.storage.ome import consolidate_again
from mitoscale.storage.stored_files import remove_tree

NAME = "mitochondria_corrected"
"""Name of the corrected labels beside the run's own."""


def corrected_labels(plan: RunPlan) -> str:
    """Path of the corrected labels' group."""
    return str(Path(plan.labels).with_name(NAME))


def digest_of(edits: list[Edit], labels: str) -> str:
    """What corrected labels were made from: the corrections, and the state of the labels they were made on.

    Parameters
    ----------
    edits : sequence of Edit
        The corrections.
    labels : str
        State of the labels they were made on.
    """
    text = labels + "".join(edit.line() for edit in edits)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_current(plan: RunPlan, digest: str) -> bool:
    """Whether corrected labels are there and made from just this.

    Parameters
    ----------
    plan : RunPlan
        The run.
    digest : str
        From :func:`digest_of`.
    """
    path = Path(corrected_labels(plan), "zarr.json")
    with suppress(InputError, AttributeError, KeyError):
        return bool(read_json(str(path))["attributes"]["mitoscale"]["corrections"] == digest)
    return False


def remove_leftovers(plan: RunPlan) -> None:
    """Remove what a writing left that was killed; the caller holds the corrections."""
    for left in Path(plan.labels).parent.glob(f".{NAME}.*"):
        remove_tree(str(left))


def write_corrected(plan: RunPlan, corrected: Corrections, digest: str) -> int:
    """Write the corrected labels and tables; returns how many blocks changed.

    The labels of blocks that did not change are the same files under another name (a hard link, or a copy where a file
    system has none), so that this takes little time and space. All is made aside and then put in place of an earlier one.

    Parameters
    ----------
    plan : RunPlan
        The run; the caller holds it.
    corrected : Corrections
        Its labels with corrections.
    digest : str
        What they are made from; see :func:`digest_of`.

    Raises
    ------
    StoppedError
        If they cannot be written; what was there before stays.
    """
    final = corrected_labels(plan)
    aside = str(Path(final).with_name(f".{NAME}.{uuid.uuid4().hex[:8]}"))
    blocks = list(_touched(plan, corrected))
    try:
        _link(plan, aside, blocks)
        for block in blocks:
            open_array(f"{aside}/0").write(block.core, corrected.read(block.core))
        for level in range(1, len(plan.spec.factors)):
            anew = _shards_of(plan, level, blocks)
            for key in coarse_shards(plan, level):
                if key.part.index in anew:
                    write_coarse(aside, plan, key, mode_downsample)
        _describe(plan, aside, digest)
        write_tables(plan, corrected)
        old = f"{aside}.old"
        if Path(final).exists():
            os.rename(final, old)
        os.rename(aside, final)
        remove_tree(old)
    except OSError as error:
        raise StoppedError(f"cannot write {final}: {error.strerror or error}; free or repair the disk, then repeat it") from error
    finally:
        remove_tree(aside)
    _list_labels(plan)
    return len(blocks)


def _touched(plan: RunPlan, corrected: Corrections) -> Iterator[Block]:
    """The blocks in which voxels change."""
    seen = set()
    for box in corrected.boxes:
        part = box.intersection(plan.region)
        for index in plan.grid.meeting(part) if part else ():
            if index not in seen:
                seen.add(index)
                yield plan.grid.block(index)


def _link(plan: RunPlan, aside: str, blocks: list[Block]) -> None:
    """The run's labels under another name, without the shards that are written anew."""
    shutil.copytree(plan.labels, aside, ignore=lambda folder, names: [n for n in names if n == "c"])
    for level in range(len(plan.spec.factors)):
        anew = _shards_of(plan, level, blocks)
        root = Path(plan.labels, str(level))
        for file in (root / "c").rglob("*"):
            if file.is_file() and tuple(map(int, file.relative_to(root / "c").parts)) not in anew:
                target = Path(aside, str(level), "c", *file.relative_to(root / "c").parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(file, target)
                except OSError:
                    shutil.copyfile(file, target)


def _shards_of(plan: RunPlan, level: int, blocks: list[Block]) -> set[tuple[int, ...]]:
    """Indices of a level's shards that blocks meet."""
    factor, shards = plan.spec.factors[level], plan.spec.level_shards(level)
    return {index for block in blocks for index in _shards(block.core.downsampled(factor), shards)}


def _shards(region: Region, shards: tuple[int, int, int]) -> Iterator[tuple[int, ...]]:
    low = [a // s for a, s in zip(region.start, shards, strict=True)]
    high = [-(-b // s) for b, s in zip(region.stop, shards, strict=True)]
    for offset in np.ndindex(*(b - a for a, b in zip(low, high, strict=True))):
        yield tuple(a + o for a, o in zip(low, offset, strict=True))


def _describe(plan: RunPlan, aside: str, digest: str) -> None:
    path = Path(aside, "zarr.json")
    content = json.loads(path.read_text())
    content["attributes"]["ome"]["multiscales"][0]["name"] = NAME
    content["attributes"].setdefault("mitoscale", {})["corrections"] = digest
    write_json(str(path), content)


def _list_labels(plan: RunPlan) -> None:
    """Other programs find labels by this list."""
    folder = Path(plan.labels).parent
    path = str(folder / "zarr.json")
    content = read_json(path)
    names = content["attributes"]["ome"]["labels"]
    if NAME not in names:
        names.append(NAME)
        write_json(path, content)
    consolidate_again(str(folder.parent))
