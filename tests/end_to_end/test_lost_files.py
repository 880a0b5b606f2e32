"""Files of a run that somebody or something has removed: what a ledger calls done is done again where it is not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands import Call, Finished, Stack, contents

from mitoscale.storage.events import EventLog
from mitoscale.storage.layout import RunFolder

LABELS = "volume.zarr/labels/mitochondria"


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> str:
    """A finished run to damage."""
    return shutil.copytree(finished.run, tmp_path / "run").as_posix()


def remove(run: str, *names: str) -> None:
    """Remove files and folders; after ``<``, cut a file off instead."""
    for name in names:
        path = Path(run, name.lstrip("<"))
        if name.startswith("<"):
            path.write_bytes(path.read_bytes()[:100])
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def results(run: str) -> dict[str, str]:
    """Digests of what people use: volume, labels and tables."""
    found = {name: digest for part in ("volume.zarr", "tables") for name, digest in contents(Path(run, part)).items()}
    return {name: digest for name, digest in found.items() if not name.endswith("zarr.json")}


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        (["tables/objects.csv", "report.html"], "tables/objects.csv"),
        (["tables/edges.parquet"], "tables/edges.parquet"),
        ([f"{LABELS}/0/c/0/1/1"], "relabel wrote of z000_y001_x001"),
        ([f"{LABELS}/0/zarr.json"], f"{LABELS}/0"),
        (["volume.zarr/0/c/0/1/1"], "convert wrote of z000_y001_x000"),
        (["volume.zarr/0/zarr.json"], "volume.zarr/0"),
        (["volume.zarr"], "volume.zarr/0"),
        (["work/foreground.zarr/zarr.json"], "work/foreground.zarr"),
        (["work/fragments.zarr", "work/label_table", "work/edges"], "work/fragments.zarr"),
    ],
)
def test_what_is_gone_is_told_and_written_anew(
    lost: list[str], told: str, copy: str, finished: Finished, mitoscale: Call, stack: Stack
) -> None:
    remove(copy, *lost)
    state = mitoscale("status", copy)
    assert state.code == 0 and "was finished, but" in state.out and f"{told} is gone" in state.out
    refused = mitoscale("retry", copy)
    assert refused.code == 1 and "is gone; start the same mitoscale run again" in refused.err and refused.err.count("\n") == 1
    again = mitoscale("run", stack.image, copy, *stack.exact())
    assert again.code == 0, again.err
    assert results(copy) == results(finished.run)
    assert Path(copy, "report.html").is_file() and "nothing to heal" in mitoscale("retry", copy).out


@pytest.mark.parametrize(
    "lost",
    [
        ["work"],
        ["work/label_table/z000/y000/x000.tables", "work/final"],
        ["<work/label_table/z000/y000/x000.tables"],
        ["work/fragments/z000/y000/x000.tables"],
        ["<work/fragments/z000/y000/x000.tables", "<work/detections/z000/y000/x000.tables"],
    ],
)
def test_working_files_that_are_gone_are_made_again_where_they_are_needed(
    lost: list[str], copy: str, finished: Finished, mitoscale: Call, stack: Stack
) -> None:
    for stage in ("stitch", "relabel", "measure", "report"):
        Path(RunFolder(copy).ledger(stage)).unlink()
    remove(copy, *lost)
    again = mitoscale("run", stack.image, copy, *stack.exact())
    assert again.code == 0, again.err
    assert results(copy) == results(finished.run)


def test_tables_that_are_cut_off_are_made_again_for_the_report(
    copy: str, finished: Finished, mitoscale: Call, stack: Stack
) -> None:
    remove(copy, "<tables/objects.parquet", "<tables/edges.parquet", "<tables/detections.parquet", "report.html")
    assert mitoscale("run", stack.image, copy, *stack.exact()).code == 0
    assert results(copy) == results(finished.run)
    damaged = {e.stage for e in EventLog(RunFolder(copy).events).read() if e.kind == "damaged"}
    assert damaged == {"detect", "stitch", "measure"}


def test_a_cleaned_run_tells_what_it_can_not_make_any_more(copy: str, mitoscale: Call, stack: Stack) -> None:
    assert mitoscale("clean", copy).code == 0
    assert mitoscale("run", stack.image, copy, *stack.exact()).code == 0, "nothing of it is missed"
    remove(copy, "report.html")
    refused = mitoscale("run", stack.image, copy, *stack.exact())
    assert (
        refused.code == 1
        and "report.html is gone, and so are the working files it was made from; add --redo convert" in refused.err
    )


def test_labels_with_a_hole_are_neither_scored_nor_exported(copy: str, mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    remove(copy, f"{LABELS}/0/c/1/0/0")
    exported = mitoscale("export", copy, "--to", str(tmp_path / "labels.tif"))
    assert exported.code == 1 and "lacks the labels of 1 blocks (z001_y000_x000)" in exported.err
    refused = mitoscale("evaluate", copy, stack.truth.replace(".npy", ".tif"))
    assert refused.code == 1 and "the labels of 1 of 8 blocks are gone (z001_y000_x000)" in refused.err


def test_broken_labels_are_not_exported(copy: str, mitoscale: Call, tmp_path: Path) -> None:
    remove(copy, f"<{LABELS}/0/c/1/0/0")
    for target in ("labels.tif", "slices/"):
        exported = mitoscale("export", copy, "--to", str(tmp_path / target))
        assert exported.code == 1 and "are broken" in exported.err and "--redo relabel" in exported.err
    assert not (tmp_path / "labels.tif").exists()
