"""The embedding cache: what a frozen image encoder makes of a window is computed once, and kept on disk.

A file's name is a digest of all that its content depends on: the window's normalised pixels, the encoder's weights, the encoder's
own normalisation, and the precision it ran in. So a file is never wrong, whoever made it, and a stopped job finds what it made.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.nets.device import autocast
from mitoscale.nets.sam import Sam
from mitoscale.storage.atomic import replacing

_HEADER = 128
"""Bytes of a .npy file before its values."""


@dataclass(frozen=True, kw_only=True)
class CacheSize:
    """What a cache will take, told before it is built."""

    windows: int
    """Windows in all."""
    present: int
    """Of them, those that are there already."""
    window_bytes: int
    """Bytes on disk of one."""

    @property
    def total(self) -> int:
        """Bytes of all of them."""
        return self.windows * self.window_bytes


class EmbeddingCache:
    """Embeddings in a folder, bounded in size; the oldest unused ones make room.

    Only the windows of one batch are in memory at a time.

    Parameters
    ----------
    folder : Path
        Where they are kept.
    limit : int
        Largest size of the folder in bytes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def size(self, keys: Sequence[str], shape: tuple[int, int, int]) -> CacheSize:
        """What these windows take, of embeddings of a (C, h, w) ``shape``.

        Parameters
        ----------
        keys : sequence of str
            Keys of the windows.
        shape : (C, h, w)
            Of one embedding.
        """
        bytes_each = _HEADER + 2 * int(np.prod(shape))
        present = sum(self._whole(self._path(key), bytes_each) for key in keys)
        return CacheSize(windows=len(keys), present=present, window_bytes=bytes_each)

    def make_room(self, size: CacheSize, keys: Sequence[str]) -> None:
        """Remove the longest unused files that are not among ``keys``, until the rest and the new ones fit the limit.

        Parameters
        ----------
        size : CacheSize
            From :meth:`size`.
        keys : sequence of str
            Windows that are needed now.

        Raises
        ------
        InputError
            If these windows alone are more than the limit.
        """
        if size.total > self.limit:
            raise InputError(
                f"embeddings of {size.windows} windows take {size.total / 1e9:.3g} GB, the cache's limit is "
                f"{self.limit / 1e9:.3g} GB: raise --cache-size, or train on fewer slices"
            )
        wanted = {self._path(key) for key in keys}
        others = []
        for path in self.folder.glob("*/*.npy"):
            if path not in wanted:
                with suppress(FileNotFoundError):  # another job may tidy up at the same time
                    status = path.stat()
                    others.append((status.st_mtime, status.st_size, path))
        excess = sum(length for _, length, _ in others) + size.total - self.limit
        for _, length, path in sorted(others):
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= length

    def write(self, key: str, embedding: np.ndarray) -> None:
        """Keep an embedding.

        Parameters
        ----------
        key : str
            See :func:`window_key`.
        embedding : (C, h, w) float16
            What the encoder made of the window.

        Raises
        ------
        StoppedError
            If the disk is full or cannot be written.
        """
        try:
            with replacing(str(self._path(key)), durable=False) as part, open(part, "wb") as file:
                np.save(file, embedding)
        except StoppedError as error:
            raise StoppedError(
                f"embedding cache {self.folder} cannot be written ({error.__cause__}): free the disk or give another "
                "--cache, then repeat the command"
            ) from error

    def read(self, keys: Sequence[str]) -> torch.Tensor:
        """(N, C, h, w) float16 embeddings.

        Raises
        ------
        StoppedError
            If one is missing or damaged.
        """
        found = []
        for key in keys:
            try:
                found.append(np.load(self._path(key)))
            except (OSError, ValueError, EOFError) as error:
                raise StoppedError(
                    f"embedding cache {self.folder} has lost {key[:16]} ({type(error).__name__}): does another job clear it? "
                    "Repeat the command, which builds what is missing"
                ) from error
        return torch.from_numpy(np.stack(found))

    def missing(self, keys: Sequence[str], shape: tuple[int, int, int]) -> list[int]:
        """Numbers of the windows that are not there; the others count as used now.

        Parameters
        ----------
        keys : sequence of str
            Keys of the windows.
        shape : (C, h, w)
            Of one embedding.
        """
        bytes_each = _HEADER + 2 * int(np.prod(shape))
        absent = []
        for i, key in enumerate(keys):
            path = self._path(key)
            if self._whole(path, bytes_each):
                os.utime(path)
            else:
                absent.append(i)
        return absent

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npy"

    @staticmethod
    def _whole(path: Path, length: int) -> bool:
        """Whether a file is there in its full length: a power cut may leave a shorter one."""
        try:
            return path.stat().st_size == length
        except OSError:
            return False


def embedding_shape(model: Sam) -> tuple[int, int, int]:
    """(C, h, w) of a window's embedding."""
    side = model.config.image_size // model.config.patch_size
    return model.config.embedding, side, side


def encoder_digest(model: Sam) -> str:
    """SHA-256 of an image encoder: its weights, its normalisation, and the precision it runs in on this device."""
    where = next(model.parameters()).device
    with autocast(where):
        precision = torch.get_autocast_dtype(where.type) if torch.is_autocast_enabled(where.type) else torch.float32
    digest = hashlib.sha256(f"{model.config.model_dump_json()} {where.type} {precision}".encode())
    tensors = {**model.image_encoder.state_dict(), "pixel_mean": model.pixel_mean, "pixel_std": model.pixel_std}
    for name, value in tensors.items():
        digest.update(name.encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def window_key(encoder: str, image: np.ndarray) -> str:
    """Name of a window's embedding.

    Parameters
    ----------
    encoder : str
        See :func:`encoder_digest`.
    image : (S, S) uint8
        Normalised grey values.
    """
    return hashlib.sha256(encoder.encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def encoded(model: Sam, images: Iterator[np.ndarray], batch: int) -> Iterator[np.ndarray]:
    """The (C, h, w) float16 embedding of each (S, S) uint8 window, computed ``batch`` at a time.

    Parameters
    ----------
    model : Sam
        Its image encoder is used.
    images : iterator of (S, S) uint8
        Windows.
    batch : int
        Windows at a time.
    """
    where = next(model.parameters()).device
    waiting: list[np.ndarray] = []

    def done() -> Iterator[np.ndarray]:
        with torch.inference_mode(), autocast(where):
            yield from model.encode(torch.from_numpy(np.stack(waiting)).to(where)).half().cpu().numpy()
        waiting.clear()

    for image in images:
        waiting.append(image)
        if len(waiting) == batch:
            yield from done()
    if waiting:
        yield from done()


def fill(
    cache: EmbeddingCache,
    model: Sam,
    keys: Sequence[str],
    image: Callable[[int], np.ndarray],
    report: Callable[[int, int], None],
) -> None:
    """Compute the embeddings that are not in the cache.

    Parameters
    ----------
    cache : EmbeddingCache
        Where they go.
    model : Sam
        In evaluation mode, on its device.
    keys : sequence of str
        Names of all windows.
    image : callable
        Gives the (S, S) uint8 window of a number.
    report : callable
        Called with windows done and windows in all.
    """
    absent = cache.missing(keys, embedding_shape(model))
    done = len(keys) - len(absent)
    batch = max(1, 16 * 256**2 // model.config.image_size**2)
    report(done, len(keys))
    for number, embedding in zip(absent, encoded(model, map(image, absent), batch), strict=True):
        cache.write(keys[number], embedding)
        done += 1
        if done % 16 == 0 or done == len(keys):
            report(done, len(keys))
