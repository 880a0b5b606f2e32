"""Fine-tuning the decoder: only it moves, false prompts teach the score alone, corrections lie where the mask is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from mitoscale.nets.mask_decoding import NEGATIVE, PADDING, POSITIVE
from mitoscale.nets.sam import Sam, SamConfig
from mitoscale.training.embeddings import EmbeddingCache, encoder_digest
from mitoscale.training.finetune import RECIPES
from mitoscale.training.loop import Schedule, train
from mitoscale.training.patches import PatchGrid
from mitoscale.training.prompted_scores import prompted_scores
from mitoscale.training.prompts import corrections, simulate
from mitoscale.training.sam_decoder import Decoder, DecoderTask
from mitoscale.training.samples import UNLABELLED, Annotated
from mitoscale.training.window_set import WindowSet, embed, window_set

CONFIG = SamConfig(image_size=64, width=32, depth=1, heads=2, embedding=32, decoder_mlp=32)
RECIPE = replace(RECIPES["default"].prompts, windows=2, prompts=3)


@pytest.fixture(scope="module")
def model() -> Sam:
    torch.manual_seed(0)
    return Sam(CONFIG).eval()


@pytest.fixture
def windows(model: Sam, annotated: Annotated, tmp_path: Path) -> WindowSet:
    grid = PatchGrid(annotated, size=64, pixel_nm=(10.0, 10.0), every=8)
    found = window_set(grid, EmbeddingCache(tmp_path / "cache", 10**9), encoder_digest(model), 64)
    embed([found], model, lambda done, total: None)
    return found


def test_the_encoders_do_not_move_by_a_bit(model: Sam, windows: WindowSet, tmp_path: Path, one_thread: None) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    task = DecoderTask(Decoder(model), [windows], {"": windows}, RECIPE)
    tuned = train(task, Schedule(steps=4, score_every=2, learning_rate=1e-2), tmp_path / "c", lambda progress: None).model
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()), "the model itself is left alone"
    moved = {name for name, value in tuned.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith("mask_decoder.") for name in moved)
    trained = {name for name, _ in tuned.mask_decoder.named_parameters()}
    assert len(moved) > 0.9 * len(trained), "all of the decoder learns"


def test_resumed_is_bitwise_the_same_as_uninterrupted(model: Sam, windows: WindowSet, tmp_path: Path, one_thread: None) -> None:
    plan = Schedule(steps=6, score_every=3, learning_rate=1e-2)

    def task() -> DecoderTask:
        return DecoderTask(Decoder(model), [windows], {}, RECIPE, seed=3)

    def kill(progress: object) -> None:
        raise KeyboardInterrupt

    whole = train(task(), plan, tmp_path / "whole", lambda progress: None).model
    with pytest.raises(KeyboardInterrupt):
        train(task(), plan, tmp_path / "stopped", kill)
    resumed = train(task(), plan, tmp_path / "stopped", lambda progress: None).model
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


def test_an_epoch_sees_every_window_once(model: Sam, windows: WindowSet) -> None:
    task = DecoderTask(Decoder(model), [windows, windows], {}, RECIPE)
    seen: list[int] = []
    for step in range(task.epoch_steps):
        seen += [number for _, number in task.samples.names(step)]
    assert sorted(seen) == list(range(len(windows)))
    assert {epoch for epoch, _ in task.samples.names(task.epoch_steps)} == {1}, "then the next version of them"


def test_false_prompts_teach_the_score_alone(model: Sam, windows: WindowSet) -> None:
    prompted = simulate(windows.profiles(0), 3, np.random.default_rng(0), false_share=1.0)
    assert prompted is not None and not prompted.masks.any()
    task = DecoderTask(Decoder(model), [windows], {}, replace(RECIPE, corrections=0))
    task.loss_of(windows.embeddings([0]), [prompted], np.random.default_rng(0)).backward()
    gradients = {name: p.grad for name, p in task.model.named_parameters() if p.requires_grad}
    assert all(g is None or not g.any() for n, g in gradients.items() if "hypernetworks" in n or "upscaling" in n)
    assert any(g is not None and g.any() for n, g in gradients.items() if "iou_prediction_head" in n)


def test_false_prompts_lie_where_there_is_nothing(windows: WindowSet) -> None:
    profiles = windows.profiles(0)
    for seed in range(20):
        found = simulate(profiles, 6, np.random.default_rng(seed), false_share=0.5)
        assert found is not None
        for points, meaning, mask in zip(found.points, found.meaning, found.masks, strict=True):
            assert (points >= 0).all() and (points <= 63).all()
            if not mask.any() and (meaning == POSITIVE).any() and (meaning >= 0).sum() == 1:
                assert profiles[tuple(np.rint(points[meaning == POSITIVE][0]).astype(int))] == 0
                assert NEGATIVE not in meaning


def test_corrections_lie_where_the_mask_is_wrong() -> None:
    want = np.zeros((3, 16, 16), bool)
    want[:2, 4:10, 4:10] = True
    have = want.copy()
    have[0, 4:7, 4:10] = False  # lacks something
    have[1] = want[1]  # is right
    have[2, 2:5, 2:5] = True  # an answer to a false prompt
    for seed in range(10):
        points, meaning = corrections(have, want, 64, np.random.default_rng(seed))
        y, x = np.floor((points[0, 0] + 0.5) / 4).astype(int)
        assert meaning[0, 0] == POSITIVE and want[0, y, x] and not have[0, y, x]
        assert meaning[1:, 0].tolist() == [PADDING, PADDING]
    have[0, 4:7, 4:10], have[0, 12:, 12:] = True, True
    points, meaning = corrections(have, want, 64, np.random.default_rng(0))
    assert meaning[0, 0] == NEGATIVE and (points[0, 0] >= 12 * 4 - 1).all()


class Oracle(nn.Module):
    """Knows the truth of the window it is asked about: the profile under the point, or most common in the box."""

    def __init__(self, windows: WindowSet, shrink: bool = False, beyond: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.windows, self.shrink, self.beyond, self.calls = windows, shrink, beyond, 0

    def forward(
        self, embeddings: torch.Tensor, which: torch.Tensor, points: torch.Tensor, meaning: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        found = []
        first = self.calls // 2 * 8  # each group of eight windows is asked about by points, then by boxes
        self.calls += 1
        for window, at, means in zip(which.tolist(), points, meaning, strict=True):
            profiles = self.windows.profiles(first + window)
            if means[2] == POSITIVE:
                number = profiles[tuple(at[2].round().long().tolist())]
            else:
                (y0, x0), (y1, x1) = at[:2].round().long().tolist()
                inside = profiles[y0 : y1 + 1, x0 : x1 + 1]
                number = np.bincount(inside[inside > 0]).argmax()
            answer = (profiles == number) | (self.beyond & (profiles == UNLABELLED))
            found.append(torch.from_numpy(answer).float() * 2 - 1)
        right = torch.stack(found) * self.scale
        wrong = torch.full_like(right, -1.0)
        masks = torch.stack([wrong if self.shrink else right, wrong, right, wrong], dim=1)
        return masks, torch.tensor([0.1, 0.2, 0.9, 0.3]).expand(len(masks), 4)


def test_scores_of_an_oracle_are_one_and_each_kind_takes_its_own_mask(windows: WindowSet) -> None:
    scores = prompted_scores(Oracle(windows), windows)
    assert scores["point_iou"] == scores["point_dice"] == 1.0
    assert scores["box_iou"] > 0.95, "a jittered box may hold more of a neighbour"
    blind = prompted_scores(Oracle(windows, shrink=True), windows)
    assert blind["point_iou"] == 1.0 and blind["box_iou"] == blind["box_dice"] == 0.0, "boxes take the single mask"
    asked = [simulate(windows.profiles(i), 64, np.random.default_rng(0), kind="centroid") for i in range(len(windows))]
    assert scores["profiles"] == sum(len(p.masks) for p in asked if p is not None)


def test_what_is_not_annotated_counts_in_no_score_and_teaches_nothing(
    model: Sam, windows: WindowSet, annotated: Annotated, tmp_path: Path
) -> None:
    labels = annotated.labels.copy()
    labels[:, :, 40:] = UNLABELLED
    grid = PatchGrid(replace(annotated, labels=labels), size=64, pixel_nm=(10.0, 10.0), every=8)
    sparse = window_set(grid, windows.cache, encoder_digest(model), 64)
    embed([sparse], model, lambda done, total: None)
    assert any((sparse.profiles(i) == UNLABELLED).any() for i in range(len(sparse)))
    assert prompted_scores(Oracle(sparse), sparse)["point_iou"] == 1.0
    assert prompted_scores(Oracle(sparse, beyond=True), sparse)["point_iou"] == 1.0, "whatever is answered there"

    prompted = simulate(sparse.profiles(0), 3, np.random.default_rng(0))
    assert prompted is not None and not prompted.known.all()
    task = DecoderTask(Decoder(model), [sparse], {}, RECIPE)
    asked: list[torch.Tensor] = []

    def note(_: nn.Module, __: object, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        output[0].retain_grad()
        asked.append(output[0])

    task.model.register_forward_hook(note)
    task.loss_of(sparse.embeddings([0]), [prompted], np.random.default_rng(0)).backward()
    known = ndimage.binary_dilation(prompted.known.reshape(16, 4, 16, 4).any(axis=(1, 3)))  # upsampling looks one pixel on
    away = torch.from_numpy(~known)  # at the masks' size, which is 4 times coarser than the window
    assert len(asked) == 2 and away.any()
    for masks in asked:
        assert masks.grad is not None and masks.grad.any() and not masks.grad[..., away].any()


def test_the_jitter_is_the_same_for_all_that_are_compared(model: Sam, windows: WindowSet) -> None:
    decoder = Decoder(model)
    assert prompted_scores(decoder, windows) == prompted_scores(decoder, windows)
