"""Which samples a step sees: each epoch goes once over all of them, in an order that seed and epoch alone decide."""

from __future__ import annotations

import numpy as np


def epoch_steps(count: int, batch: int) -> int:
    """Steps of an epoch.

    Parameters
    ----------
    count : int
        Samples.
    batch : int
        Samples a step.

    Examples
    --------
    >>> epoch_steps(10, 4)
    3
    """
    return -(-count // batch)


def epoch_batch(count: int, batch: int, step: int, seed: int) -> tuple[int, list[int]]:
    """The epoch a step is in, and its samples; the last step of an epoch may have fewer.

    Parameters
    ----------
    count : int
        Samples in all.
    batch : int
        Samples a step.
    step : int
        Counted from 0 over all epochs.
    seed : int
        Decides the order.

    Examples
    --------
    >>> batches = [epoch_batch(5, 2, step, seed=0) for step in range(3)]
    >>> [epoch for epoch, _ in batches], sorted(sum((chosen for _, chosen in batches), []))
    ([0, 0, 0], [0, 1, 2, 3, 4])
    """
    epoch, place = divmod(step, epoch_steps(count, batch))
    order = np.random.default_rng([seed, epoch]).permutation(count)
    chosen: list[int] = order[place * batch : (place + 1) * batch].tolist()
    return epoch, chosen
