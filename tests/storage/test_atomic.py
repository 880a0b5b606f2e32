"""Files and folders that appear whole or not at all, also where writes go on beside."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mitoscale.core.geometry import Region
from mitoscale.storage.atomic import remove_left_over, replacing
from mitoscale.storage.new_chunked import create_precomputed, precomputed_scale


def test_a_thread_that_still_writes_makes_no_folder_anew(tmp_path: Path) -> None:
    def write_on(path: str) -> None:
        for number in range(20):
            os.makedirs(os.path.join(path, "0"), exist_ok=True)
            Path(path, "0", str(number)).touch()
            time.sleep(0.01)

    def fail() -> None:
        with replacing(str(tmp_path / "x")) as part:
            os.makedirs(part)
            writer.append(threading.Thread(target=write_on, args=(part,)))
            writer[0].start()
            raise KeyboardInterrupt

    writer: list[threading.Thread] = []
    with pytest.raises(KeyboardInterrupt):
        fail()
    writer[0].join()
    assert not list(tmp_path.iterdir())


def test_what_was_left_over_goes_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".x.tif.0123abcd.tmp").touch()
    (tmp_path / ".x.tif.89abcdef.tmp").mkdir()
    (tmp_path / ".x.tif.89abcdef.tmp" / "0").touch()
    others = {".x.tif.tmp", ".x.tif.mine.tmp", ".y.tif.0123abcd.tmp", "x.tif", ".xxtif.0123abcd.tmp"}
    for name in others:
        (tmp_path / name).touch()
    remove_left_over(str(tmp_path / "x.tif"))
    assert {path.name for path in tmp_path.iterdir()} == others
    remove_left_over(str(tmp_path / "gone" / "x.tif"))


def test_an_interrupted_write_has_ended(tmp_path: Path) -> None:
    """So that nothing is written any more while its folder is removed."""
    shape = (128, 128, 128)
    scale = precomputed_scale(shape, (0, 0, 0), (4.0, 4.0, 4.0), "raw")
    array = create_precomputed(str(tmp_path / "x"), scale, np.dtype(np.uint64), "segmentation")
    voxels = np.random.default_rng(0).integers(0, 2**60, shape).astype(np.uint64)

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def write() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        array.write(Region.of_shape(shape), voxels)
        time.sleep(5)  # so quick that it ended before: the signal comes now

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            write()
    finally:
        signal.signal(signal.SIGALRM, before)
    (file,) = (tmp_path / "x" / "4_4_4").iterdir()
    assert file.name.endswith(".shard") and file.stat().st_size > 1e7
