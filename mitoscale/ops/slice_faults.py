"""Which slices of a volume are lost or bad, from what is known of each and of how like it is to its neighbours.

Every rule compares a slice with those beside it, so that a volume of thick sections, blurred throughout or dark throughout, has no
bad slices. The thresholds were chosen on other slices than those on which results are reported (``benchmarks/faults.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mitoscale.ops.padding_detection import flat_runs
from mitoscale.ops.slice_sums import Sums, likeness, slice_sums

_LOST = 0.2
"""Part of a slice that must be without tissue, while its neighbours have some there, for it to be lost."""
_BLACK = 0.9
"""... from which on nothing of the slice is used."""
_UNLIKE = 0.85
"""A slice lies elsewhere where both neighbours are less like it than so much of how like they are to each other ..."""
_ALIKE, _CHANCE = 0.2, 4.0
"""... provided that is at least so much, and so many times what chance makes of slices that have nothing in common."""
_BLURRED = 0.4
"""Part of its neighbours' sharpness below which a slice is blurred."""
_BRIGHTER = 1.0
"""Difference of its mean from its neighbours', in standard deviations, from which on its brightness is another."""
_CONTRAST = 1.5
"""Factor between its contrast and its neighbours' from which on it is another."""
_JUMP = 0.4
"""Part of the usual likeness of neighbours below which everything from a slice on lies elsewhere."""
_MOST = 0.2
"""Where more slices than this seem bad by comparison, the rules do not fit the volume: only lost ones count."""


@dataclass(frozen=True, kw_only=True)
class SliceFacts:
    """What is known of all slices, (Z,) each."""

    padding: np.ndarray
    """Part that is padding, 0..1."""
    missing: np.ndarray
    """Bool: the source has no such slice."""
    cells: np.ndarray
    """Cells that are compared with other slices."""
    mean: np.ndarray
    """Mean grey value of the tissue; NaN without tissue."""
    deviation: np.ndarray
    """Its standard deviation over cells of 8 x 8 pixels."""
    sharpness: np.ndarray
    """Squared differences of neighbouring pixels over the variance."""
    next: np.ndarray
    """Likeness with the next slice; NaN where there is none to compare."""
    second: np.ndarray
    """Likeness with the slice after it."""
    digest: np.ndarray
    """Equal for slices that are equal to the last bit."""


def facts_of_sums(sums: Sums, padding: np.ndarray, missing: np.ndarray) -> SliceFacts:
    """What is known of slices, from sums over all of each.

    Parameters
    ----------
    sums : dict
        From :func:`mitoscale.ops.slice_sums.slice_sums`.
    padding : (Z,) float
        Part of each slice that is padding.
    missing : (Z,) bool
        Slices that the source has not.
    """
    cells = sums["tissue"].astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums["sum"] / cells
        variance = sums["squares"] / cells - mean**2
        sharpness = sums["edges"] / cells / variance
    return SliceFacts(
        padding=padding,
        missing=missing,
        cells=cells,
        mean=mean,
        deviation=np.sqrt(np.maximum(variance, 0)),
        sharpness=sharpness,
        next=likeness(sums, 1),
        second=likeness(sums, 2),
        digest=sums["digest"],
    )


def states_of_stack(image: np.ndarray, padding: np.ndarray) -> np.ndarray:
    """The state of each slice of a stack that is at hand: see :func:`slice_states`.

    Parameters
    ----------
    image : (Z, Y, X)
        Grey values.
    padding : (Z, Y, X) bool
        Where there is no tissue.
    """
    sums = slice_sums(image, flat_runs(image), len(image))
    return slice_states(facts_of_sums(sums, padding.mean((1, 2)), np.zeros(len(image), bool)))


def slice_states(facts: SliceFacts) -> np.ndarray:
    """The state of each slice.

    Parameters
    ----------
    facts : SliceFacts
        Of the whole volume.

    Returns
    -------
    (Z,) str
        ``good``, ``missing``, ``lost``, ``partly lost``, ``duplicate``, ``elsewhere``, ``blurred``, ``brightness``, or ``jump``
        (it is good, but from it on everything lies elsewhere).
    """
    depth = len(facts.padding)
    states = np.full(depth, "good", dtype="<U12")
    without = facts.padding - _beside(facts.padding)
    states[without >= _LOST] = "partly lost"
    states[(without >= _LOST) & (facts.padding >= _BLACK)] = "lost"
    states[facts.missing] = "missing"
    usual = np.nanmedian(facts.next) if np.isfinite(facts.next).any() else np.nan
    for z in range(1, depth):
        if states[z] != "good" or states[z - 1] in ("lost", "partly lost", "missing"):
            continue
        if facts.digest[z] == facts.digest[z - 1] and facts.padding[z] < _BLACK:
            states[z] = "duplicate"
        elif usual > _ALIKE and facts.next[z - 1] < _JUMP * usual:
            states[z] = "jump"
    for z in range(1, depth - 1):
        if states[z] not in ("good", "jump") or states[z - 1] not in ("good", "jump") or states[z + 1] not in ("good", "jump"):
            continue
        around, across = max(facts.next[z - 1], facts.next[z]), facts.second[z - 1]
        sharp = min(facts.sharpness[z - 1], facts.sharpness[z + 1])
        steps = facts.mean[z] - facts.mean[[z - 1, z + 1]]
        low, high = sorted((facts.deviation[z - 1], facts.deviation[z + 1]))
        if across > max(_ALIKE, _CHANCE / np.sqrt(max(facts.cells[z], 1))) and around < _UNLIKE * across:
            states[z] = "elsewhere"
            states[z + 1] = "good"  # no jump, but back to where it was
        elif facts.sharpness[z] < _BLURRED * sharp:
            states[z] = "blurred"
        elif not np.isfinite([*steps, low, high, facts.deviation[z]]).all():
            continue
        elif (steps[0] * steps[1] > 0 and abs(steps).min() > _BRIGHTER * low) or not low / _CONTRAST <= facts.deviation[
            z
        ] <= high * _CONTRAST:
            states[z] = "brightness"
    judged = np.isin(states, ("duplicate", "elsewhere", "blurred", "brightness"))
    if judged.mean() > _MOST:
        states[judged] = "good"
    return states


def _beside(padding: np.ndarray) -> np.ndarray:
    """(Z,) least padding of some slices on each side, the larger of both; 1 where one side is unknown and the slice not black."""
    depth = len(padding)
    result = np.ones(depth)
    for z in range(depth):
        sides = [side.min() for side in (padding[max(0, z - _REACH) : z], padding[z + 1 : z + 1 + _REACH]) if len(side)]
        if len(sides) == 2 or (sides and padding[z] >= _BLACK):
            result[z] = max(sides)
    return result


_REACH = 7
"""Slices on each side among which a whole one must be, for a slice to be lost."""
