"""Signs of quality that need no truth, and the verdict on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from mitoscale.core.geometry import Spacing
from mitoscale.training.adapt_answers import Answer

PLAUSIBLE_NM = (100.0, 3_000.0)
"""Diameter of the circle with a profile's area: mitochondria in cross-section, and long ones cut lengthwise."""


SURE = 0.8
"""Mean probability from which a pixel is surely foreground."""


@dataclass(frozen=True, kw_only=True)
class Signals:
    """What several windows say together; parts are 0..1."""

    foreground: float
    """Part of the pixels that is foreground."""
    profiles: int
    """How many profiles there are."""
    plausible: float
    """Part of the foreground in profiles as large as mitochondria are."""
    flips: float
    """IoU of the foreground of any two orientations, mean."""
    changed: float
    """IoU of the foreground with that of the same windows with other grey values, noise and sharpness."""
    sure: float
    """1 less the uncertain part: the uncertainty (0 sure .. 1 for a probability of a half) summed, over the foreground's area."""
    sam: float | None
    """IoU of each profile with SAM's mask for it, mean by area; None: SAM was not asked."""

    @property
    def score(self) -> float:
        """Mean of those that say how well all agree; ``sure`` is none of them: it falls where more of what is faint is found."""
        parts = [self.flips, self.changed, *([self.sam] if self.sam is not None else [])]
        return float(np.mean(parts))

    def record(self) -> dict[str, float | int]:
        """All of it, rounded, for people and files."""
        values = {name: value for name, value in {**asdict(self), "score": self.score}.items() if value is not None}
        return {name: value if isinstance(value, int) else round(value, 4) for name, value in values.items()}


def signals(answers: Sequence[Answer], spacing: Spacing) -> Signals:
    """The signals of some windows.

    Parameters
    ----------
    answers : sequence of Answer
        One a window.
    spacing : (z, y, x)
        Voxel size in nm.
    """
    pixel = spacing[1] * spacing[2]
    areas = np.concatenate([np.bincount(a.profiles.ravel())[1:] for a in answers]).astype(float)
    diameters = 2 * np.sqrt(areas * pixel / np.pi)
    plausible = areas[(diameters >= PLAUSIBLE_NM[0]) & (diameters <= PLAUSIBLE_NM[1])].sum()
    pixels = sum(a.profiles.size for a in answers)
    area = areas.sum()
    means = [a.mean for a in answers]
    found = sum(int((m >= 0.5).sum()) for m in means)
    unsure = sum(float((1 - np.abs(2 * m - 1)).sum()) for m in means)
    outlines = [a.outline for a in answers if a.outline is not None]
    views = [a.views >= 0.5 for a in answers]
    pairs = [(i, j) for i in range(len(views[0])) for j in range(i)]
    return Signals(
        foreground=float(area / pixels),
        profiles=len(areas),
        plausible=float(plausible / max(area, 1)),
        flips=float(np.mean([_iou([(v[i], v[j]) for v in views]) for i, j in pairs])),
        changed=_iou([(m >= 0.5, a.changed >= 0.5) for m, a in zip(means, answers, strict=True)]),
        sure=float(max(0.0, 1 - unsure / max(found, 1))),
        sam=float(sum(outlines) / max(area, 1)) if outlines else None,
    )


def kept(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> float:
    """Part of what was sure foreground before that is foreground after; 1 where there was none.

    Parameters
    ----------
    before, after : sequences of (Y, X) float32
        Probability 0..1 in the same windows.
    """
    sure = [b >= SURE for b in before]
    both = sum(int((s & (a >= 0.5)).sum()) for s, a in zip(sure, after, strict=True))
    return both / total if (total := sum(int(s.sum()) for s in sure)) else 1.0


def _iou(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    both = sum(int((a & b).sum()) for a, b in pairs)
    either = sum(int((a | b).sum()) for a, b in pairs)
    return both / either if either else 0.0
