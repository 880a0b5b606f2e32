"""Prompts as a U-Net gives them: each asks for the true profile under it, or for nothing, and what is not clear is not asked."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mitoscale.core.errors import InputError
from mitoscale.core.file_digest import file_sha256
from mitoscale.core.training_settings import TrainSettings
from mitoscale.nets.checkpoint import find_weights, load_sam
from mitoscale.nets.mask_decoding import BOX_START, BOX_STOP, NEGATIVE, PADDING, POSITIVE
from mitoscale.nets.sam import Sam, SamConfig
from mitoscale.ops.phantom import make_phantom
from mitoscale.storage.tiff_writing import write_tiff
from mitoscale.training.detected_prompts import DetectedPrompts
from mitoscale.training.job import train_job
from mitoscale.training.patches import profiles_of
from mitoscale.training.prompted_targets import prompted_loss
from mitoscale.training.prompts import POINTS
from mitoscale.training.sam import PIXEL_NM, PromptedWindows, SamTask
from mitoscale.training.samples import Annotated, CropSampler

SIZE = 128


class Seeing(DetectedPrompts):
    """Finds what it is told, but is not sure of it, so that SAM is asked."""

    def __init__(self, found: np.ndarray) -> None:
        super().__init__("unet-small", PIXEL_NM)
        self.found = found

    def _foreground(self, image: np.ndarray) -> np.ndarray:
        return np.where(self.found, np.float32(0.7), np.float32(0.02))


def square(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """(SIZE, SIZE) int32: boxes y0, x0, y1, x1 numbered from 1."""
    labels = np.zeros((SIZE, SIZE), np.int32)
    for number, (y0, x0, y1, x1) in enumerate(boxes, start=1):
        labels[y0:y1, x0:x1] = number
    return labels


IMAGE = np.zeros((5, SIZE, SIZE), np.uint8)


def test_what_is_found_asks_for_the_profile_under_it_or_for_nothing() -> None:
    truth = square((10, 10, 50, 50), (70, 70, 110, 110))
    found = square((14, 12, 46, 50), (70, 10, 110, 50)) > 0  # too small a piece of the first, and a vesicle
    prompted = Seeing(found).ask(IMAGE, truth, 40, np.random.default_rng(0))
    assert prompted is not None and prompted.points.shape == (2, POINTS, 2) and prompted.known.all()
    for points, meaning, mask in zip(prompted.points, prompted.meaning, prompted.masks, strict=True):
        assert meaning.tolist()[:3] == [BOX_START, BOX_STOP, POSITIVE] and set(meaning.tolist()[3:]) <= {NEGATIVE, PADDING}
        assert (points[0] <= points[2]).all() and (points[2] <= points[1]).all()
        above = points[2, 0] < 60
        assert np.array_equal(mask, truth == 1) if above else not mask.any()
    assert sum(bool(m.any()) for m in prompted.masks) == 1
    one = Seeing(found).ask(IMAGE, truth, 1, np.random.default_rng(0))
    assert one is not None and len(one.masks) == 1


def test_what_is_not_clear_or_not_annotated_is_not_asked() -> None:
    truth = square((10, 10, 50, 50))
    third = square((10, 38, 50, 74)) > 0  # a third of it is the mitochondrion
    assert Seeing(third).ask(IMAGE, truth, 4, np.random.default_rng(0)) is None
    truth[60:] = -1
    assert Seeing(square((70, 20, 110, 60)) > 0).ask(IMAGE, truth, 4, np.random.default_rng(0)) is None
    assert Seeing(np.zeros((SIZE, SIZE), bool)).ask(IMAGE, truth, 4, np.random.default_rng(0)) is None


def test_a_prompt_for_nothing_teaches_the_score_and_no_mask() -> None:
    masks, ious = torch.zeros(2, 4, 8, 8, requires_grad=True), torch.full((2, 4), 0.7, requires_grad=True)
    target = torch.zeros(2, 8, 8)
    target[0, 2:6, 2:6] = 1
    prompted_loss(masks, ious, target, torch.ones(2, 8, 8, dtype=torch.bool)).backward()
    assert masks.grad is not None and masks.grad[0].any() and not masks.grad[1].any()
    assert ious.grad is not None and (ious.grad[1] > 0).all(), "what is predicted for nothing must fall"


def test_windows_of_a_training_have_the_prompts_of_the_network() -> None:
    phantom = make_phantom((12, 160, 160), seed=5, objects=10)
    volume = Annotated(image=phantom.image, labels=phantom.labels.astype("int32"), spacing=phantom.spacing)
    asking = DetectedPrompts("unet-small", PIXEL_NM)
    sampler = CropSampler([volume], size=SIZE, pixel_nm=PIXEL_NM, context_nm=asking.context_nm, object_share=1.0)
    windows = PromptedWindows(sampler, 4, 0, asking)
    again = PromptedWindows(sampler, 4, 0, DetectedPrompts("unet-small", PIXEL_NM))
    of_network = 0
    for number in range(10):
        rng = np.random.default_rng([0, number])
        crop, made, same = sampler.draw(rng), windows[number], again[number]
        assert made is not None and same is not None
        np.testing.assert_array_equal(made[0], crop.image[asking.middle])
        np.testing.assert_array_equal(made[1].points, same[1].points)
        if rng.random() < 0.5:
            asked = asking.ask(crop.image, profiles_of(crop.labels), 4, rng)
            of_network += asked is not None and np.array_equal(asked.points, made[1].points)
    assert of_network, "no window has prompts of the network"


def test_a_training_step_takes_them() -> None:
    phantom = make_phantom((12, 96, 96), seed=5, objects=6)
    volume = Annotated(image=phantom.image, labels=phantom.labels.astype("int32"), spacing=phantom.spacing)
    torch.manual_seed(0)
    tiny = SamConfig(image_size=64, width=24, depth=1, heads=2, embedding=32, decoder_mlp=32)
    task = SamTask(Sam(tiny), [volume], [], batch=2, prompts=3, prompts_of="unet-small")
    loss = task.loss(0)
    assert torch.isfinite(loss)
    loss.backward()


def test_a_training_goes_on_with_the_same_network_alone(tmp_path: Path) -> None:
    """What it asks is part of what a training depends on: the network's content, whatever its name."""
    phantom = make_phantom((12, 96, 96), seed=5, objects=6)
    for name, array in (("v", phantom.image), ("t", phantom.labels.astype(np.uint16))):
        write_tiff(str(tmp_path / f"{name}.tif"), array, phantom.spacing)
    asking = tmp_path / "asking.safetensors"
    shutil.copy(find_weights("unet-small"), asking)
    settings = TrainSettings(
        volume=str(tmp_path / "v.tif"),
        truth=str(tmp_path / "t.tif"),
        out=str(tmp_path / "sam.safetensors"),
        model="sam",
        prompts_of=str(asking),
        phantoms=0,
        steps=2,
        batch=1,
        threads=1,
    )
    train_job(settings, lambda event: None)
    record = load_sam(settings.out)[1].training
    assert record["prompts_of"] == {"weights": "asking.safetensors", "sha256": file_sha256(str(asking))}

    stopped = settings.model_copy(update={"out": str(tmp_path / "stopped.safetensors"), "steps": 200})

    def stop(event: Mapping[str, Any]) -> None:
        if event["what"] == "epoch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_job(stopped, stop)
    shutil.copy(find_weights("unet-varied"), asking)
    with pytest.raises(InputError, match=r"stopped\.checkpoint is of other settings or data"):
        train_job(stopped, stop)
    assert "prompts_of" not in settings.model_copy(update={"prompts_of": None}).token("")


def test_wrong_weights_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"works at pixels of 5\.0 nm, SAM's windows have 8"):
        DetectedPrompts("unet-small", 8.0)
    with pytest.raises(InputError, match="sam-small"):
        DetectedPrompts("sam-small", PIXEL_NM)
    with pytest.raises(InputError, match="--prompts-of unet-small is for --model sam"):
        TrainSettings(volume="v", truth="t", out="w.safetensors", prompts_of="unet-small")
