"""Which of the embedded U-Nets suits a volume: the one of one tissue where it knows what it sees, else the one of several tissues.

No truth is needed: a network that knows a tissue answers alike when it sees it turned round, and one that does not, does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mitoscale.core.detector_names import ONE_TISSUE, SEVERAL_TISSUES
from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.core.settings import DetectSettings
from mitoscale.evaluation.grey_volume import GreyVolume
from mitoscale.evaluation.tissue_windows import EDGE_NM, Window, tissue_windows

KNOWN = 0.9
"""Agreement with itself from which the first is taken to know the tissue: 0.96 where it does, at most 0.78 on six other volumes."""

MUCH_BETTER = 0.1
"""How much more the first must agree with itself than the second to be taken on a tissue that neither knows."""

_WINDOWS = (2, 8)
"""Fewest and most windows that are looked at ..."""

_SHARE = 0.1
"""... and the largest part of the volume that they may be: a small one is worked on sooner than looked at."""

_CONTEXT_NM = (-40.0, 40.0)
"""The neighbouring slices that the embedded U-Nets see."""


@dataclass(frozen=True, kw_only=True)
class DetectorChoice:
    """An embedded U-Net, and why it was chosen."""

    detector: str
    """Its name."""
    agreement: Mapping[str, float]
    """IoU 0..1 of the foreground of the same windows as they are and turned round, by name of the network that was asked."""
    windows: int = 0
    """How many were looked at."""

    @property
    def knows(self) -> bool:
        """Whether it surely knows the tissue: a few windows may agree by chance."""
        return self.detector == ONE_TISSUE and self.agreement.get(ONE_TISSUE, 0.0) >= KNOWN and self.windows >= _WINDOWS[1]

    def told(self) -> str:
        """One line for people.

        Examples
        --------
        >>> DetectorChoice(detector="unet-small", agreement={"unet-small": 0.971}).told()
        'unet-small, chosen for this volume by how alike it finds what is turned round: unet-small 0.97'
        >>> DetectorChoice(detector="unet-varied", agreement={"unet-small": 0.7, "unet-varied": 0.8}).told().partition("; ")[2]
        'it may find more after mitoscale adapt, which needs no labels'
        """
        if not self.agreement:
            return f"{self.detector}, as there is no tissue to choose by"
        if not any(self.agreement.values()):
            return f"{self.detector}, chosen though neither embedded U-Net finds anything in the windows that were looked at"
        said = ", ".join(f"{name} {value:.2f}" for name, value in self.agreement.items())
        more = "; it may find more after mitoscale adapt, which needs no labels" if self.agreement[self.detector] < KNOWN else ""
        return f"{self.detector}, chosen for this volume by how alike it finds what is turned round: {said}{more}"


def choose_detector(volume: GreyVolume, part: Region | None = None) -> DetectorChoice:
    """The embedded U-Net for a volume.

    Parameters
    ----------
    volume : GreyVolume
        Of which a few windows are read.
    part : Region, optional
        What will be worked on; without it, all.
    """
    try:
        windows = _windows(volume, part or Region.of_shape(volume.source.shape))
    except InputError:
        return DetectorChoice(detector=ONE_TISSUE, agreement={})
    return replace(choice_of(lambda name: _agreement(name, windows, volume)), windows=len(windows))


def agreement_in(volume: GreyVolume, name: str) -> float:
    """How well a network agrees with itself in a volume, 0..1.

    Parameters
    ----------
    volume : GreyVolume
        Of which a few windows are read.
    name : str
        Embedded weights by name, or a weights file by path.

    Raises
    ------
    InputError
        If there is no window with tissue, or the weights are not a U-Net's.
    """
    return _agreement(name, _windows(volume, Region.of_shape(volume.source.shape)), volume)


def choice_of(agreement: Callable[[str], float]) -> DetectorChoice:
    """The embedded U-Net, from how well each agrees with itself; the second is asked only where the first does not know the tissue.

    Parameters
    ----------
    agreement : callable
        Gives it, 0..1, for the name of a network.

    Examples
    --------
    >>> choice_of({"unet-small": 0.96}.__getitem__).detector
    'unet-small'
    >>> choice_of({"unet-small": 0.78, "unet-varied": 0.77}.__getitem__).detector
    'unet-varied'
    >>> choice_of({"unet-small": 0.78, "unet-varied": 0.5}.__getitem__).detector
    'unet-small'
    """
    first = agreement(ONE_TISSUE)
    if first >= KNOWN:
        return DetectorChoice(detector=ONE_TISSUE, agreement={ONE_TISSUE: first})
    second = agreement(SEVERAL_TISSUES)
    taken = ONE_TISSUE if first > second + MUCH_BETTER else SEVERAL_TISSUES
    return DetectorChoice(detector=taken, agreement={ONE_TISSUE: first, SEVERAL_TISSUES: second})


def _windows(volume: GreyVolume, part: Region) -> list[Window]:
    height, width = (min(n, round(EDGE_NM / s)) for n, s in zip(part.shape[1:], volume.spacing[1:], strict=True))
    count = int(np.clip(_SHARE * part.size / (height * width), *_WINDOWS))
    return tissue_windows(volume, _CONTEXT_NM, count, seed=0, part=part, least=1)


def _agreement(name: str, windows: Sequence[Window], volume: GreyVolume) -> float:
    """IoU of what a network finds in all windows as they are and turned round by half; 0 where it finds nothing."""
    from mitoscale.nets.unet_detector import detector_on_cpu

    detector, threshold = detector_on_cpu(name, volume.spacing), DetectSettings().threshold
    both = either = 0
    for window in windows:
        (straight,) = detector.probability(window.image, [window.own]) >= threshold
        (turned,) = detector.probability(np.ascontiguousarray(window.image[:, ::-1, ::-1]), [window.own]) >= threshold
        tissue = True if window.padding is None else ~window.padding
        straight, again = straight & tissue, turned[::-1, ::-1] & tissue
        both += int((straight & again).sum())
        either += int((straight | again).sum())
    return both / either if either else 0.0
