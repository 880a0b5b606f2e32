"""Automatic masks: what a window cuts off is asked for again, or dropped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mitoscale.core.geometry import Region
from mitoscale.nets.automatic import AutomaticMasks, _is_cut
from mitoscale.nets.sam import Sam, SamConfig
from mitoscale.ops.masks import Mask
from mitoscale.ops.prompts import Prompts

SIZE = 64


class Windows:
    """Stands for the package's generator: of each window it answers with what is dark."""

    def generate(self, rgb: np.ndarray) -> list[dict[str, object]]:
        dark = rgb[..., 0] < 100
        return [{"segmentation": dark, "predicted_iou": 0.9, "stability_score": 0.9}] if dark.any() else []


class Whole:
    """Stands for SAM asked by a point: it answers with all that is dark."""

    def __init__(self, score: float) -> None:
        self.score, self.points = score, np.zeros((0, 2))

    def masks(self, image: np.ndarray, foreground: np.ndarray, prompts: Sequence[Prompts], region: Region) -> list[list[Mask]]:
        self.points = prompts[0].points
        rows, columns = np.nonzero(image[0] < 100)
        y0, x0 = int(rows.min()), int(columns.min())
        mask = image[0, y0 : rows.max() + 1, x0 : columns.max() + 1] < 100
        return [[Mask(y0=y0, x0=x0, mask=mask, score=self.score, profile=i + 1) for i in range(len(prompts[0]))]]


def automatic(score: float = 0.9) -> AutomaticMasks:
    made = AutomaticMasks(
        Sam(SamConfig(image_size=SIZE, width=24, depth=1, heads=2, embedding=32, decoder_mlp=32)),
        pixel_nm=None,
        spacing=(10.0, 10.0, 10.0),
    )
    made.generator, made.asker = Windows(), Whole(score)  # type: ignore[assignment]
    return made


def slice_with(y0: int, x0: int, height: int, width: int) -> np.ndarray:
    image = np.full((SIZE, 160), 200, np.uint8)
    image[y0 : y0 + height, x0 : x0 + width] = 50
    return image


def test_what_lies_in_one_window_is_taken_as_it_is() -> None:
    made = automatic()
    (mask,) = made.masks(slice_with(20, 10, 20, 25))
    assert (mask.y0, mask.x0, mask.mask.shape) == (20, 10, (20, 25)) and len(made.asker.points) == 0  # type: ignore[attr-defined]


def test_what_a_window_cuts_off_is_asked_for_again_from_a_point_in_it() -> None:
    made = automatic()
    image = slice_with(20, 40, 20, 45)  # windows begin at 0, 48 and 96
    found = made.masks(image)
    assert found and all((m.y0, m.x0, m.mask.shape) == (20, 40, (20, 45)) for m in found)
    assert [m.profile for m in found] == list(range(1, len(found) + 1))
    assert all(image[tuple(point.astype(int))] == 50 for point in made.asker.points)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("score", "width"), [(0.3, 45), (0.9, 62)])
def test_bad_answers_and_what_no_window_holds_are_dropped(score: float, width: int) -> None:
    assert automatic(score).masks(slice_with(20, 40, 20, width)) == []


def test_the_edges_of_the_slice_cut_nothing() -> None:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[:20, 30:] = True
    assert not _is_cut(mask, (0, 96), (SIZE, 160)) and _is_cut(mask, (0, 48), (SIZE, 160))
    assert _is_cut(mask, (10, 96), (SIZE + 10, 160))
