"""``mitoscale finetune`` from the command line, on a real local cluster, and what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from commands import Call, contents

from mitoscale.nets.checkpoint import load_sam
from mitoscale.ops.phantom import make_phantom
from mitoscale.storage.tiff_writing import write_tiff

SPACING = (10.0, 10.0, 10.0)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    found = make_phantom((32, 128, 128), objects=8, seed=3)
    write_tiff(str(tmp_path / "stack.tif"), found.image, SPACING)
    write_tiff(str(tmp_path / "truth.tif"), found.labels.astype(np.uint16), SPACING)
    return tmp_path


def arguments(files: Path, *more: str) -> list[str]:
    fixed = ["finetune", str(files / "stack.tif"), str(files / "truth.tif"), "--out", str(files / "tuned.safetensors")]
    return [*fixed, "--cache", str(files / "cache"), *more]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--sam", "nothing"], 1, "weights 'nothing' are neither a file nor embedded"),
        (["--sam", "unet-small"], 1, "are of a unet, but a sam is wanted here"),
        (["--sam", "sam-small", "--slices", "0:9", "--test", "8:12"], 1, "--slices 0:9 and --test 8:12 overlap"),
        (["--sam", "sam-small", "--tune", "6:9", "--test", "8:12"], 1, "--tune 6:9 and --test 8:12 overlap"),
        (["--sam", "sam-small", "--cache-size", "0.0001"], 1, "raise --cache-size, or train on fewer slices"),
        (["--sam", "sam-small", "--cache", "{folder}/stack.tif"], 1, "stack.tif cannot be made"),
        (["--sam", "sam-small", "--out", "{folder}/truth.tif"], 1, "truth.tif exists already; give another file, or delete it"),
        (["--sam", "sam-small", "--out", "tuned.pth"], 1, "must end in .safetensors"),
        (["--sam", "sam-small", "--truth-threshold", "99999"], 1, "is above --truth-threshold 99999: uint16 ends at 65535"),
        (["--sam", "sam-small", "--truth-threshold", "-0.5"], 2, "-0.5 is not in the range x>=0"),
        (["--sam", "sam-small", "--voxel-size", "5,5"], 2, "is not three numbers above 0"),
    ],
)
def test_wrong_input_is_refused(mitoscale: Call, files: Path, more: list[str], code: int, said: str) -> None:
    before = contents(files)
    ended = mitoscale(*arguments(files, *(m.replace("{folder}", str(files)) for m in more)))
    assert ended.code == code and said in ended.err and contents(files) == before
    if code == 1:
        assert ended.err.splitlines()[-1].startswith("mitoscale: ") and "Traceback" not in ended.err


@pytest.mark.slow
def test_a_killed_worker_goes_on_from_the_last_epoch(files: Path) -> None:
    """The process that trains is killed after its first epoch; another worker goes on, and does not begin anew."""
    wanted = ["--sam", "sam-small", "--slices", "0:8", "--tune", "24:26", "--epochs", "4", "--versions", "2", "--prompts", "2"]
    command = [sys.executable, "-m", "mitoscale", *arguments(files, *wanted, "--accept-any", "--threads", "1")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("step"):
            break
    victims = [
        p
        for p in psutil.Process(process.pid).children(recursive=True)
        if "spawn_main" in " ".join(p.cmdline()) and p.num_threads() > 1
    ]
    os.kill(max(victims, key=lambda p: p.cpu_times().user).pid, signal.SIGKILL)
    rest, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    steps = [int(line.split()[1]) for line in [*lines, *rest.splitlines()] if line.startswith("step")]
    assert steps == sorted(set(steps)) and len(steps) == 4, "each epoch is done once"
    again = [line for line in rest.splitlines() if line.startswith("embeddings")]
    assert len(again) == 1 and "; 0 are there already" not in again[0]
    assert "box Dice" in rest and "jittered box" in rest
    _, card = load_sam(str(files / "tuned.safetensors"))
    assert card.training["epochs"] == 4
