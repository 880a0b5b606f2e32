"""The protocols of detectors and segmenters, and how one is made from its name.

Anyone's model can stand in. ``--detector pkg.module:factory`` calls ``factory(**options)`` once in each worker, with the
``--detector-option NAME=VALUE`` as keywords (values are text), and asks what it returns for the foreground of each block;
``--segmenter pkg.module:factory`` likewise. The package must be importable where workers run. A whole example, for a network
that tells foreground and membranes apart::

    # lab_net.py
    import numpy as np
    import torch
    from lab_unet import UNet3D  # the lab's own architecture
    from scipy import ndimage
    from skimage.segmentation import watershed

    class LabNet:
        def __init__(self, weights, device="cpu", threshold="0.5"):
            self.net = UNet3D().to(device).eval()
            self.net.load_state_dict(torch.load(weights, map_location=device, weights_only=True))
            self.device, self.threshold = device, float(threshold)  # options come as text

        def predict(self, image):  # (Z, Y, X) uint8, dark membranes, contrast stretched to 0..255 over the whole volume
            batch = torch.from_numpy(image)[None, None].to(self.device).float() / 255
            with torch.inference_mode():
                return self.net(batch)[0].cpu().numpy()  # (2, Z, Y, X) float32: foreground and membrane, 0..1

        def foreground(self, image, region):  # makes it a detector
            return self.predict(image)[0]

        def fragments(self, image, foreground, region):  # makes it a segmenter of volumes
            inside = (foreground >= self.threshold) & (self.predict(image)[1] < 0.5)
            seeds, _ = ndimage.label(inside)
            return watershed(-foreground, seeds, mask=foreground >= self.threshold).astype(np.uint32)

    # mitoscale run stack.tif RUN --voxel-size 8,8,8 --detector lab_net:LabNet --detector-option weights=/models/lab.pt \
    #     --segmenter lab_net:LabNet --segmenter-option weights=/models/lab.pt

What must hold: answers depend on the arguments alone (a block may be computed twice, anywhere, and neighbours compare what both
have read), shapes are those of the input, and a wrong answer fails the block with a line that says what was wanted. ``region``
tells where in the volume the block lies, so precomputed results can be read by it (see :mod:`mitoscale.nets.oracle`). What the
factory returns is called by one thread at a time unless it says ``concurrent = True``. This module imports no torch; the
embedded networks are imported when they are asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region, Spacing
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.nets.sam_pixel import checked_pixel
from mitoscale.nets.turns import LOADING, DetectorInTurn, MaskSegmenterInTurn, VolumeSegmenterInTurn
from mitoscale.ops.prompts import Prompts


@runtime_checkable
class Detector(Protocol):
    """Finds foreground."""

    def foreground(self, image: np.ndarray, region: Region) -> np.ndarray:
        """Foreground probability of a read region.

        Parameters
        ----------
        image : (Z, Y, X) uint8
            Normalised read region.
        region : Region
            The level-0 voxels it covers.

        Returns
        -------
        (Z, Y, X) float32
            Probability 0..1.
        """


@runtime_checkable
class MaskSegmenter(Protocol):
    """Answers prompts with masks, one slice at a time."""

    def masks(self, image: np.ndarray, foreground: np.ndarray, prompts: Prompts, region: Region) -> tuple[np.ndarray, np.ndarray]:
        """Masks of one slice.

        Parameters
        ----------
        image : (Y, X) uint8
            Normalised slice.
        foreground : (Y, X) float32
            Foreground probability 0..1.
        prompts : Prompts
            N prompts.
        region : Region
            The level-0 voxels the slice covers.

        Returns
        -------
        masks : (N, Y, X) bool
            One a prompt, possibly empty.
        scores : (N,) float32
            Larger is better.
        """


@runtime_checkable
class VolumeSegmenter(Protocol):
    """Segments a whole read region at once (a 3D model)."""

    def fragments(self, image: np.ndarray, foreground: np.ndarray, region: Region) -> np.ndarray:
        """Fragments of a read region.

        Parameters
        ----------
        image : (Z, Y, X) uint8
            Normalised read region.
        foreground : (Z, Y, X) float32
            Foreground probability 0..1.
        region : Region
            The level-0 voxels it covers.

        Returns
        -------
        (Z, Y, X) uint32
            0 is background.
        """


def is_factory(name: str) -> bool:
    """Whether a name means ``pkg.module:factory``.

    Examples
    --------
    >>> is_factory("my_lab.models:mitonet"), is_factory("unet-small")
    (True, False)
    """
    module, _, function = name.partition(":")
    return bool(function) and function.isidentifier() and all(part.isidentifier() for part in module.split("."))


def load_factory(name: str) -> Callable[..., Any]:
    """The factory behind ``pkg.module:factory``.

    Raises
    ------
    InputError
        If it cannot be imported.
    """
    module, _, function = name.partition(":")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"predictor {name!r} cannot be imported ({error}): install its package on every worker, or set PYTHONPATH "
            "to its folder (PYTHONPATH=. where it lies in this one)"
        ) from error
    if not callable(factory := getattr(found, function, None)):
        raise InputError(
            f"predictor {name!r}: {found.__name__} holds no function {function}; give the factory as pkg.module:factory"
        )
    return cast(Callable[..., Any], factory)


def make_detector(settings: DetectSettings, spacing: Spacing) -> Detector:
    """The detector the settings name; networks are loaded once in a process.

    Raises
    ------
    InputError
        If there is none, or it has no ``foreground``.
    """
    if is_factory(settings.detector):
        detector = _made(settings.detector, tuple(sorted(settings.options.items())))
        if not isinstance(detector, Detector):
            raise InputError(f"detector {settings.detector!r} has no method foreground(image, region)")
        return detector if getattr(detector, "concurrent", False) else DetectorInTurn(detector)
    from mitoscale.nets.unet_detector import UNetDetector

    model, pixel_nm = _unet(settings.detector, settings.weights)
    _no_options("detector", settings.detector, settings.options)
    return UNetDetector(model, pixel_nm=pixel_nm, spacing=spacing, mirror=settings.mirror)


def make_segmenter(settings: SegmentSettings, spacing: Spacing) -> MaskSegmenter | VolumeSegmenter | None:
    """The segmenter the settings name; None for ``unet``, where the watershed's profiles are the masks.

    Raises
    ------
    InputError
        If there is none, it has neither ``masks`` nor ``fragments``, or SAM's pixel size is far from the volume's.
    """
    if settings.segmenter == "unet":
        _no_options("segmenter", settings.segmenter, settings.options)
        return None
    if is_factory(settings.segmenter):
        segmenter = _made(settings.segmenter, tuple(sorted(settings.options.items())))
        if not isinstance(segmenter, MaskSegmenter | VolumeSegmenter):
            raise InputError(f"segmenter {settings.segmenter!r} has neither a method masks nor fragments")
        if getattr(segmenter, "concurrent", False):
            return segmenter
        return VolumeSegmenterInTurn(segmenter) if isinstance(segmenter, VolumeSegmenter) else MaskSegmenterInTurn(segmenter)
    if settings.segmenter != "sam":
        raise InputError(f"segmenter {settings.segmenter!r} is none of sam, unet, or pkg.module:factory")
    from mitoscale.nets.sam_segmenter import SamSegmenter

    asked = checked_pixel(settings.sam_pixel_nm, spacing)
    model, pixel_nm = _sam(settings.sam, settings.weights)
    _no_options("segmenter", settings.segmenter, settings.options)
    return SamSegmenter(model, pixel_nm=asked or pixel_nm, spacing=spacing)


def _no_options(kind: str, name: str, options: Mapping[str, Any]) -> None:
    if options:
        raise InputError(f"--{kind}-option {next(iter(options))}: {kind} {name!r} takes no options, only a pkg.module:factory does")


def warm_models(detect: DetectSettings, segment: SegmentSettings, spacing: Spacing) -> None:
    """Load what detect and segment need, so that a worker's first task finds it there.

    Raises
    ------
    InputError
        If it cannot be loaded.
    """
    make_detector(detect, spacing)
    make_segmenter(segment, spacing)


def weights_digest(name_or_path: str) -> str:
    """SHA-256 of the weights file a name or path means; empty for a factory.

    Raises
    ------
    InputError
        If there is no such file.
    """
    if is_factory(name_or_path):
        return ""
    import hashlib

    from mitoscale.nets.embedded import find_weights

    with Path(find_weights(name_or_path)).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _loaded_once(maker: Callable[..., Any]) -> Callable[..., Any]:
    """Cached like ``lru_cache``, which alone would call the maker again for a thread that comes while it is at work."""
    cached = lru_cache(maxsize=4)(maker)

    @wraps(maker)
    def locked(*arguments: Any) -> Any:
        with LOADING:
            return cached(*arguments)

    return locked


@_loaded_once
def _made(name: str, options: tuple[tuple[str, Any], ...]) -> Any:
    try:
        return load_factory(name)(**dict(options))
    except InputError:
        raise
    except Exception as error:  # anything a foreign factory may raise
        raise InputError(f"factory {name} failed ({type(error).__name__}: {error}); check its options") from error


def _check_unchanged(name: str, expected: str) -> None:
    """Raise where the weights are not those the run was begun with; ``expected`` empty: any will do."""
    if expected and weights_digest(name) != expected:
        raise InputError(f"weights {name} have changed since the run began; restore them, or add --redo detect")


@_loaded_once
def _unet(name: str, expected: str) -> tuple[Any, float | tuple[float, float]]:
    import torch

    from mitoscale.nets.checkpoint import load_unet
    from mitoscale.nets.device import device, limit_threads

    limit_threads()
    _check_unchanged(name, expected)
    model, card = load_unet(name)
    if card.pixel_nm is None:
        raise InputError(f"weights {name} do not tell their pixel size")
    return model.to(device(), memory_format=torch.channels_last), card.pixel_nm  # type: ignore[call-overload]


@_loaded_once
def _sam(name: str, expected: str) -> tuple[Any, float | None]:
    from mitoscale.nets.checkpoint import load_sam, square_pixel
    from mitoscale.nets.device import device, limit_threads

    limit_threads()
    _check_unchanged(name, expected)
    model, card = load_sam(name)
    return model.to(device()), square_pixel(card, name)
