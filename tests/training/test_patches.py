"""Windows to fine-tune on: cut where they should be, image and truth in step, the same for the same number."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mitoscale.training.patches import AugmentedCrops, PatchGrid, can_be_asked, profiles_of
from mitoscale.training.samples import Annotated, CropSampler


def volume(shape: tuple[int, int, int], nm: float = 5.0) -> Annotated:
    """Two bright squares, and a third in the second slice."""
    labels = np.zeros(shape, np.int32)
    labels[0, 4:20, 4:20] = 1
    labels[0, 4:20, 40:56] = 2
    if shape[0] > 1:
        labels[1, 26:42, 56:72] = 3
    return Annotated(image=np.where(labels > 0, 200, 50).astype(np.uint8), labels=labels, spacing=(nm, nm, nm))


def test_patches_without_a_mitochondrion_are_dropped_and_counted() -> None:
    grid = PatchGrid(volume((3, 64, 96)), size=32, pixel_nm=(5.0, 5.0))
    assert grid.total == 3 * 2 * 3
    assert len(grid) == 2 + 4, "the square of the second slice reaches into four patches"
    every_third = PatchGrid(volume((3, 64, 96)), size=32, pixel_nm=(5.0, 5.0), every=3)
    assert every_third.total == 6 and len(every_third) == 2, "of three slices the first one alone"


def test_a_patch_at_native_scale_is_the_volume_itself() -> None:
    whole = volume((1, 64, 96))
    grid = PatchGrid(whole, size=32, pixel_nm=(5.0, 5.0))
    first = grid[0]
    assert (first.image == whole.image[0, :32, :32]).all() and first.image.dtype == np.uint8
    assert (first.profiles == profiles_of(whole.labels[0, :32, :32])).all() and first.profiles.dtype == np.int32


@settings(max_examples=30)
@given(height=st.integers(20, 90), width=st.integers(60, 110), size=st.sampled_from([24, 32, 64]), scale=st.floats(0.6, 2.5))
def test_image_and_truth_stay_in_step_and_nothing_is_left_out(height: int, width: int, size: int, scale: float) -> None:
    whole = volume((1, height, width))
    grid = PatchGrid(whole, size=size, pixel_nm=(5.0 * scale, 5.0 * scale))
    assert len(grid) >= 1
    for window in (grid[i] for i in range(len(grid))):
        assert window.image.shape == window.profiles.shape == (size, size)
        inside = window.profiles > 0
        # Grey values are averaged and labels are not: they may differ at an outline alone.
        assert ((window.image > 125) != inside).sum() <= 0.25 * inside.sum() + 8


def test_a_slice_smaller_than_a_window_is_mirrored() -> None:
    grid = PatchGrid(volume((1, 24, 60)), size=64, pixel_nm=(5.0, 5.0))
    window = grid[0]
    assert (window.image[:24, :60] == volume((1, 24, 60)).image[0]).all()
    assert (window.image[24:47] == window.image[22::-1][:23]).all() and (window.profiles[24:47] > 0).any()


def test_the_number_decides_the_crop_in_any_order(annotated: Annotated) -> None:
    def crops(seed: int) -> AugmentedCrops:
        sampler = CropSampler([annotated], size=64, pixel_nm=10.0, context_nm=(0.0,), object_share=1.0)
        return AugmentedCrops(sampler, count=4, seed=seed)

    one, other = crops(7), crops(8)
    forward = [one[i] for i in range(4)]
    backward = [one[i] for i in reversed(range(4))][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert (a.image == b.image).all() and (a.profiles == b.profiles).all()
    assert any((a.image != other[i].image).any() for i, a in enumerate(forward))
    assert len({w.image.tobytes() for w in forward}) == 4 and all(can_be_asked(w.profiles) for w in forward)
