"""The GPUs of this machine, counted without taking memory on any of them, and what dask-cuda does for a worker that has one."""

from __future__ import annotations

import os
from typing import Any

from mitoscale.core.errors import InputError


def visible_gpus() -> list[str]:
    """Numbers (or UUIDs) of the NVIDIA GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them.

    Raises
    ------
    InputError
        If there is none.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    numbers = [str(i) for i in range(_count())]
    if chosen is not None:
        numbers = [name.strip() for name in chosen.split(",") if name.strip()] if numbers else []
    if not numbers:
        hidden = f" that CUDA_VISIBLE_DEVICES={chosen} lets through" if chosen is not None else ""
        raise InputError(
            f"kind cuda: no NVIDIA GPU found{hidden}; check nvidia-smi and pip install 'mitoscale[cuda]', or write kind: local"
        )
    return numbers


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
