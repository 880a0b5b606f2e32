"""The GPUs of this machine, counted without taking memory on any of them, and what dask-cuda does for a worker that has one."""

from __future__ import annotations

import os
from itertools import takewhile
from typing import Any

from mitoscale.core.errors import InputError


def visible_gpus() -> list[str]:
    """Numbers (or UUIDs) of the NVIDIA GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them.

    Raises
    ------
    InputError
        If there is none.
    """
    found = found_gpus()
    if not found:
        chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
        hidden = f" that CUDA_VISIBLE_DEVICES={chosen} lets through" if chosen is not None else ""
        raise InputError(
            f"kind cuda: no NVIDIA GPU found{hidden}; check nvidia-smi and pip install 'mitoscale[cuda]', or write kind: local"
        )
    return found


def found_gpus() -> list[str]:
    """The same; empty where there is none, or nothing that could be asked."""
    chosen, count = os.environ.get("CUDA_VISIBLE_DEVICES"), _count()
    if chosen is None or not count:
        return [str(number) for number in range(count)]
    # CUDA itself hides all GPUs behind the first number that there is not.
    names = (name.strip() for name in chosen.split(","))
    return list(takewhile(lambda name: name and (not name.isdigit() or int(name) < count), names))


def gpu_plugins(gpu: str) -> list[Any]:
    """Worker plugins of dask-cuda for a worker that has one GPU: it computes on the CPUs that the GPU is attached to.

    Of dask-cuda's other parts, spilling of device memory and RMM's pool are for arrays that lie in Dask's own store; ours never
    do, and torch keeps a pool of its own.

    Parameters
    ----------
    gpu : str
        From :func:`visible_gpus`.

    Raises
    ------
    InputError
        If dask-cuda is not installed.
    """
    try:
        from dask_cuda.plugins import CPUAffinity
        from dask_cuda.utils import get_cpu_affinity, nvml_device_index
    except ImportError as error:
        raise InputError("kind cuda needs dask-cuda: pip install 'mitoscale[cuda]'") from error
    allowed = os.sched_getaffinity(0)
    near = allowed & set(get_cpu_affinity(nvml_device_index(0, gpu)))
    return [CPUAffinity(sorted(near or allowed))]


def _count() -> int:
    """NVIDIA GPUs of this machine; 0 where there is no driver or no library that asks it."""
    try:
        import pynvml
    except ImportError:
        return 0
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()
