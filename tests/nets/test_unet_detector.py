"""The U-Net on read regions: what it finds, and that it finds the same whatever block asks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from mitoscale.core.geometry import Region
from mitoscale.nets import blending
from mitoscale.nets.checkpoint import load_unet
from mitoscale.nets.unet import UNet, UNetConfig
from mitoscale.nets.unet_detector import UNetDetector
from mitoscale.ops.phantom import Phantom

REACH_NM = 720
"""Distance from an edge within which the edge is felt."""


@pytest.fixture(scope="module")
def model() -> UNet:
    return load_unet("unet-small")[0].to(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def pixel_nm() -> float:
    found = load_unet("unet-small")[1].pixel_nm
    assert found is not None
    return found


def region_of(image: np.ndarray, y: int = 0, x: int = 0) -> Region:
    return Region.of_shape(image.shape).shifted((0, y, x))


def test_mitochondria_of_a_phantom_are_found(model: UNet, pixel_nm: float, phantom: Phantom) -> None:
    detector = UNetDetector(model, pixel_nm=pixel_nm, spacing=phantom.spacing)
    found = detector.foreground(phantom.image[10:13], region_of(phantom.image[10:13]))
    truth = phantom.labels[10:13] > 0
    assert found.dtype == np.float32 and found.shape == truth.shape
    assert found.min() >= 0 and found.max() <= 1
    assert ((found > 0.5) & truth).sum() / ((found > 0.5) | truth).sum() > 0.6


def difference_of_two_reads(model: UNet, pixel_nm: float, slice_: np.ndarray, nm: float, offset: int) -> np.ndarray:
    """How much the same inner pixels differ when the read region begins ``offset`` pixels later."""
    detector = UNetDetector(model, pixel_nm=pixel_nm, spacing=(10.0, nm, nm))
    whole = detector.foreground(slice_[None], region_of(slice_[None]))
    part = slice_[None, offset:, offset:]
    again = detector.foreground(part, region_of(part, offset, offset))
    inner = int(REACH_NM / nm)
    return np.abs(whole[:, offset:, offset:] - again)[:, inner:, inner:]


@pytest.mark.parametrize(("nm", "offset"), [(10.0, 32), (4.0, 80)])
def test_read_regions_that_begin_on_the_networks_lattice_agree(
    model: UNet, pixel_nm: float, phantom: Phantom, nm: float, offset: int
) -> None:
    slice_ = ndimage.zoom(phantom.image[10], 10.0 / nm, order=1)
    assert difference_of_two_reads(model, pixel_nm, slice_, nm, offset).max() < 0.02


@pytest.mark.parametrize(("nm", "offset"), [(10.0, 21), (4.0, 43)])
def test_any_two_read_regions_agree_closely(model: UNet, pixel_nm: float, phantom: Phantom, nm: float, offset: int) -> None:
    slice_ = ndimage.zoom(phantom.image[10], 10.0 / nm, order=1)
    assert difference_of_two_reads(model, pixel_nm, slice_, nm, offset).mean() < 0.02


def test_anisotropic_voxels(model: UNet, pixel_nm: float, phantom: Phantom) -> None:
    """y twice as fine as x: the answer, brought back, is that of the isotropic volume."""
    slice_ = phantom.image[10]
    stretched = np.repeat(slice_, 2, axis=0)[None]
    flat = UNetDetector(model, pixel_nm=pixel_nm, spacing=(200.0, 10.0, 10.0)).foreground(slice_[None], region_of(slice_[None]))
    fine = UNetDetector(model, pixel_nm=pixel_nm, spacing=(200.0, 5.0, 10.0)).foreground(stretched, region_of(stretched))
    assert fine.shape == stretched.shape
    assert np.abs(fine.reshape(1, 192, 2, 192).mean(2) - flat).mean() < 0.05


def test_thick_slices_are_their_own_context() -> None:
    config = UNetConfig(widths=(2, 4), context_nm=(-40.0, 0.0, 40.0))
    for z_nm, steps in {10.0: (-4, 0, 4), 40.0: (-1, 0, 1), 100.0: (0, 0, 0)}.items():
        assert UNetDetector(UNet(config), pixel_nm=10.0, spacing=(z_nm, 10.0, 10.0)).steps == steps


def test_chosen_slices_batches_and_odd_sizes_change_nothing(phantom: Phantom) -> None:
    torch.manual_seed(0)
    small = UNet(UNetConfig(widths=(4, 8), context_nm=(-20.0, 0.0, 20.0))).eval()
    image = phantom.image[:9, :37, :51]
    make = lambda pixels: UNetDetector(small, pixel_nm=10.0, spacing=(10.0, 10.0, 10.0), batch=pixels)  # noqa: E731
    whole = make(600_000).foreground(image, region_of(image))
    np.testing.assert_allclose(make(1).foreground(image, region_of(image)), whole, atol=0.01)
    np.testing.assert_allclose(make(1).probability(image, [7, 2]), whole[[7, 2]], atol=0.01)


def test_a_slice_larger_than_a_window_is_blended(phantom: Phantom, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    small = UNet(UNetConfig(widths=(4, 8), context_nm=(0.0,))).eval()
    detector = UNetDetector(small, pixel_nm=10.0, spacing=(10.0, 10.0, 10.0))
    image = phantom.image[:1, :150, :171]
    whole = detector.foreground(image, region_of(image))
    monkeypatch.setattr(blending, "LARGEST", 64)
    np.testing.assert_allclose(detector.foreground(image, region_of(image)), whole, atol=0.03)
