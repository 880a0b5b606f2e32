"""A model folder of bioimage.io with random weights, for ``published_models.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

_IMAGE = ["channel", "y", "x"]

PREPROCESSING: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "mean and deviation": [{"id": "zero_mean_unit_variance", "kwargs": {"axes": _IMAGE}}],
    "percentiles": [{"id": "scale_range", "kwargs": {"axes": _IMAGE, "min_percentile": 1, "max_percentile": 99}}],
    "linear and clip": [
        {"id": "scale_linear", "kwargs": {"gain": 0.01, "offset": -1.0}},
        {"id": "clip", "kwargs": {"min": -0.5, "max": 1.0}},
    ],
    "fixed": [{"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 146.8, "std": 32.6}}],
}
"""The steps before the network, by a name for people."""


def write_folder(folder: Path, steps: Sequence[Mapping[str, Any]], halo: int, picture: np.ndarray) -> Path:
    """Write a model of two convolutions, and a sigmoid after them, that answers with two channels.

    Parameters
    ----------
    folder : Path
        Where to; is made.
    steps : sequence of mapping
        Its preprocessing, one of :data:`PREPROCESSING`.
    halo : int
        Pixels of the answer's edge that are not to be trusted.
    picture : (1, Y, X) uint8
        Stands for the publisher's test input.

    Returns
    -------
    Path
        The folder.
    """
    folder.mkdir()
    torch.manual_seed(0)
    layers = (torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 3, padding=1))
    torch.jit.save(torch.jit.script(torch.nn.Sequential(*layers)), folder / "net.pt")
    np.save(folder / "in.npy", picture[None].astype(np.float32))
    np.save(folder / "out.npy", np.zeros((1, 2, *picture.shape[1:]), np.float32))
    (folder / "README.md").write_text("# Random weights\n")
    edge = {"halo": halo} if halo else {}
    given = [{"type": "space", "id": name, "size": {"min": 16, "step": 8}} for name in "yx"]
    answer = [{"type": "space", "id": name, "size": {"tensor_id": "raw", "axis_id": name}, **edge} for name in "yx"]
    described = {
        "type": "model",
        "format_version": "0.5.4",
        "name": "random weights",
        "description": "two convolutions",
        "authors": [{"name": "nobody"}],
        "license": "MIT",
        "documentation": "README.md",
        "cite": [{"text": "none", "url": "https://example.org"}],
        "timestamp": "2024-01-01T00:00:00",
        "inputs": [
            {
                "id": "raw",
                "axes": [{"type": "batch"}, {"type": "channel", "channel_names": ["raw"]}, *given],
                "data": {"type": "float32"},
                "test_tensor": {"source": "in.npy"},
                "preprocessing": [dict(step) for step in steps],
            }
        ],
        "outputs": [
            {
                "id": "out",
                "axes": [{"type": "batch"}, {"type": "channel", "channel_names": ["membrane", "mito"]}, *answer],
                "data": {"type": "float32"},
                "test_tensor": {"source": "out.npy"},
                "postprocessing": [{"id": "sigmoid"}],
            }
        ],
        "weights": {"torchscript": {"source": "net.pt", "pytorch_version": "2.4"}},
    }
    (folder / "rdf.yaml").write_text(yaml.safe_dump(described))
    return folder
