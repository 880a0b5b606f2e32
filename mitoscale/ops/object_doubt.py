"""How sure the models were of objects and profiles, from what their tables already say."""

from __future__ import annotations

import numpy as np


def object_doubt(foreground: np.ndarray, agreement: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Doubt about objects: they are sure only where all that is known of them is.

    Parameters
    ----------
    foreground : (N,) float, 0..1
        Mean foreground probability within each object.
    agreement : (N,) float, 0..1
        Part of each object that the detector takes for foreground.
    score : (N,) float, 0..1 or NaN
        Mean score of the segmenter's masks; NaN where there is none.

    Returns
    -------
    (N,) float64, 0..1
        1 minus the product of the three.

    Examples
    --------
    >>> object_doubt(np.array([1.0, 0.8]), np.array([1.0, 1.0]), np.array([np.nan, 0.5])).round(2).tolist()
    [0.0, 0.6]
    """
    sure = np.clip(foreground, 0, 1) * np.clip(agreement, 0, 1) * np.where(np.isnan(score), 1.0, np.clip(score, 0, 1))
    result: np.ndarray = 1.0 - sure
    return result


def profile_doubt(probability: np.ndarray) -> np.ndarray:
    """Doubt about profiles: 1 where the mean foreground probability is a half, 0 where it is 0 or 1.

    Parameters
    ----------
    probability : (N,) float, 0..1
        Mean foreground probability of each profile.

    Examples
    --------
    >>> profile_doubt(np.array([0.5, 0.75, 1.0])).tolist()
    [1.0, 0.5, 0.0]
    """
    result: np.ndarray = 1.0 - np.abs(2.0 * np.clip(probability, 0, 1) - 1.0)
    return result
