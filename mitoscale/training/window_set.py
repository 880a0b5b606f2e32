"""Windows whose embeddings are cached: what fine-tuning and scoring read instead of images."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mitoscale.nets.sam import Sam
from mitoscale.training.embeddings import EmbeddingCache, embedding_shape, fill, window_key
from mitoscale.training.patches import JoinedWindows, Windows, can_be_asked


@dataclass(frozen=True, kw_only=True)
class WindowSet:
    """Windows that hold a profile to ask for, by number; the truth is packed, about a hundred times smaller."""

    cache: EmbeddingCache
    """Where their embeddings are."""
    windows: Windows
    """Where their images come from."""
    numbers: Sequence[int]
    """(N,) which of ``windows``."""
    keys: Sequence[str]
    """(N,) names of their embeddings."""
    packed: Sequence[bytes]
    """(N,) their profiles, compressed."""
    size: int
    """Height and width of a window."""

    def __len__(self) -> int:
        return len(self.keys)

    def embeddings(self, chosen: Sequence[int]) -> torch.Tensor:
        """(N, C, h, w) float16 embeddings."""
        return self.cache.read([self.keys[i] for i in chosen])

    def profiles(self, index: int) -> np.ndarray:
        """(S, S) int32 profiles."""
        return np.frombuffer(zlib.decompress(self.packed[index]), np.int32).reshape(self.size, self.size)

    def image(self, index: int) -> np.ndarray:
        """(S, S) uint8 normalised grey values."""
        return self.windows[self.numbers[index]].image


def window_set(windows: Windows, cache: EmbeddingCache, encoder: str, size: int) -> WindowSet:
    """Look at all windows once: name their embeddings, pack their truth, leave out those with nothing to ask for.

    Parameters
    ----------
    windows : Windows
        The windows.
    cache : EmbeddingCache
        Where embeddings are, or will be.
    encoder : str
        See :func:`~mitoscale.training.embeddings.encoder_digest`.
    size : int
        Height and width of a window.
    """
    numbers, keys, packed = [], [], []
    for number in range(len(windows)):
        window = windows[number]
        if can_be_asked(window.profiles):
            numbers.append(number)
            keys.append(window_key(encoder, window.image))
            packed.append(zlib.compress(window.profiles.tobytes(), 1))
    return WindowSet(cache=cache, windows=windows, numbers=numbers, keys=keys, packed=packed, size=size)


def balanced(sets: Sequence[WindowSet], shares: Sequence[float]) -> WindowSet:
    """Windows of several volumes as one set, as long as all of them, in which each volume has its share.

    Where a volume has more windows than its share gives, they are taken evenly spread; where it has fewer, more than once.

    Parameters
    ----------
    sets : sequence of WindowSet
        One a volume, of a common cache; none is empty.
    shares : sequence of float
        Of each volume, relative to the others, above 0.
    """
    joined = JoinedWindows([one.windows for one in sets])
    numbers, keys, packed = [], [], []
    for one, count, start in zip(sets, shared_out(sum(map(len, sets)), shares), joined.starts, strict=False):
        for i in (place * len(one) // count for place in range(count)):
            numbers.append(int(start) + one.numbers[i])
            keys.append(one.keys[i])
            packed.append(one.packed[i])
    return WindowSet(cache=sets[0].cache, windows=joined, numbers=numbers, keys=keys, packed=packed, size=sets[0].size)


def shared_out(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers in proportion to shares that add up to ``total``.

    Parameters
    ----------
    total : int
        What is shared out.
    shares : sequence of float
        Not negative, not all 0.

    Examples
    --------
    >>> shared_out(10, [5, 1.5, 1.5])
    [6, 2, 2]
    """
    ends = np.rint(np.cumsum([0.0, *shares]) / sum(shares) * total).astype(int)
    counts: list[int] = np.diff(ends).tolist()
    return counts


def embed(sets: Sequence[WindowSet], model: Sam, report: Callable[[int, int], None]) -> None:
    """Compute what is missing of several sets that share a cache.

    Parameters
    ----------
    sets : sequence of WindowSet
        Not empty.
    model : Sam
        The network whose digest named the keys, on its device.
    report : callable
        Called with windows done and windows in all.

    Raises
    ------
    InputError
        If they are more than the cache may hold.
    StoppedError
        If the disk is full.
    """
    places = {key: (one, i) for one in sets for i, key in enumerate(one.keys)}  # windows may come more than once
    keys, cache = list(places), sets[0].cache
    cache.make_room(cache.size(keys, embedding_shape(model)), keys)

    def image(number: int) -> np.ndarray:
        one, i = places[keys[number]]
        return one.image(i)

    fill(cache, model, keys, image, report)
