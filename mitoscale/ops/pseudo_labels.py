"""Labels of a slice from predictions alone: what several views of a network, and SAM, agree on; the rest is unknown."""

from __future__ import annotations

import numpy as np

UNKNOWN = -1
"""Label of pixels on which they do not agree."""


def pseudo_labels(
    views: np.ndarray,
    profiles: np.ndarray,
    judged: np.ndarray | None = None,
    *,
    inside: float = 0.6,
    outside: float = 0.15,
    let_out: float = 0.2,
) -> np.ndarray:
    """Pixels that are mitochondrion or background for sure, as far as predictions can tell.

    Without a judge a profile's pixel is inside where the mean of the views is at least ``inside`` and each single one above a half.
    A judge's mask decides on its outline: what it claims is inside from ``let_out`` on, and what a profile has beyond it is
    unknown; a profile without a mask is unknown as a whole. Background is where no view and no mask says otherwise.

    Parameters
    ----------
    views : (V, Y, X) float32
        Foreground probability 0..1 of the same slice, seen in different ways.
    profiles : (Y, X) int
        Profiles with the unsure pixels around each; 0 is background.
    judged : (Y, X) int, optional
        The profile that a judge's mask claims each pixel for; 0: none.
    inside, outside, let_out : float
        Probabilities.

    Returns
    -------
    (Y, X) int32
        Numbers of profiles, 0 for background, :data:`UNKNOWN` elsewhere.

    Examples
    --------
    >>> views = np.array([[[0.0, 0.3, 0.9, 0.9]], [[0.0, 0.3, 0.9, 0.3]]], np.float32)
    >>> profiles = np.array([[0, 1, 1, 1]])
    >>> pseudo_labels(views, profiles).tolist()
    [[0, -1, 1, -1]]
    >>> pseudo_labels(views, profiles, np.array([[0, 1, 1, 0]])).tolist()
    [[0, 1, 1, -1]]
    """
    mean = views.mean(axis=0)
    if judged is None:
        sure = (mean >= inside) & (views.min(axis=0) > 0.5)
        number = profiles
    else:
        sure = (judged > 0) & (mean >= let_out)
        number = judged
    empty = (mean < outside) & (views.max(axis=0) < 0.5)
    if judged is not None:
        empty &= judged == 0
    return np.where(sure & (number > 0), number, np.where(empty, 0, UNKNOWN)).astype(np.int32)
