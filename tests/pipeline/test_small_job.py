"""Small jobs need no cluster; large ones, other people's models, given-up blocks and whoever asks for workers get one."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Finished

from mitoscale.cluster.settings import ClusterSettings
from mitoscale.core.geometry import Region
from mitoscale.core.settings import STAGES
from mitoscale.pipeline import Run, is_small, load

NOBODY_ASKED = ClusterSettings()


@pytest.fixture
def small(finished: Finished, tmp_path: Path) -> Run:
    """A run of 32 x 128 x 128 voxels with the embedded networks, of which nothing is done."""
    plan = load(finished.run).plan.moved_to(str(tmp_path))
    detect = plan.settings.detect.model_copy(update={"detector": "unet-small", "options": {}})
    segment = plan.settings.segment.model_copy(update={"segmenter": "sam", "sam": "sam-small", "options": {}})
    return Run(plan=plan.model_copy(update={"settings": plan.settings.model_copy(update={"detect": detect, "segment": segment})}))


def changed(run: Run, stage: str, **settings: object) -> Run:
    there = getattr(run.plan.settings, stage).model_copy(update=settings)
    return Run(plan=run.plan.model_copy(update={"settings": run.plan.settings.model_copy(update={stage: there})}))


def test_small(small: Run) -> None:
    assert is_small(small, STAGES, NOBODY_ASKED)
    assert is_small(changed(small, "segment", segmenter="unet"), STAGES, NOBODY_ASKED)
    assert is_small(changed(small, "detect", detector="/home/me/mine.safetensors"), STAGES, NOBODY_ASKED)


def test_whoever_asks_for_workers_gets_them(small: Run) -> None:
    assert not is_small(small, STAGES, ClusterSettings(workers=1))
    assert not is_small(small, STAGES, ClusterSettings(kind="cuda"))


def test_models_of_others_get_processes_of_their_own(small: Run) -> None:
    for name in ("lab.models:factory", "mitonet", "bioimageio:model", "net.pth"):
        assert not is_small(changed(small, "detect", detector=name), STAGES, NOBODY_ASKED)
        assert not is_small(changed(small, "segment", sam=name), STAGES, NOBODY_ASKED)
    foreign = changed(small, "segment", segmenter="lab.models:factory")
    assert not is_small(foreign, STAGES, NOBODY_ASKED) and is_small(foreign, ["convert"], NOBODY_ASKED)


def test_networks_make_a_job_large_sooner_than_copying(small: Run) -> None:
    def of(*shape: int) -> Run:
        region = Region.of_shape(shape)  # type: ignore[arg-type]
        spec = small.plan.spec.model_copy(update={"shape": shape})
        plan = changed(small, "convert", region=region).plan
        return Run(plan=plan.model_copy(update={"spec": spec}))

    assert is_small(of(64, 256, 256), STAGES, NOBODY_ASKED)
    assert not is_small(of(64, 256, 257), STAGES, NOBODY_ASKED)
    assert is_small(of(256, 512, 512), ["convert"], NOBODY_ASKED)
    assert not is_small(of(256, 512, 513), ["convert"], NOBODY_ASKED)


def test_a_block_that_was_given_up_may_kill_its_process(small: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitoscale.pipeline.small_job.quarantined", lambda run: {"detect": ["z000_y000_x000"]})
    assert not is_small(small, STAGES, NOBODY_ASKED)
