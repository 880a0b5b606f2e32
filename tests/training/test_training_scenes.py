"""Scenes in training: their part of the crops, what is refused, and that processes change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from mitoscale.core.errors import InputError
from mitoscale.core.training_settings import TrainSettings
from mitoscale.ops.scenes.presets import PRESETS
from mitoscale.training import scenes
from mitoscale.training.recipe import plan_training
from mitoscale.training.samples import Annotated, CropSampler

SMALL = {"_STACK": (3, 128, 128), "_SINGLE": (1, 160, 160)}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, shape in SMALL.items():
        monkeypatch.setattr(scenes, name, shape)


def train_settings(**changes: object) -> TrainSettings:
    fields = {"volume": "v", "truth": "t", "out": "/w.safetensors", "phantoms": 0, "steps": 1, "batch": 2, "threads": 1}
    return TrainSettings(**fields | changes)  # type: ignore[arg-type]


def test_scenes_differ_are_normalised_and_share_what_they_are_given() -> None:
    made = scenes.training_scenes(6, 0.3)
    assert sum(v.share for v in made) == pytest.approx(0.3)
    assert len({v.name for v in made}) >= 2
    for volume in made:
        assert volume.labels.dtype == np.int32
        assert volume.image.max() > 240 and volume.image.min() < 15
    again = scenes.training_scenes(2, 0.1)
    assert np.array_equal(again[1].image, made[1].image) and np.array_equal(again[1].labels, made[1].labels)


def test_a_few_scenes_show_every_preset_and_the_weighty_ones_more_often() -> None:
    names = [scenes.preset_of(scenes.FIRST_SEED + i) for i in range(24)]
    assert set(names) == {name for name, preset in PRESETS.items() if preset.weight}
    assert max(set(names), key=names.count) == max(PRESETS, key=lambda name: PRESETS[name].weight)


@pytest.mark.parametrize("first", [False, True])
def test_presets_without_weight_are_drawn_by_name_only(monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    weighty = {name: preset for name, preset in PRESETS.items() if preset.weight}
    assert set(PRESETS) - set(weighty) == {"phantom"}
    monkeypatch.setattr(scenes, "PRESETS", weighty)
    seeds = [0, *range(scenes.FIRST_SEED, scenes.FIRST_SEED + 500)]
    without = [scenes.preset_of(seed) for seed in seeds]
    phantom = {"phantom": PRESETS["phantom"]}
    monkeypatch.setattr(scenes, "PRESETS", phantom | weighty if first else weighty | phantom)
    assert [scenes.preset_of(seed) for seed in seeds] == without


def test_a_crop_of_a_scene_can_be_drawn_from_stacks_and_single_pictures() -> None:
    sampler = CropSampler(scenes.training_scenes(4, 1.0), size=64, pixel_nm=10.0, context_nm=(-20.0, 0.0, 20.0), varied=0.5)
    crops = [sampler.draw(np.random.default_rng(seed)) for seed in range(8)]
    assert all(c.image.shape == (3, 64, 64) for c in crops) and any((c.labels > 0).any() for c in crops)


def test_scenes_and_phantoms_leave_the_rest_to_real_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Annotated] = []
    monkeypatch.setattr("mitoscale.training.unet.UNetTask", lambda network, volumes, *_, **__: drawn.extend(volumes))
    plan_training(train_settings(scenes=2, scene_share=0.35), [scenes.one_scene(1, 1.0)], [])
    assert [v.share for v in drawn] == pytest.approx([0.65, 0.175, 0.175])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scenes": 2, "preset": "report"}, "--scenes 2 is for the default preset"),
        ({"scenes": 2, "scene_share": 0.6, "phantoms": 2, "phantom_share": 0.5}, "leave too little for real volumes"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        train_settings(**changes)
