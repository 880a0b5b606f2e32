"""Where networks run: the device, the precision and the number of threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

THREADS_VARIABLE = "MITOSCALE_THREADS"
"""Environment variable with the threads of a task; a nanny's OMP_NUM_THREADS=1 would otherwise decide."""


def device() -> torch.device:
    """``cuda:0`` where there is a GPU, else the CPU; a worker sees its own GPU as number 0."""
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def describe_device() -> str:
    """The device in words, such as ``CPU (bfloat16)`` or ``NVIDIA H100 (80 GiB)``."""
    where = device()
    if where.type == "cuda":
        properties = torch.cuda.get_device_properties(where)
        return f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"
    return f"CPU ({'bfloat16' if _cpu_has_bfloat16() else 'float32'})"


def device_name() -> str:
    """The device, for people."""
    where = device()
    return str(torch.cuda.get_device_name(where)) if where.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def autocast(where: torch.device) -> AbstractContextManager[None]:
    """bfloat16 on GPUs and on CPUs that have it (2.5 to 3 times faster there), float32 elsewhere."""
    enabled = where.type == "cuda" or _cpu_has_bfloat16()
    context: AbstractContextManager[None] = torch.autocast(where.type, torch.bfloat16, enabled=enabled)
    return context


def memory_format() -> torch.memory_format:
    """Channels last where bfloat16 is computed; elsewhere contiguous, which suits CPUs with AVX2 alone better."""
    fast = device().type == "cuda" or _cpu_has_bfloat16()
    return torch.channels_last if fast else torch.contiguous_format


def _cpu_has_bfloat16() -> bool:
    return bool(torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.cpu._is_avx512_bf16_supported())


def cpus() -> int:
    """CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def set_threads(threads: int | None) -> None:
    """Compute with this many CPU threads; None: one a CPU this process may use."""
    torch.set_num_threads(threads or cpus())


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Compute with this many CPU threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def limit_threads() -> None:
    """Compute with the task's number of threads, as the worker's environment tells."""
    threads = os.environ.get(THREADS_VARIABLE)
    if threads:
        torch.set_num_threads(int(threads))
    torch.backends.cudnn.benchmark = False
