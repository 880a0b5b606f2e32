"""A volume whose membranes seem bright is told so in one line that names --invert; volumes as they should be are not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import tifffile
from commands import Call

from mitoscale.core.errors import BlockError
from mitoscale.core.geometry import Region, Spacing
from mitoscale.core.grey_findings import VolumeGrey
from mitoscale.core.normalisation import Normalisation
from mitoscale.core.request import RunRequest
from mitoscale.pipeline import make_plan, settings_for
from mitoscale.stages.membranes import membranes_seem_bright
from mitoscale.stages.source import open_source
from mitoscale.storage.sources.kinds import open_reader
from mitoscale.storage.sources.reader import Reader
from mitoscale.storage.tiff_writing import write_tiff

real = pytest.mark.skipif("MITOSCALE_TEST_DATA" not in os.environ, reason="MITOSCALE_TEST_DATA is not set")

SOURCES: dict[str, Spacing] = {
    "epfl/training.tif": (5, 5, 5),
    "vnc/raw": (50, 4.6, 4.6),
    "mitoem_r/raw.tif": (30, 8, 8),
    "cardiac/raw.tif": (1000, 5, 5),
    "hela/raw.tif": (1000, 10, 10),
    "fib25_1/raw.tif": (10, 10, 10),
    "fib25_2/raw.tif": (10, 10, 10),
}


@real
@pytest.mark.parametrize("name", SOURCES)
def test_real_volumes_as_they_are_and_inverted(name: str, tmp_path: Path) -> None:
    source = open_source(str(Path(os.environ["MITOSCALE_TEST_DATA"], name)), SOURCES[name])
    plan = make_plan(source, str(tmp_path / "run"), settings_for(source, RunRequest(segmenter="unet"), 1))
    reader = open_reader(source.path)
    middle = reader.shape[0] // 2
    low, high = np.percentile(reader.read(Region(start=(middle, 0, 0), stop=(middle + 1, *reader.shape[1:]))), (0.2, 99.8))
    for invert in (False, True):
        grey = VolumeGrey(normalisation=Normalisation(low=low, high=high, invert=invert), least=0, most=255)
        assert membranes_seem_bright(plan, grey, reader) is invert


def test_windows_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    """Lines are dark on the left and bright on the right: what can be read decides."""
    image = np.random.default_rng(0).normal(120, 5, (3, 400, 1200))
    for x in range(10, 1190, 30):
        image[:, :, x : x + 3] += 60 if x > 600 else -60
    image = image.clip(0, 255).astype(np.uint8)
    write_tiff(str(tmp_path / "lines.tif"), image, (10.0, 10.0, 10.0))
    source = open_source(str(tmp_path / "lines.tif"), None)
    plan = make_plan(source, str(tmp_path / "run"), settings_for(source, RunRequest(segmenter="unet"), 1))
    grey = VolumeGrey(normalisation=Normalisation(low=40, high=200, invert=False), least=0, most=255)

    class Half:
        """What reads one half alone."""

        def __init__(self, right: bool) -> None:
            self.right = right

        def read(self, region: Region) -> np.ndarray:
            if (region.stop[2] > 600) != self.right:
                raise BlockError("nobody has written it")
            return image[region.slices]

    assert membranes_seem_bright(plan, grey, cast(Reader, Half(right=True)))
    assert not membranes_seem_bright(plan, grey, cast(Reader, Half(right=False)))


@real
def test_the_line_names_invert(mitoscale: Call, tmp_path: Path) -> None:
    """A real crop with black around it: told where it is inverted and --invert is missing, or it is not and --invert is given."""
    image = tifffile.imread(Path(os.environ["MITOSCALE_TEST_DATA"], "epfl", "training.tif"), key=range(108, 116))[:, :256, 512:768]
    for name, volume in (("right", image), ("wrong", 255 - image)):
        write_tiff(str(tmp_path / f"{name}.tif"), np.pad(volume, ((0, 0), (40, 40), (40, 40))), (5.0, 5.0, 5.0))
        for options in ((), ("--invert",)):
            run = str(tmp_path / f"{name}{len(options)}")
            ended = mitoscale("convert", str(tmp_path / f"{name}.tif"), run, "--segmenter", "unet", *options)
            assert ended.code == 0, ended.err
            lines = [line for line in ended.out.splitlines() if "membranes" in line]
            if (name == "wrong") == (not options):
                cure = "leave out --invert" if options else "add --invert"
                assert len(lines) == 1 and lines[0].startswith("grey") and lines[0].endswith(cure)
            else:
                assert not lines
