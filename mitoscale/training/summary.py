"""A network layer by layer: the model summary."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def summary(model: nn.Module, shape: tuple[int, ...]) -> list[tuple[str, str, int]]:
    """Name and kind, output shape, and parameters of each layer that has some, in the order they compute.

    Parameters
    ----------
    model : Module
        The network; it is left as it was.
    shape : (C, H, W)
        Of one input.
    """
    rows: list[tuple[str, str, int]] = []

    def note(name: str, layer: nn.Module) -> Any:
        def hook(_: nn.Module, __: Any, output: torch.Tensor) -> None:
            shape = " x ".join(map(str, output.shape[1:]))
            rows.append((f"{name} ({type(layer).__name__})", shape, sum(p.numel() for p in layer.parameters())))

        return layer.register_forward_hook(hook)

    own = [(n, m) for n, m in model.named_modules() if any(True for _ in m.parameters(recurse=False))]
    hooks = [note(name, layer) for name, layer in own]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *shape, device=next(model.parameters()).device))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return rows
