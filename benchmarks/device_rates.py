"""What the networks reach of a device: pixels and operations a second, and the share of its measured bfloat16 matrix rate.

    python benchmarks/device_rates.py --out device-rates.json                     # on a GPU
    python benchmarks/device_rates.py --matrix 512 --sams small --seconds 0.2     # in miniature, on a CPU

The ceiling is the best of several products of two large bfloat16 matrices of random numbers on the same device. Operations of
the networks are counted by torch (a multiplication and an addition are two), in the precision the pipeline uses.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from mitoscale.nets.checkpoint import load_unet
from mitoscale.nets.device import autocast, device, device_name
from mitoscale.nets.device_work import batch_pixels
from mitoscale.nets.sam import PRESETS, Sam
from mitoscale.nets.unet import folded_normalisation


def rate(work: Callable[[], object], seconds: float) -> float:
    """Median seconds of a call, repeated for about so long."""
    times: list[float] = []
    for _ in range(2):  # libraries are loaded, memory is taken
        _timed(work)
    while sum(times) < seconds or len(times) < 3:
        times.append(_timed(work))
    return median(times)


def _timed(work: Callable[[], object]) -> float:
    _wait()
    began = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - began


def _wait() -> None:
    if device().type == "cuda":
        torch.cuda.synchronize()


def matrix_rate(edge: int, seconds: float) -> float:
    """Operations a second of a product of two (edge, edge) matrices, bfloat16 on a GPU and float32 on a CPU."""
    kind = torch.bfloat16 if device().type == "cuda" else torch.float32
    a, b = (torch.randn(edge, edge, device=device(), dtype=kind) for _ in range(2))
    return 2 * edge**3 / rate(lambda: a @ b, seconds)


def network(forward: Callable[[torch.Tensor], object], inputs: torch.Tensor, seconds: float, ceiling: float) -> dict[str, float]:
    """Rates of a network on one batch."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:  # in float32: torch cannot count all of bfloat16's
        forward(inputs)
    with torch.inference_mode(), autocast(device()):
        took = rate(lambda: forward(inputs), seconds)
    pixels, operations = len(inputs) * inputs.shape[-1] * inputs.shape[-2], counter.get_total_flops()
    return {
        "batch": len(inputs),
        "window": inputs.shape[-1],
        "ms_a_window": round(1e3 * took / len(inputs), 3),
        "Mpixel_per_second": round(pixels / took / 1e6, 3),
        "TFLOP_per_second": round(operations / took / 1e12, 3),
        "share_of_matrix_rate": round(operations / took / ceiling, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matrix", type=int, default=8192, help="edge of the matrices")
    parser.add_argument("--unets", default="unet-small")
    parser.add_argument("--sams", default="small,vit_b,vit_h", help="sizes, with random weights")
    parser.add_argument("--window", type=int, default=640, help="of the U-Net")
    parser.add_argument("--pixels", type=int, help="of a batch of SAM's windows (default: the pipeline's)")
    parser.add_argument("--seconds", type=float, default=3.0, help="that each is measured for")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    where = device()
    ceiling = matrix_rate(arguments.matrix, arguments.seconds)
    result: dict[str, Any] = {"matrix_TFLOP_per_second": round(ceiling / 1e12, 3), "networks": {}}
    for name in filter(None, arguments.unets.split(",")):
        model, _ = load_unet(name)
        quick = folded_normalisation(model).to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
        batch = max(1, batch_pixels(where) * model.config.fold**2 // arguments.window**2)
        inputs = torch.rand(batch, len(model.config.context_nm), arguments.window, arguments.window, device=where)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        result["networks"][name] = network(quick, inputs, arguments.seconds, ceiling)
        print(name, result["networks"][name], flush=True)
    for name in filter(None, arguments.sams.split(",")):
        sam = Sam(PRESETS[name]).eval().requires_grad_(False).to(where)
        size = sam.config.image_size
        pixels = arguments.pixels or (2**22 if where.type == "cuda" else 2**20)
        inputs = torch.randint(0, 256, (max(1, pixels // size**2), size, size), device=where).float()
        result["networks"][name] = network(sam.encode, inputs, arguments.seconds, ceiling)
        print(name, result["networks"][name], flush=True)
        del sam
    result |= {"machine": device_name(), "torch": torch.__version__}
    print(json.dumps(result, indent=2))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
