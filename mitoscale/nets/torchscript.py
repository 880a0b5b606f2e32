"""TorchScript of others: networks in files that hold their own code, which runs when they are asked."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from mitoscale.core.errors import InputError


def load_torchscript(path: Path, where: torch.device) -> torch.nn.Module:
    """A scripted network in evaluation mode.

    Parameters
    ----------
    path : Path
        What ``torch.jit.save`` wrote.
    where : device
        Where it will run.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch tells that TorchScript is an old format
            network: torch.nn.Module = torch.jit.load(str(path), map_location=where)
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"{path} is damaged, or no TorchScript ({_first_line(error)}); download it again") from error
    return network.eval()


def failure(error: Exception) -> str:
    """What a foreign network's failure says, on one line: TorchScript tells the line of its code first and the reason last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:300]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
