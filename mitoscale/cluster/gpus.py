"""The GPUs of this machine, counted without taking memory on any of them."""

from __future__ import annotations

import os

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
