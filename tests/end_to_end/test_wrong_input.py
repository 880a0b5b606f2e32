"""Wrong input: one clear line, exit code 1, and nothing made or changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import Call, Finished, Stack, begin, check_refused, cut, finish

from mitoscale.storage.tiff_writing import write_tiff

SPACING = ["--voxel-size", "10,10,10"]
PLANE = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)


def slices(folder: Path, count: int = 4) -> Path:
    folder.mkdir()
    for z in range(count):
        tifffile.imwrite(folder / f"s{z:03d}.tif", PLANE + z)
    return folder


def no_such_file(folder: Path) -> Path:
    return folder / "nowhere.tif"


def empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def empty_glob(folder: Path) -> Path:
    return folder / "*.tif"


def empty_file(folder: Path) -> Path:
    (folder / "empty.tif").touch()
    return folder / "empty.tif"


def not_a_tiff(folder: Path) -> Path:
    (folder / "text.tif").write_text("I am no image.\n" * 50)
    return folder / "text.tif"


def truncated_pages(folder: Path) -> Path:
    with tifffile.TiffWriter(folder / "pages.tif") as writer:
        for z in range(6):
            writer.write(PLANE + z, contiguous=False)
    return cut(folder / "pages.tif", 0.6)


def truncated_compressed(folder: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (6, 64, 64), dtype=np.uint8)
    tifffile.imwrite(folder / "deflate.tif", noise, compression="deflate", photometric="minisblack")
    return cut(folder / "deflate.tif", 0.5)


def truncated_big(folder: Path) -> Path:
    volume = np.zeros((16, 64, 64), np.uint8)
    tifffile.imwrite(folder / "big.tif", volume, bigtiff=True, photometric="minisblack", metadata={"axes": "ZYX"})
    return cut(folder / "big.tif", 0.7)


def truncated_imagej(folder: Path) -> Path:
    write_tiff(str(folder / "imagej.tif"), np.zeros((16, 64, 64), np.uint8), (10, 10, 10))
    return cut(folder / "imagej.tif", 0.7)


def mixed_shape(folder: Path) -> Path:
    tifffile.imwrite(slices(folder / "s") / "s002.tif", PLANE[:32])
    return folder / "s"


def mixed_dtype(folder: Path) -> Path:
    tifffile.imwrite(slices(folder / "s") / "s002.tif", PLANE.astype(np.uint16))
    return folder / "s"


def mixed_pages(folder: Path) -> Path:
    with tifffile.TiffWriter(folder / "mixed.tif") as writer:
        writer.write(PLANE)
        writer.write(PLANE[:32])
    return folder / "mixed.tif"


def rgb(folder: Path) -> Path:
    tifffile.imwrite(folder / "rgb.tif", np.zeros((4, 64, 64, 3), np.uint8), photometric="rgb")
    return folder / "rgb.tif"


def nan(folder: Path) -> Path:
    volume = np.random.default_rng(0).random((4, 64, 64), np.float32)
    volume[2, 5, 5] = np.nan
    tifffile.imwrite(folder / "nan.tif", volume, photometric="minisblack")
    return folder / "nan.tif"


def missing_number(folder: Path) -> Path:
    (slices(folder / "s") / "s002.tif").unlink()
    return folder / "s"


def doubled_number(folder: Path) -> Path:
    shutil.copy(slices(folder / "s") / "s002.tif", folder / "s" / "s2.tif")
    return folder / "s"


def complex_values(folder: Path) -> Path:
    tifffile.imwrite(folder / "c.tif", np.zeros((4, 64, 64), np.complex64), photometric="minisblack")
    return folder / "c.tif"


def no_image_in_zarr(folder: Path) -> Path:
    import zarr

    zarr.open_group(str(folder / "group.zarr"), mode="w")
    return folder / "group.zarr"


SOURCES: dict[Callable[[Path], Path], str] = {
    no_such_file: "no such file",
    empty_folder: "holds no slices",
    empty_glob: "nothing matches",
    empty_file: "empty.tif",
    not_a_tiff: "text.tif",
    truncated_pages: "pages.tif",
    truncated_compressed: "deflate.tif",
    truncated_big: "big.tif",
    truncated_imagej: "imagej.tif",
    mixed_shape: "s002.tif",
    mixed_dtype: "uint16",
    mixed_pages: "shape",
    rgb: "rgb.tif",
    nan: "slice 2",
    missing_number: "number 2",
    doubled_number: "more than once",
    complex_values: "complex64",
    no_image_in_zarr: "multiscales",
}


@pytest.mark.parametrize("make", SOURCES, ids=lambda m: m.__name__)
@pytest.mark.parametrize("command", ["run", "convert"])
def test_wrong_source(command: str, make: Callable[[Path], Path], mitoscale: Call, tmp_path: Path) -> None:
    source = make(tmp_path)
    check_refused(mitoscale, tmp_path, [command, str(source), str(tmp_path / "run"), *SPACING], SOURCES[make])


def test_no_voxel_size(mitoscale: Call, tmp_path: Path) -> None:
    source = slices(tmp_path / "s")
    check_refused(mitoscale, tmp_path, ["run", str(source), str(tmp_path / "run")], "--voxel-size")


def test_run_of_another_volume(mitoscale: Call, stack: Stack, finished: Finished, tmp_path: Path) -> None:
    write_tiff(str(tmp_path / "other.tif"), stack.phantom.image[:16], (10.0, 10.0, 10.0))
    arguments = ["run", str(tmp_path / "other.tif"), finished.run, *stack.exact()]
    check_refused(mitoscale, Path(finished.run), arguments, "holds another volume")
    check_refused(mitoscale, Path(finished.run), [*arguments, "--redo", "convert"], "holds another volume")


def test_run_that_holds_other_files(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    check_refused(mitoscale, tmp_path, ["run", stack.image, str(tmp_path), *stack.exact()], "holds other files")


def test_run_below_a_file(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for run in ("file", "file/run"):
        check_refused(mitoscale, tmp_path, ["run", stack.image, str(tmp_path / run), *stack.exact()], "is a file")


def test_run_that_cannot_be_written(mitoscale: Call, stack: Stack) -> None:
    run = Path("/proc/mitoscale-run")  # nobody can make folders there, not even root
    if not run.parent.is_dir():
        pytest.skip("no /proc here")
    ended = mitoscale("run", stack.image, str(run), *stack.exact())
    assert ended.code == 1 and len(ended.err.splitlines()) == 1
    assert "cannot be written" in ended.err


@pytest.mark.parametrize(
    "content",
    ["{", "{}", "[1]", "null", '{"format": 99}', '{"format": "x"}', '{"format": 1, "plan": {}}', '{"format": 1, "plan": 3}'],
)
def test_damaged_run_json(content: str, mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    for arguments in (["run", stack.image, str(tmp_path), *stack.exact()], ["segment", str(tmp_path)]):
        check_refused(mitoscale, tmp_path, arguments, "run.json")


@pytest.mark.parametrize("command", ["detect", "segment", "stitch", "relabel", "measure", "report", "clean"])
def test_no_run_there(command: str, mitoscale: Call, tmp_path: Path) -> None:
    for run, said in ((tmp_path, "is no run folder"), (tmp_path / "nowhere", "there is no folder")):
        check_refused(mitoscale, tmp_path, [command, str(run)], said)


def test_constant_volume(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    write_tiff(str(tmp_path / "flat.tif"), np.full((32, 64, 64), 7, np.uint8), (10.0, 10.0, 10.0))
    ended = mitoscale("run", str(tmp_path / "flat.tif"), str(tmp_path / "run"), *stack.exact())
    assert ended.code == 1
    assert "no contrast" in ended.err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_voxel_size_that_no_microscope_has(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    for size in ("1e-30,5,5", "0.01,50,50"):
        check_refused(mitoscale, tmp_path, ["run", stack.image, str(tmp_path / "run"), "--voxel-size", size], "nm (z, y, x) is not")


def test_a_stage_is_refused_before_a_cluster_is_started(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    assert mitoscale("convert", stack.image, run, *stack.oracle()).code == 0
    check_refused(mitoscale, tmp_path, ["measure", run], "run mitoscale detect first")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "a.tif"],
        ["run", "a.tif", "run", "--voxel-size", "5,5"],
        ["run", "a.tif", "run", "--voxel-size", "5,5,-5"],
        ["run", "a.tif", "run", "--voxel-size", "5,5,nan"],
        ["run", "a.tif", "run", "--workers", "0"],
        ["run", "a.tif", "run", "--threshold", "2"],
        ["run", "a.tif", "run", "--threshold", "nan"],
        ["run", "a.tif", "run", "--min-volume", "inf"],
        ["run", "a.tif", "run", "--block", "1000000,64,64"],
        ["run", "a.tif", "run", "--redo", "everything"],
        ["run", "a.tif", "run", "--detector-option", "no equals sign"],
        ["fly"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(arguments: list[str], mitoscale: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = mitoscale(*arguments)
    assert ended.code == 2 and "Error:" in ended.err
    assert not list(tmp_path.iterdir())


def test_a_process_too_says_one_line(tmp_path: Path) -> None:
    arguments = ["run", str(tmp_path / "nowhere.tif"), str(tmp_path / "run"), *SPACING]
    code = "from mitoscale.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert ended.returncode == 1 and not ended.stdout
    assert ended.stderr.startswith("mitoscale: ") and len(ended.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["source", "run"])
def test_letters_that_the_locale_does_not_know_are_refused_before_anything_is_made(
    where: str, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(name, value)
    there = tmp_path / "Müller"
    there.mkdir()
    source = shutil.copy(stack.image, there / "stack.tif") if where == "source" else stack.image
    run = (tmp_path if where == "source" else there) / "run"
    ended = finish(begin("run", str(source), str(run), *stack.exact()))
    assert ended.code == 1 and len(ended.err.splitlines()) == 1, ended.err
    assert "letters outside ASCII" in ended.err and "set PYTHONUTF8=1 or LC_ALL=C.UTF-8" in ended.err
    assert not run.exists()
