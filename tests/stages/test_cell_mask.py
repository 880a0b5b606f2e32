"""A mask of cells, on any coarser grid, confines a run and gives each mitochondrion its cell; one that does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import Call, Stack, labels_of

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Spacing
from mitoscale.pipeline import load
from mitoscale.report import cells as report_cells
from mitoscale.stages.cell_mask import open_mask, read_cells
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tables import read_table
from mitoscale.storage.tiff_writing import write_tiff

SIZE: Spacing = (10.0, 10.0, 10.0)


def cells_of(shape: tuple[int, int, int]) -> np.ndarray:
    """(Z, Y, X) uint16: two cells with nothing between them and the border."""
    cells = np.zeros(shape, np.uint16)
    z, y, x = shape
    cells[:, y // 8 :, : x // 2], cells[z // 4 :, y // 8 :, x // 2 :] = 300, 7
    return cells


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(("shape", "step"), [((9, 50, 61), (2, 4, 4)), ((1, 33, 32), (1, 2, 2)), ((8, 40, 40), (1, 1, 1))])
def test_a_coarser_mask_is_laid_over_the_volume(
    shape: tuple[int, int, int], step: tuple[int, int, int], told: bool, tmp_path: Path
) -> None:
    own = tuple(-(-n // s) for n, s in zip(shape, step, strict=True))
    values = np.random.default_rng(0).integers(0, 900, own).astype(np.uint16)
    path = str(tmp_path / "cells.tif")
    if told:
        write_tiff(path, values, tuple(a * s for a, s in zip(SIZE, step, strict=True)))
    else:
        tifffile.imwrite(path, values, photometric="minisblack")
    mask = open_mask(path, shape, SIZE, (0, 0, 0))
    whole = values
    for axis, s in enumerate(step):
        whole = whole.repeat(s, axis)
    whole = whole[tuple(slice(n) for n in shape)]
    assert np.array_equal(read_cells(mask, Region.of_shape(shape)), whole)
    part = Region(start=tuple(n // 3 for n in shape), stop=tuple(n // 3 + -(-n // 2) for n in shape))
    assert np.array_equal(read_cells(mask, part), whole[part.slices])


@pytest.mark.parametrize(
    ("shape", "size", "words"),
    [
        ((8, 20, 20), (10, 20, 10), "does not cover the volume: along x 20 voxels of 1 each reach over 20 of 40"),
        ((8, 20, 30), None, "does not cover the volume: its 20 x 30 pixels are"),
        ((8, 80, 80), None, "finer along y than the volume"),
        ((4, 20, 20), (10, 20, 20), "does not cover the volume: along z 4 voxels"),
    ],
)
def test_what_does_not_fit_is_refused(shape: tuple[int, ...], size: Spacing | None, words: str, tmp_path: Path) -> None:
    path, values = str(tmp_path / "cells.tif"), np.ones(shape, np.uint8)
    if size:
        write_tiff(path, values, size)
    else:
        tifffile.imwrite(path, values, photometric="minisblack")
    with pytest.raises(InputError, match=words):
        open_mask(path, (8, 40, 40), SIZE, (0, 0, 0))


def test_a_mask_without_a_name_is_no_run_without_a_mask(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    """A variable of a shell script that is not set must not lose the mask silently."""
    ended = mitoscale("convert", stack.image, str(tmp_path / "run"), "--mask", "")
    assert ended.code == 1 and "--mask names nothing" in ended.err and not (tmp_path / "run").exists()


def test_fractions_are_no_cells(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "cells.tif", np.ones((8, 40, 40), np.float32), photometric="minisblack")
    with pytest.raises(InputError, match="whole numbers"):
        open_mask(str(tmp_path / "cells.tif"), (8, 40, 40), SIZE, (0, 0, 0))


def test_only_inside_is_worked_on_and_each_object_has_its_cell(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    truth = stack.phantom.labels
    coarse = cells_of((16, 32, 32))
    cells = coarse.repeat(2, 0).repeat(4, 1).repeat(4, 2)
    write_tiff(str(tmp_path / "cells.tif"), coarse, (20.0, 40.0, 40.0))
    tifffile.imwrite(tmp_path / "small.tif", coarse[:, :20], photometric="minisblack")
    run = str(tmp_path / "run")
    refused = mitoscale("run", stack.image, run, *stack.exact(), "--mask", str(tmp_path / "small.tif"))
    assert refused.code == 1 and "does not cover the volume" in refused.err and not Path(run).exists()
    ended = mitoscale("run", stack.image, run, *stack.exact(), "--min-volume", "1", "--mask", str(tmp_path / "cells.tif"))
    assert ended.code == 0, ended.err
    labels = labels_of(run)
    assert np.array_equal(labels > 0, (truth > 0) & (cells > 0)) and ((truth > 0) & (cells == 0)).any()
    objects, table = read_table(RunFolder(run).objects), read_table(RunFolder(run).cells)
    for label, cell in zip(objects["label"], objects["cell"], strict=True):
        inside, counts = np.unique(cells[labels == label], return_counts=True)
        assert cell == inside[counts.argmax()]
    assert table["cell"].tolist() == [7, 300]
    for row, cell in enumerate((7, 300)):
        assert table["voxels"][row] == (cells == cell).sum() and table["volume_nm3"][row] == (cells == cell).sum() * 1000.0
        assert table["mitochondria"][row] == (objects["cell"] == cell).sum() > 0
        assert table["fraction"][row] == pytest.approx(((labels > 0) & (cells == cell)).sum() / (cells == cell).sum())
    assert len(objects["label"]) == table["mitochondria"].sum()
    told = report_cells.cells_of(load(run).plan)
    assert told is not None and told.figures["cells"] == "2" and told.figures["without any mitochondrion"] == "0"
    assert [row[0] for row in told.table.rows] == [str(c) for c in sorted((7, 300), key=lambda c: -(cells == c).sum())]
    assert {row[0]: row[2] for row in told.table.rows} == {str(c): str((objects["cell"] == c).sum()) for c in (7, 300)}
    assert ">Cells</h2>" in Path(RunFolder(run).report).read_text()
    out = str(tmp_path / "cells.csv")
    assert mitoscale("export", run, "--to", out, "--table", "cells").code == 0 and len(Path(out).read_text().splitlines()) == 3
    assert mitoscale("edit", run, "merge", "1", "2").code == 0
    ended = mitoscale("apply", run)
    assert ended.code == 0, ended.err
    corrected = read_table(str(Path(RunFolder(run).objects).with_name("objects_corrected.parquet")))
    inside, counts = np.unique(cells[np.isin(labels, (1, 2))], return_counts=True)
    assert corrected["cell"][corrected["label"] == 1].tolist() == [inside[counts.argmax()]]
    assert len(corrected["label"]) == len(objects["label"]) - 1
    other = mitoscale("run", stack.image, run, *stack.exact(), "--min-volume", "1")
    assert other.code == 1 and "--redo detect" in other.err
