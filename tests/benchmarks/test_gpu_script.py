"""The script for machines with a GPU works in miniature: a part that fails stops no other, and what is done stays done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Stack

from mitoscale.storage.tiff_writing import write_tiff

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.sh"


@pytest.mark.slow
def test_parts_fail_alone_and_are_done_once(stack: Stack, tmp_path: Path) -> None:
    write_tiff(str(tmp_path / "truth.tif"), stack.phantom.labels.astype("uint16"), stack.phantom.spacing)
    results = tmp_path / "results"

    def call(image: str) -> str:
        environment = {**os.environ, "SMALL": "1", "PARTS": "whole rates", "PYTHON": sys.executable}
        command = ["bash", str(SCRIPT), str(results), image, str(tmp_path / "truth.tif")]
        return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    first = call(str(tmp_path / "nothing.tif"))
    assert "whole: failed" in first and (results / "rates.done").exists() and not (results / "whole.done").exists()
    second = call(stack.image)
    assert "rates: done before" in second and (results / "whole.done").exists()
    assert json.loads((results / "rates.json").read_text())["networks"]["small"]["Mpixel_per_second"] > 0
    stages = json.loads((results / "pipeline.json").read_text())["stages"]
    assert stages["detect"]["network"] > 0 and stages["detect"]["GPU hours per teravoxel"] > 0
    assert set(json.loads((results / "use.json").read_text())["stages"]) >= {"detect", "segment", "report"}
    assert "foreground" in json.loads((results / "scores.json").read_text())
