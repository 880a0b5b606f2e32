"""A detector or segmenter from its name: embedded weights, a weights file, or anyone's ``pkg.module:factory``.

This module imports no torch; the embedded networks are imported when they are asked for, and loaded once in a process.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from typing import Any, cast

from mitoscale.core.errors import InputError
from mitoscale.core.file_digest import file_sha256
from mitoscale.core.geometry import Spacing
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.nets.gpu_lock import LOADING, LockedDetector, LockedMaskSegmenter, LockedVolumeSegmenter
from mitoscale.nets.predictors import Detector, MaskSegmenter, VolumeSegmenter
from mitoscale.nets.sam_pixel import checked_pixel


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

    Parameters
    ----------
    settings : DetectSettings
        Name, weights, options.
    spacing : (z, y, x)
        Voxel size of the volume in nm.

    Raises
    ------
    InputError
        If there is none, or it has no ``foreground``.
    """
    from mitoscale.nets.foreign import is_foreign, make_foreign

    if is_factory(settings.detector) and not is_foreign(settings.detector):
        detector = _made(settings.detector, tuple(sorted(settings.options.items())))
        if not isinstance(detector, Detector):
            raise InputError(f"detector {settings.detector!r} has no method foreground(image, region)")
        return detector if getattr(detector, "concurrent", False) else LockedDetector(detector)
    asked = checked_pixel(settings.pixel_nm, spacing, "--detector-pixel")
    if is_foreign(settings.detector):
        options = tuple(sorted(settings.options.items()))
        loaded = _foreign(settings.detector, settings.weights, options)
        network = make_foreign(settings.detector, loaded, settings.options, pixel_nm=asked, spacing=spacing)
        return cast(Detector, network)
    from mitoscale.nets.unet_detector import UNetDetector

    model, pixel_nm = _unet(settings.detector, settings.weights)
    _no_options("detector", settings.detector, settings.options)
    return UNetDetector(model, pixel_nm=asked or pixel_nm, spacing=spacing, mirror=settings.mirror)


def make_segmenter(settings: SegmentSettings, spacing: Spacing) -> MaskSegmenter | VolumeSegmenter | None:
    """The segmenter the settings name; None for ``unet``, where the watershed's profiles are the masks.

    Parameters
    ----------
    settings : SegmentSettings
        Name, weights, options.
    spacing : (z, y, x)
        Voxel size of the volume in nm.

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
        return LockedVolumeSegmenter(segmenter) if isinstance(segmenter, VolumeSegmenter) else LockedMaskSegmenter(segmenter)
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


def preload_models(detect: DetectSettings, segment: SegmentSettings, spacing: Spacing) -> None:
    """Load what detect and segment need, so that a worker's first task finds it there.

    Parameters
    ----------
    detect : DetectSettings
        Names the detector.
    segment : SegmentSettings
        Names the segmenter.
    spacing : (z, y, x)
        Voxel size of the volume in nm.

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
    from mitoscale.nets.foreign import foreign_digest, is_foreign

    if is_foreign(name_or_path):
        return foreign_digest(name_or_path)
    if is_factory(name_or_path):
        return ""
    from mitoscale.nets.named_weights import find_weights

    return file_sha256(find_weights(name_or_path))


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
    from mitoscale.nets.unet import folded_normalisation

    limit_threads()
    _check_unchanged(name, expected)
    model, card = load_unet(name)
    if card.pixel_nm is None:
        raise InputError(f"weights {name} do not tell their pixel size")
    quick = folded_normalisation(model).to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    return quick, card.pixel_nm


@_loaded_once
def _foreign(name: str, expected: str, options: tuple[tuple[str, Any], ...]) -> Any:
    from mitoscale.nets.device import limit_threads
    from mitoscale.nets.foreign import load_foreign

    limit_threads()
    _check_unchanged(name, expected)
    return load_foreign(name, dict(options))


@_loaded_once
def _sam(name: str, expected: str) -> tuple[Any, float | None]:
    from mitoscale.nets.checkpoint import load_sam, square_pixel
    from mitoscale.nets.device import device, limit_threads

    limit_threads()
    _check_unchanged(name, expected)
    model, card = load_sam(name)
    return model.to(device()), square_pixel(card, name)
