"""SAM's forward equals that of the segment-anything package with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam as OfficialSam

from mitoscale.nets import mask_decoding
from mitoscale.nets.mask_decoding import BOX_START, BOX_STOP, NEGATIVE, PADDING, POSITIVE
from mitoscale.nets.sam import PRESETS, Sam, SamConfig

CONFIG = SamConfig(image_size=128, width=48, depth=2, heads=3, embedding=32, decoder_mlp=64)


@pytest.fixture(scope="module")
def ours() -> Sam:
    torch.manual_seed(0)
    model = Sam(CONFIG).eval().requires_grad_(False)
    for parameter in model.image_encoder.parameters():  # zero at first: position embeddings would go untested
        parameter.add_(0.02 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def official(ours: Sam) -> OfficialSam:
    return OfficialSam(ours.image_encoder, ours.prompt_encoder, ours.mask_decoder).eval()


@pytest.fixture(scope="module")
def windows() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 128, 128), dtype=np.uint8))


def ask_official(
    official: OfficialSam, window: torch.Tensor, multimask: bool, **prompts: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(P, M, h, w) logits and (P, M) predicted IoU of the package's own forward."""
    image = window.expand(3, -1, -1)
    answer = official([{"image": image, "original_size": tuple(window.shape), **prompts}], multimask_output=multimask)[0]
    return answer["low_res_logits"], answer["iou_predictions"]


def same(ours: tuple[torch.Tensor, torch.Tensor], theirs: tuple[torch.Tensor, torch.Tensor], channels: slice) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a[:, channels], b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("multimask", "channels"), [(False, slice(0, 1)), (True, slice(1, None))])
def test_a_point_is_answered_as_the_package_does(
    ours: Sam, official: OfficialSam, windows: torch.Tensor, multimask: bool, channels: slice
) -> None:
    points = torch.tensor([[[10.0, 90.0]], [[64.0, 3.5]]])  # y, x
    positive = torch.full((2, 1), POSITIVE)
    theirs = ask_official(official, windows[0], multimask, point_coords=points.flip(-1), point_labels=positive)
    # The package adds a padding point where there is no box.
    padded = torch.cat([points, torch.zeros(2, 1, 2)], 1), torch.tensor([[POSITIVE, PADDING]] * 2)
    same(ours.decode(ours.encode(windows[:1]), torch.zeros(2, dtype=torch.long), *padded), theirs, channels)


def test_boxes_with_points_are_answered_as_the_package_does(ours: Sam, official: OfficialSam, windows: torch.Tensor) -> None:
    corners = torch.tensor([[[5.0, 60.0], [40.0, 120.0]], [[70.0, 2.0], [100.0, 33.0]]])  # y, x
    points = torch.tensor([[[20.0, 80.0], [90.0, 90.0]], [[80.0, 20.0], [3.0, 3.0]]])
    meaning = torch.tensor([[POSITIVE, NEGATIVE]] * 2)
    theirs = ask_official(
        official,
        windows[0],
        False,
        point_coords=points.flip(-1),
        point_labels=meaning,
        boxes=corners.flip(-1).reshape(2, 4),
    )
    asked = torch.cat([corners, points], 1), torch.cat([torch.tensor([[BOX_START, BOX_STOP]] * 2), meaning], 1)
    same(ours.decode(ours.encode(windows[:1]), torch.zeros(2, dtype=torch.long), *asked), theirs, slice(0, 1))


def test_a_box_alone_is_answered_as_the_package_does(ours: Sam, official: OfficialSam, windows: torch.Tensor) -> None:
    corners = torch.tensor([[[5.0, 60.0], [40.0, 120.0]]])
    theirs = ask_official(official, windows[1], True, boxes=corners.flip(-1).reshape(1, 4))
    asked = corners, torch.tensor([[BOX_START, BOX_STOP]])
    same(ours.decode(ours.encode(windows[1:2]), torch.zeros(1, dtype=torch.long), *asked), theirs, slice(1, None))


def test_prompts_of_several_windows_do_not_see_each_other(ours: Sam, windows: torch.Tensor) -> None:
    embeddings = ours.encode(windows)
    points = torch.tensor([[[10.0, 90.0]], [[64.0, 3.5]], [[30.0, 30.0]], [[99.0, 12.0]]])
    meaning = torch.full((4, 1), POSITIVE)
    which = torch.tensor([2, 0, 0, 1])
    together = ours.decode(embeddings, which, points, meaning)
    for i, w in enumerate(which.tolist()):
        alone = ours.decode(ours.encode(windows[w : w + 1]), torch.zeros(1, dtype=torch.long), points[i : i + 1], meaning[:1])
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a[i : i + 1], b, atol=1e-4, rtol=1e-4)


def test_prompts_computed_in_parts_are_answered_as_together(
    ours: Sam, windows: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings, which = ours.encode(windows), torch.tensor([2, 0, 1, 1, 0])
    points, meaning = torch.rand(5, 2, 2, generator=torch.Generator().manual_seed(3)) * 120, torch.full((5, 2), POSITIVE)
    with torch.inference_mode():
        together = ours.decode(embeddings, which, points, meaning)
        monkeypatch.setattr(mask_decoding, "_CPU_TOKENS", 2 * embeddings.shape[-1] ** 2)
        parts = ours.decode(embeddings, which, points, meaning)
        none = ours.decode(embeddings, which[:0], points[:0], meaning[:0])
    for a, b, empty in zip(together, parts, none, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
        assert empty.shape == (0, *a.shape[1:])


def test_the_decoder_learns_as_the_package_s_does(ours: Sam, official: OfficialSam, windows: torch.Tensor) -> None:
    embeddings, points = ours.encode(windows[:1]), torch.tensor([[[10.0, 90.0]], [[64.0, 3.5]], [[99.0, 99.0]]])
    meaning, which = torch.full((3, 1), POSITIVE), torch.zeros(3, dtype=torch.long)
    decoder = ours.mask_decoder.requires_grad_(True)
    try:
        found = []
        for own in (True, False):
            decoder.zero_grad()
            if own:
                masks, ious = ours.decode(embeddings, which, points, meaning)
            else:
                sparse, dense = ours.prompt_encoder((points.flip(-1), meaning), None, None)
                position = ours.prompt_encoder.get_dense_pe()
                masks, ious = decoder.predict_masks(embeddings, position, sparse[:, :1], dense)
            (masks.sigmoid().square().mean() + ious.square().mean()).backward()
            found.append({name: parameter.grad.clone() for name, parameter in decoder.named_parameters()})
    finally:
        decoder.zero_grad()
        decoder.requires_grad_(False)
    largest = max(float(g.abs().max()) for g in found[1].values())
    assert largest > 1e-6
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], atol=1e-4 * largest, rtol=1e-3, msg=name)


def test_in_bfloat16_masks_are_the_same_but_for_rounding(ours: Sam, windows: torch.Tensor) -> None:
    which, points = torch.zeros(3, dtype=torch.long), torch.tensor([[[20.0, 30.0]], [[64.0, 64.0]], [[100.0, 8.0]]])
    meaning = torch.full((3, 1), POSITIVE)
    with torch.inference_mode():
        embeddings = ours.encode(windows[:1])
        exact = ours.decode(embeddings, which, points, meaning)
        with torch.autocast("cpu", torch.bfloat16):
            narrow = ours.decode(embeddings, which, points, meaning)
    for a, b in zip(exact, narrow, strict=True):
        assert float((a - b.float()).abs().max()) < 0.03 * float(a.abs().max())


def test_what_a_padding_point_says_does_not_matter(ours: Sam, windows: torch.Tensor) -> None:
    embeddings, first = ours.encode(windows[:1]), torch.zeros(1, dtype=torch.long)
    meaning = torch.tensor([[POSITIVE, PADDING]])
    answers = [ours.decode(embeddings, first, torch.tensor([[[9.0, 9.0], p]]), meaning)[0] for p in ([0.0, 0.0], [77.0, -5.0])]
    assert torch.equal(*answers)


def test_the_official_sizes_have_the_official_shapes() -> None:
    """As in the package's build_sam.py: width, depth, heads and the layers with global attention."""
    sizes = {k: (c.width, c.depth, c.heads, c.global_layers) for k, c in PRESETS.items() if c.encoder == "vit" and k != "small"}
    assert sizes == {
        "vit_b": (768, 12, 12, (2, 5, 8, 11)),
        "vit_l": (1024, 24, 16, (5, 11, 17, 23)),
        "vit_h": (1280, 32, 16, (7, 15, 23, 31)),
    }
