"""Whether a network that was adapted is better than before, by signs that need no truth."""

from __future__ import annotations

from mitoscale.training.adapt_signals import Signals

LEAST_FOREGROUND, MOST_FOREGROUND = 0.002, 0.5
"""Part of the tissue that mitochondria can be: from almost none to half of heart muscle."""

LEAST_PLAUSIBLE = 0.8
"""Part of the foreground that must be in profiles as large as mitochondria."""

LEAST_FLIPS, LEAST_CHANGED, LEAST_SURE, LEAST_SAM = 0.7, 0.5, 0.4, 0.6
"""Agreement below which what is found is a matter of chance."""

LEAST_KEPT = 0.7
"""Part of what was sure before that must be found afterwards."""

LEAST_GAIN = 0.005
"""How much better than before the score must be."""

CHANCE = 0.01
"""What a round may lose of the score: it finds more of what is faint, on which all agree a little less."""


def no_ground(now: Signals) -> str:
    """Why what a network finds is nothing to learn from, in words; empty where it is.

    It must agree with itself and with SAM. How sure it is, and how it takes other grey values, is what it learns.

    Parameters
    ----------
    now : Signals
        Of the windows that are not learnt from.
    """
    if now.foreground < LEAST_FOREGROUND:
        return f"it finds next to nothing ({now.foreground:.2%} of the tissue, the least is {LEAST_FOREGROUND:.1%})"
    if now.foreground > MOST_FOREGROUND:
        return f"it takes {now.foreground:.0%} of the tissue for mitochondria (at most {MOST_FOREGROUND:.0%} can be)"
    if now.plausible < LEAST_PLAUSIBLE:
        return f"{now.plausible:.0%} of what it finds is as large as mitochondria are (the least is {LEAST_PLAUSIBLE:.0%})"
    return _disagreement(("seen turned round", now.flips, LEAST_FLIPS), ("held against SAM's outlines", now.sam, LEAST_SAM))


def doubts(now: Signals, kept: float) -> str:
    """What is wrong with what an adapted network finds, in words; empty where it can be.

    Parameters
    ----------
    now : Signals
        Of the windows that were not learnt from.
    kept : float
        Part of what was sure before adapting that is found now.
    """
    lost = f"of what was sure before it finds {kept:.0%} again (the least is {LEAST_KEPT:.0%})" if kept < LEAST_KEPT else ""
    unsure = _disagreement(
        ("seen with other grey values", now.changed, LEAST_CHANGED), ("asked how sure it is", now.sure, LEAST_SURE)
    )
    return no_ground(now) or lost or unsure


def _disagreement(*agreements: tuple[str, float | None, float]) -> str:
    """The first agreement that is below its least, in words."""
    for how, value, least in agreements:
        if value is not None and value < least:
            return f"{how} it agrees to {value:.2f} (the least is {least:.2f})"
    return ""


def better(now: Signals, before: Signals, best: Signals) -> bool:
    """Whether the score has risen since all began by more than chance, and has not fallen since by more than chance.

    Parameters
    ----------
    now : Signals
        Of what is judged.
    before : Signals
        Of what all began with.
    best : Signals
        Of what would be kept otherwise.
    """
    return now.score >= max(before.score + LEAST_GAIN, best.score - CHANCE)
