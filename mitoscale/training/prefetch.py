"""Samples made ahead: while a GPU learns from one step, other processes make the samples of the next ones.

A sample depends on its name alone, never on who made it or in which order; so a training is the same for any number of processes,
and goes on at any step.
"""

from __future__ import annotations

import mmap
import multiprocessing
import pickle
import tempfile
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from torch.utils.data import DataLoader

from mitoscale.core.errors import MitoscaleError, StoppedError
from mitoscale.nets.device import cpus, device

MOST = 16
"""More processes than this do not help one GPU."""

_AHEAD = 2
"""Steps that each process makes ahead."""

Made = TypeVar("Made")
Name = TypeVar("Name", bound=Hashable, contravariant=True)
Sample = TypeVar("Sample", covariant=True)


class Samples(Protocol[Name, Sample]):
    """Samples by their name; picklable."""

    def __getitem__(self, name: Name) -> Sample: ...


def usable_processes(threads: int | None) -> int:
    """Processes that can work here at the same time: a CPU each, or this one alone where a process may have no children.

    Parameters
    ----------
    threads : int or None
        CPU threads the training may use; None: all.
    """
    return 1 if multiprocessing.current_process().daemon else threads or cpus()


def made_in_processes(make: Callable[[int], Made], seeds: Sequence[int], processes: int) -> list[Made]:
    """What is made from seeds, in their order.

    Parameters
    ----------
    make : callable
        Makes one; picklable.
    seeds : sequence of int
        Of each.
    processes : int
        How many are made at a time, each in a process of its own.
    """
    if processes < 2 or len(seeds) < 2:
        return [make(seed) for seed in seeds]
    with ProcessPoolExecutor(min(processes, len(seeds)), multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(make, seeds))


def spare_processes(threads: int | None) -> int:
    """Processes that can make samples here, beside one that learns.

    Parameters
    ----------
    threads : int or None
        CPU threads the training may use; None: all.

    Returns
    -------
    int
        0 on a CPU, which is busy with learning.
    """
    return 0 if device().type == "cpu" else min(usable_processes(threads) - 1, MOST)


def numbered(batch: int) -> Callable[[int], list[int]]:
    """Names of the samples of a step where they are simply numbered.

    Examples
    --------
    >>> numbered(3)(2)
    [6, 7, 8]
    """
    return lambda step: list(range(step * batch, (step + 1) * batch))


class Prefetcher(Generic[Name, Sample]):
    """The samples of each step.

    Parameters
    ----------
    samples : Samples
        Makes them.
    names : callable
        The names of the samples of a step, which is counted from 0.
    processes : int
        Processes that make samples ahead; 0: they are made when they are asked for, in this process. Large arrays of ``samples``
        are written to a temporary file, which all processes map into memory, so they are there once. File and processes end with
        this object.

    Examples
    --------
    >>> class Squares:
    ...     def __getitem__(self, name):
    ...         return name**2
    >>> squares = Prefetcher(Squares(), lambda step: [2 * step, 2 * step + 1])
    >>> squares.of(0), squares.of(3)
    ([0, 1], [36, 49])
    """

    def __init__(self, samples: Samples[Name, Sample], names: Callable[[int], list[Name]], processes: int = 0) -> None:
        self.samples = samples
        self.names = names
        self.processes = processes
        self._next = -1
        self._made: Iterator[list[Sample]] | None = None
        self._mapped: _Mapped | None = None

    def of(self, step: int) -> list[Sample]:
        """The samples of a step; the next one is best asked for next.

        Raises
        ------
        MitoscaleError
            What was raised on purpose where a sample was made.
        """
        if not self.processes:
            return [self.samples[name] for name in self.names(step)]
        if self._made is None or step != self._next:
            self._made = self._making(step)
        self._next = step + 1
        made = next(self._made)
        for sample in made:
            if isinstance(sample, MitoscaleError):
                raise sample
        return made

    def _making(self, step: int) -> Iterator[list[Sample]]:
        if self._mapped is None:
            self._mapped = _Mapped(self.samples)
        loader: DataLoader[Any] = DataLoader(
            self._mapped,  # type: ignore[arg-type]
            batch_sampler=map(self.names, count(step)),
            collate_fn=list,
            num_workers=self.processes,
            prefetch_factor=_AHEAD,
            multiprocessing_context="spawn",
        )
        return iter(loader)


class _Mapped:
    """Samples that another process gets by a small message and a file it maps into memory."""

    def __init__(self, samples: Samples[Any, Any]) -> None:
        self._samples: Samples[Any, Any] | None = None
        large: list[pickle.PickleBuffer] = []
        self._content = pickle.dumps(samples, protocol=5, buffer_callback=large.append)
        self._lengths = []
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="mitoscale-samples-")
            self._path = Path(self._folder.name) / "arrays"
            with self._path.open("wb") as file:
                for buffer in large:
                    self._lengths.append(file.write(buffer.raw()))
        except OSError as error:
            raise StoppedError(
                f"training: {tempfile.gettempdir()} cannot be written ({error.strerror}): the annotated slices go there for the "
                "processes that make samples; free the disk or point TMPDIR elsewhere, then repeat the command"
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_folder": None, "_samples": None}

    def __getitem__(self, name: Hashable) -> Any:
        if self._samples is None:
            with self._path.open("rb") as file:
                whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if sum(self._lengths) else b"")
            start, parts = 0, []
            for length in self._lengths:
                parts.append(whole[start : start + length])
                start += length
            self._samples = pickle.loads(self._content, buffers=parts)
        try:
            return self._samples[name]
        except MitoscaleError as error:  # raised, it would arrive with a traceback in its message
            return error
