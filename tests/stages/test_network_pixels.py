"""What the embedded U-Net computes is counted in the ledger, and told by status, report and plan."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import Call, Stack

from mitoscale.core.request import RunRequest
from mitoscale.pipeline import load
from mitoscale.pipeline.run_settings import with_request
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger


@pytest.fixture(scope="module")
def run(mitoscale: Call, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two blocks of a phantom with pixels of 10 nm, found by the embedded U-Net, whose pixels are 5 nm."""
    run = str(tmp_path_factory.mktemp("counted") / "run")
    options = ["--segmenter", "unet", "--block", "8,64,64", "--workers", "1", "--region", "0:8,0:64,0:128"]
    ended = mitoscale("run", stack.image, run, *options)
    assert ended.code == 0, ended.err
    return run


def test_each_line_of_detect_counts_the_pixels_of_the_network(run: str) -> None:
    plan = load(run).plan
    entries = Ledger(RunFolder(run).ledger("detect")).entries(plan.settings.token("detect"))
    blocks = [entry for name, entry in entries.items() if name != "finished"]
    assert len(blocks) == 2
    for entry in blocks:
        assert entry.counts["network_pixels"] >= 4 * entry.counts["voxels"]  # each voxel is four of its pixels
        assert 0 < entry.counts["network_seconds"] <= entry.seconds["compute"]


def test_status_and_report_tell_pixels_for_each_voxel(run: str, mitoscale: Call) -> None:
    stages = {stage["name"]: stage for stage in json.loads(mitoscale("status", run, "--json").out)["stages"]}
    detect = stages["detect"]
    figure = detect["network_pixels"] / detect["voxels"]
    assert detect["network_pixels_per_voxel"] == figure and stages["stitch"]["network_pixels"] == 0
    shown = {line.split()[0]: line.split() for line in mitoscale("status", run).out.splitlines() if line}
    assert f"{figure:.2f}" in shown["detect"] and "px/vx" in shown["stage"]
    text = re.sub(r"<[^>]+>", " ", Path(RunFolder(run).report).read_text())
    assert "network pixels a voxel" in text and f" {figure:.2f} " in text


def test_plan_tells_device_hours_for_a_teravoxel(run: str, mitoscale: Call) -> None:
    detect = next(s for s in json.loads(mitoscale("status", run, "--json").out)["stages"] if s["name"] == "detect")
    ended = mitoscale("plan", run)
    assert ended.code == 0, ended.err
    line = next(line for line in ended.out.splitlines() if "device hours a teravoxel" in line and line.startswith("detect"))
    here, large, rate, hours = map(float, re.findall(r"\d+\.\d+", line))
    assert here == pytest.approx(detect["network_pixels_per_voxel"], abs=0.01)
    assert large > here, "inner blocks have a margin on all sides"
    assert rate == pytest.approx(detect["network_pixels"] / detect["network_seconds"] / 1e6, rel=0.01, abs=0.01)
    heads = [line.split() for line in ended.out.splitlines() if line.startswith(("stage", " "))]
    assert sum("CPU-hours" in head for head in heads) == 2, "both tables name their unit"
    assert hours == pytest.approx(large * 1e12 / (detect["network_pixels"] / detect["network_seconds"]) / 3600, rel=0.01)


@pytest.mark.parametrize(("workers", "slots"), [("", 12), ("workers: 8", 24)])
def test_plan_counts_the_workers_of_jobs_of_several_gpus(
    workers: str, slots: int, run: str, mitoscale: Call, tmp_path: Path
) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(f"kind: slurm\nhost: 10.0.0.5\ngroups:\n  gpu:\n    {{gpus: 4, threads: 3, memory: 48 GiB, {workers}}}\n")
    ended = mitoscale("plan", run, "--cluster", str(file))
    assert ended.code == 0, ended.err
    assert f"{slots} tasks at once" in ended.out and ended.out.count("GPU-hours") == 2


def test_the_margin_is_that_of_the_weights_and_mirroring_is_an_option(run: str) -> None:
    settings = load(run).plan.settings
    assert settings.detect.margin_nm == (50.0, 320.0, 320.0) and not settings.detect.mirror
    mirrored = with_request(settings, RunRequest(mirror=True)).detect
    assert mirrored.mirror and mirrored.margin_nm == settings.detect.margin_nm
    other = with_request(settings, RunRequest(detector="known_truth:detector")).detect
    assert other.margin_nm == (40.0, 640.0, 640.0), "a network of somebody else's may see further"
