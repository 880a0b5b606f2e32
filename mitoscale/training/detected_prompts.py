"""Prompts as a U-Net gives them: on the crop itself, as changed as it is, with all that it mistakes there.

Prompts that are simulated from truth ask for what is there. What a run asks of SAM are the U-Net's profiles: too large, too small,
two in one, or none at all, such as a vesicle; and SAM should tell the last by its score.
"""

from __future__ import annotations

import os

import numpy as np
import torch

from mitoscale.core.errors import InputError
from mitoscale.core.file_digest import file_sha256
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.nets.checkpoint import find_weights, load_unet
from mitoscale.nets.device import autocast
from mitoscale.nets.sam_questions import points_of, questions_of
from mitoscale.nets.unet import UNet, folded_normalisation
from mitoscale.ops.fusion import Fusion
from mitoscale.training.prompts import Prompted

WINDOW_PIXEL_NM = 5.0
"""Pixel size of the windows that a small SAM learns from."""

_RIGHT, _WRONG = 0.5, 0.1
"""Part of a found profile in one of the truth from which it asks for that; and in any below which it asks for nothing."""


def asking_network(detector: str) -> dict[str, str]:
    """Name and SHA-256 of a U-Net whose prompts a SAM is to learn from, for its record.

    Parameters
    ----------
    detector : str
        Embedded U-Net by name, or a weights file by path.

    Raises
    ------
    InputError
        If the weights are not a U-Net's, or do not work at the pixel size of SAM's windows.
    """
    DetectedPrompts(detector, WINDOW_PIXEL_NM)
    return {"weights": os.path.basename(detector), "sha256": file_sha256(find_weights(detector))}


class DetectedPrompts:
    """What a run would ask SAM where this U-Net detects: for the profiles that it is unsure of.

    The network is loaded where it is first asked, so that it reaches other processes as a name.

    Parameters
    ----------
    detector : str
        Embedded U-Net by name, or a weights file by path.
    pixel_nm : float
        Pixel size of the crops.

    Raises
    ------
    InputError
        If the weights are not a U-Net's, or work at another pixel size.
    """

    def __init__(self, detector: str, pixel_nm: float) -> None:
        network, card = load_unet(detector)
        if card.pixel_nm != pixel_nm:
            raise InputError(
                f"--prompts-of {detector} works at pixels of {card.pixel_nm} nm, SAM's windows have {pixel_nm:g}; give a U-Net of "
                "that pixel size, such as unet-small"
            )
        self.detector = detector
        self.context_nm = network.config.context_nm
        spacing = (1000.0, pixel_nm, pixel_nm)
        self._fusion = Fusion(detect=DetectSettings(), segment=SegmentSettings(), spacing=spacing)
        self._network: UNet | None = None

    @property
    def middle(self) -> int:
        """The channel of the slice itself."""
        return min(range(len(self.context_nm)), key=lambda i: abs(self.context_nm[i]))

    def ask(self, image: np.ndarray, truth: np.ndarray, count: int, rng: np.random.Generator) -> Prompted | None:
        """Prompts for what the U-Net is unsure of in a crop.

        Parameters
        ----------
        image : (C, S, S) uint8
            Normalised grey values: the U-Net's context slices.
        truth : (S, S) integer
            Connected 2D profiles, 0 is background; negative where nobody has annotated.
        count : int
            Most prompts wanted.
        rng : numpy Generator
            Chooses among them.

        Returns
        -------
        Prompted or None
            None where a run would ask for nothing, or the truth of it is not clear.
        """
        found = self._fusion.profiles(self._foreground(image)[None])
        size = truth.shape[0]
        questions = questions_of(found.prompts()[0], (0, 0), (1.0, 1.0), size, context=size // 16)
        asked = [(q, mask) for q in questions if not q.part and (mask := _wanted(found.wide[0] == q.profile, truth)) is not None]
        if not asked:
            return None
        chosen = [asked[i] for i in rng.permutation(len(asked))[:count]]
        points, meaning = (np.stack(kind) for kind in zip(*(points_of(question, "both") for question, _ in chosen), strict=True))
        return Prompted(points=points, meaning=meaning, masks=np.stack([m for _, m in chosen]), known=truth >= 0)

    def _foreground(self, image: np.ndarray) -> np.ndarray:
        """(S, S) float32 probability of the crop's slice."""
        if self._network is None:
            self._network = folded_normalisation(load_unet(self.detector)[0]).eval()
        with torch.inference_mode(), autocast(torch.device("cpu")):
            logits = self._network(torch.from_numpy(image)[None].float() / 255)
        foreground: np.ndarray = logits.float().sigmoid()[0, 0].numpy()
        return foreground


def _wanted(profile: np.ndarray, truth: np.ndarray) -> np.ndarray | None:
    """(S, S) bool: the true profile that a found one asks for; empty where there is none; None where that is not clear.

    Examples
    --------
    >>> truth, found = np.zeros((4, 4), int), np.zeros((4, 4), bool)
    >>> truth[:2], found[0] = 3, True
    >>> int(_wanted(found, truth).sum()), _wanted(~found, truth), int(_wanted(found[::-1], truth).sum())
    (8, None, 0)
    """
    under = truth[profile]
    if (under < 0).any():
        return None
    counts = np.bincount(under)
    counts[0] = 0
    if counts.max(initial=0) >= _RIGHT * len(under):
        best: np.ndarray = truth == counts.argmax()
        return best
    return np.zeros(truth.shape, bool) if counts.sum() < _WRONG * len(under) else None
