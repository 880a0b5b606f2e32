"""Coarser levels of image and labels: what the finer level gives, whatever the shards, and also after a break or a change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import Call, Stack, contents

from mitoscale.core.grid import CoarseShard
from mitoscale.core.plan import RunPlan
from mitoscale.core.result import BlockResult
from mitoscale.corrections.editor import editing
from mitoscale.corrections.labels import corrected_labels
from mitoscale.ops.downsample import mean_downsample, mode_downsample
from mitoscale.pipeline import load
from mitoscale.stages.convert import Convert
from mitoscale.stages.pyramid import coarse_shards, write_coarse, write_from_parts
from mitoscale.stages.relabel import Relabel
from mitoscale.stages.stage import Stage
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder

REGION = "3:32,5:121,0:120"
"""Begins and ends in the middle of coarse voxels."""


@pytest.fixture(autouse=True)
def many_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes levels that are smaller than anybody needs, of a volume that tests have time for."""
    monkeypatch.setattr("mitoscale.core.plan._SMALLEST_LEVEL", 8)


def levels(plan: RunPlan, root: str) -> list[np.ndarray]:
    """What each level has of the region."""
    return [
        open_array(f"{root}/{level}", missing="fill").read(plan.region.downsampled(factor))
        for level, factor in enumerate(plan.spec.factors)
    ]


def padded(plan: RunPlan, level: int, values: np.ndarray) -> np.ndarray:
    """With the first voxels standing for those of their coarse voxel that lie before the region."""
    finer, coarser = plan.spec.factors[level], plan.spec.factors[level + 1]
    start = plan.region.downsampled(finer).start
    lead = [(a % (c // f), 0) for a, f, c in zip(start, finer, coarser, strict=True)]
    return np.pad(values, lead, mode="edge")


def check_levels(plan: RunPlan, root: str, downsample: Callable[..., np.ndarray]) -> list[np.ndarray]:
    """Each level is the whole level before it, halved."""
    found, factors = levels(plan, root), plan.spec.factors
    assert len(found) == 4 and len(list(coarse_shards(plan, 1))) > 1 < len(list(plan.grid.blocks()))
    for level in range(3):
        step = tuple(c // f for f, c in zip(factors[level], factors[level + 1], strict=True))
        assert 2 in step
        np.testing.assert_array_equal(found[level + 1], downsample(padded(plan, level, found[level]), step), err_msg=f"{level + 1}")
        assert found[level + 1].any()
    return found


def check_run(run: str, stack: Stack) -> list[np.ndarray]:
    """All levels of a run's image and labels; returns those of the labels."""
    plan = load(run).plan
    image = check_levels(plan, RunFolder(run).volume, mean_downsample)
    np.testing.assert_array_equal(image[0], tifffile.imread(stack.image)[plan.region.slices])
    return check_levels(plan, plan.labels, mode_downsample)


@pytest.fixture
def arguments(stack: Stack, tmp_path: Path) -> list[str]:
    """Of a run of small blocks, whose levels have several shards."""
    return ["run", stack.image, str(tmp_path / "run"), *stack.exact(), "--block", "16,32,64", "--region", REGION]


def test_each_level_is_the_finer_one_halved(mitoscale: Call, stack: Stack, arguments: list[str]) -> None:
    ended = mitoscale(*arguments)
    assert ended.code == 0, ended.err
    labels = check_run(arguments[2], stack)
    plan = load(arguments[2]).plan
    truth = stack.phantom.labels[plan.region.slices]
    np.testing.assert_array_equal(labels[0] > 0, truth > 0)
    # The slow way, of one coarse voxel in the region's middle.
    first, factor = np.array(plan.region.downsampled(plan.spec.factors[1]).start), np.array(plan.spec.factors[1])
    at = np.argwhere(labels[1])[len(np.argwhere(labels[1])) // 2]
    start = (at + first) * factor - np.array(plan.region.start)
    group = labels[0][tuple(slice(a, a + f) for a, f in zip(start, factor, strict=True))]
    values, counts = np.unique(group, return_counts=True)
    assert counts[values == labels[1][tuple(at)]] == counts.max()


@pytest.mark.parametrize("stage", ["convert", "relabel"])
def test_a_run_that_was_broken_off_between_levels_goes_on(
    stage: str, mitoscale: Call, stack: Stack, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mitoscale(*arguments).code == 0
    whole, run = check_run(arguments[2], stack), str(tmp_path / "again")
    made: list[str] = []
    kind: type[Stage] = {"convert": Convert, "relabel": Relabel}[stage]
    coarsen = kind.coarsen

    def breaking(self: Stage, key: CoarseShard) -> BlockResult:
        made.append(key.name)
        if len(made) == 3:
            raise KeyboardInterrupt
        return coarsen(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "coarsen", breaking)
        assert mitoscale(*arguments[:2], run, *arguments[3:]).code != 0
    assert len(made) == 3
    done = made[:2]
    monkeypatch.setattr(kind, "coarsen", lambda self, key: (made.append(key.name), coarsen(self, key))[1])
    ended = mitoscale(*arguments[:2], run, *arguments[3:])
    assert ended.code == 0, ended.err
    assert not set(done) & set(made[3:]), "those that were written before stay"
    for mine, theirs in zip(check_run(run, stack), whole, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("gone", [False, True])
def test_level_1_is_made_of_what_tasks_held_and_else_of_level_0(
    gone: bool, mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, read = str(tmp_path / "run"), set[int]()
    parts = Path(RunFolder(run).coarse_parts)

    def noted(root: str, plan: RunPlan, key: CoarseShard, *rest: object) -> BlockResult:
        read.add(key.level - 1)
        return write_coarse(root, plan, key, *rest)  # type: ignore[arg-type]

    def made(root: str, plan: RunPlan, key: CoarseShard) -> BlockResult | None:
        if gone:
            shutil.rmtree(parts / "c" / "0", ignore_errors=True)
        return write_from_parts(root, plan, key)

    monkeypatch.setattr("mitoscale.stages.convert.write_coarse", noted)
    monkeypatch.setattr("mitoscale.stages.convert.write_from_parts", made)
    ended = mitoscale("convert", stack.image, run, *stack.exact(), "--block", "16,32,64", "--region", REGION)
    assert ended.code == 0, ended.err
    assert read == ({0, 1, 2} if gone else {1, 2}) and not parts.exists()
    check_levels(load(run).plan, RunFolder(run).volume, mean_downsample)


def test_other_labels_change_the_coarser_levels_where_they_differ(
    mitoscale: Call, stack: Stack, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mitoscale(*arguments).code == 0
    run = arguments[2]
    before, image = check_run(run, stack), contents(f"{RunFolder(run).volume}/1")
    voxels = np.sort(np.bincount(before[0].ravel())[1:])
    size = float(voxels[len(voxels) // 2]) * float(np.prod(load(run).plan.spec.spacing))
    ended = mitoscale("relabel", run, "--redo", "relabel", "--min-volume", str(size))
    assert ended.code == 0, ended.err
    after = check_run(run, stack)
    assert after[0].max() < before[0].max() and after[3].max() < before[3].max()
    assert contents(f"{RunFolder(run).volume}/1") == image
    monkeypatch.setattr(Relabel, "coarsen", lambda self, key: pytest.fail("nothing has changed"))
    assert mitoscale("relabel", run).code == 0


def test_corrected_labels_have_coarser_levels_of_their_own(mitoscale: Call, stack: Stack, arguments: list[str]) -> None:
    assert mitoscale(*arguments).code == 0
    plan = load(arguments[2]).plan
    before = check_levels(plan, plan.labels, mode_downsample)
    label = int(np.argmax(np.bincount(before[3].ravel())[1:])) + 1
    with editing(plan) as editor:
        editor.delete([label])
    ended = mitoscale("apply", arguments[2])
    assert ended.code == 0, ended.err
    corrected = check_levels(plan, corrected_labels(plan), mode_downsample)
    np.testing.assert_array_equal(corrected[0], np.where(before[0] == label, 0, before[0]))
    assert not (corrected[3] == label).any() and (before[3] == label).any()
    assert (check_levels(plan, plan.labels, mode_downsample)[3] == before[3]).all(), "the run's own stay"
