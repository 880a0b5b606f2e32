"""A run asks SAM in slices as far apart as ``--sam-step`` says, and its blocks ask in the same ones."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from commands import Call, Stack

from mitoscale.pipeline import load
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger

NAMES = ("profiles", "prompts", "interpolated", "network_pixels", "changed_voxels")
REGION = ("--region", "0:20,0:96,0:128", "--detector", "unet-small", "--workers", "1")


def counts(run: Path) -> dict[str, float]:
    plan = load(str(run)).plan
    entries = Ledger(RunFolder(str(run)).ledger("segment")).entries(plan.settings.token("segment"))
    blocks = [entry.counts for name, entry in entries.items() if name != "finished"]
    return {name: sum(c.get(name, 0.0) for c in blocks) for name in NAMES}


def found_in(run: Path) -> np.ndarray:
    return open_array(f"{RunFolder(str(run)).labels}/0").read(load(str(run)).plan.region) > 0


@pytest.fixture(scope="module")
def each_slice(mitoscale: Call, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("steps") / "run"
    ended = mitoscale("run", stack.image, str(run), *REGION, "--sam-step", "0")
    assert ended.code == 0, ended.err
    return run


@pytest.mark.parametrize("block", ["20,96,128", "10,96,64"])
def test_fewer_slices_are_asked_and_nearly_the_same_is_found(
    each_slice: Path, mitoscale: Call, stack: Stack, tmp_path: Path, block: str
) -> None:
    run = tmp_path / "run"
    ended = mitoscale("run", stack.image, str(run), *REGION, "--sam-step", "40", "--block", block)
    assert ended.code == 0, ended.err
    before, now = counts(each_slice), counts(run)
    assert now["profiles"] >= before["profiles"], "what SAM could help with is not fewer"
    assert 0 < now["prompts"] < 0.6 * before["prompts"] and now["network_pixels"] < before["network_pixels"]
    assert now["changed_voxels"] > 0 and now["interpolated"] > before["interpolated"] == 0
    report = " ".join(re.sub(r"<[^>]+>", " ", Path(RunFolder(str(run)).report).read_text()).split())
    assert "of the profiles with masks interpolated from slices around (--sam-step)" in report
    found, wanted = found_in(run), found_in(each_slice)
    assert np.count_nonzero(found & wanted) > 0.97 * np.count_nonzero(found | wanted)


@pytest.mark.parametrize(("value", "why"), [("-1", "not in the range"), ("nan", "nan"), ("twenty", "not a valid float")])
def test_a_step_that_is_none_is_refused(mitoscale: Call, stack: Stack, tmp_path: Path, value: str, why: str) -> None:
    ended = mitoscale("run", stack.image, str(tmp_path / "run"), "--sam-step", value)
    assert ended.code == 2 and "--sam-step" in ended.err and why in ended.err, ended.err
    assert not (tmp_path / "run").exists()
