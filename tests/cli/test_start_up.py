"""What a small job loads: no cluster, no networks before they are needed, and of the networks' libraries only what computes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from mitoscale.storage.layout import RunFolder
from mitoscale.storage.tiff_writing import write_tiff

_CODE = """
import sys
from mitoscale.cli import main

def loaded(names):
    return sorted(set(names.split()) & set(sys.modules))

main(["convert", sys.argv[1], sys.argv[2]])
assert loaded("numpy zarr tensorstore"), "what is asked for here means something"
print("convert loads", loaded("torch torchvision safetensors.torch dask distributed bokeh matplotlib pandas skimage cc3d"))
from mitoscale.nets.checkpoint import load_sam
load_sam("sam-small")
print("networks load", loaded("segment_anything torchvision torch._dynamo distributed"))
"""


def test_a_tiny_volume_is_converted_without_a_cluster_and_without_torch(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (16, 64, 64), dtype=np.uint8)
    write_tiff(str(tmp_path / "tiny.tif"), grey, (5.0, 5.0, 5.0))
    run = str(tmp_path / "run")
    done = subprocess.run([sys.executable, "-c", _CODE, str(tmp_path / "tiny.tif"), run], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "convert loads []" in done.stdout and "networks load []" in done.stdout
    assert "small job" in done.stderr and "dashboard" not in done.stderr
    assert Path(RunFolder(run).volume, "0", "zarr.json").is_file()
