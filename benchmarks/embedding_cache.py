"""What the embedding cache buys: an epoch of fine-tuning from cached embeddings against one that encodes its windows again.

Both run in this process, one after the other, over the same windows with the same prompts and the same decoder step; only
where the embeddings come from differs. On a busy machine compare the processor seconds. The windows are a phantom's; for the
official sizes the weights are random, which costs the same.

    python benchmarks/embedding_cache.py --sam small --windows 16 --threads 1 --out embedding-cache-small.json
    python benchmarks/embedding_cache.py --sam vit_b --windows 1 --repeats 1 --threads 1 --out embedding-cache-vit_b.json
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from mitoscale.nets.device import autocast, device, device_name, set_threads
from mitoscale.nets.sam import PRESETS, Sam
from mitoscale.ops.phantom import make_phantom
from mitoscale.training.embeddings import EmbeddingCache, encoder_digest
from mitoscale.training.finetune import RECIPES
from mitoscale.training.loop import Schedule
from mitoscale.training.patches import PatchGrid
from mitoscale.training.prompts import simulate
from mitoscale.training.sam_decoder import Decoder, DecoderTask
from mitoscale.training.samples import Annotated
from mitoscale.training.window_set import WindowSet, embed, window_set


class First:
    """The first few windows of a longer sequence."""

    def __init__(self, grid: PatchGrid, count: int) -> None:
        self.grid, self.count = grid, min(count, len(grid))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int):  # type: ignore[no-untyped-def]
        return self.grid[index]


def epoch(task: DecoderTask, windows: WindowSet, model: Sam | None) -> tuple[float, float]:
    """Seconds and processor seconds of an epoch; with a model its windows are encoded, without one they come from the cache."""
    optimiser = Schedule(steps=1, plain=True).optimiser(task.model)
    began, processor = time.monotonic(), time.process_time()
    for start in range(0, len(windows), task.recipe.windows):
        chosen = list(range(start, min(start + task.recipe.windows, len(windows))))
        rng = np.random.default_rng(start)
        found = [simulate(windows.profiles(i), task.recipe.prompts, rng) for i in chosen]
        prompted = [p for p in found if p is not None]
        if model is None:
            embeddings = windows.embeddings(chosen)
        else:
            images = torch.from_numpy(np.stack([windows.image(i) for i in chosen]))
            with torch.inference_mode(), autocast(device()):
                embeddings = model.encode(images.to(device())).half()
            embeddings = embeddings.clone()
        loss = task.loss_of(embeddings, prompted, rng)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return time.monotonic() - began, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sam", choices=list(PRESETS), default="small")
    parser.add_argument("--preset", choices=list(RECIPES), default="report")
    parser.add_argument("--windows", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    torch.manual_seed(0)
    model = Sam(PRESETS[arguments.sam]).eval().requires_grad_(False).to(device())
    phantom = make_phantom((32, 256, 256), objects=24, seed=5)
    volume = Annotated(image=phantom.image, labels=phantom.labels.astype(np.int32), spacing=phantom.spacing)
    size = model.config.image_size
    pixel = phantom.spacing[2] * 256 / size
    recipe = RECIPES[arguments.preset].prompts
    with tempfile.TemporaryDirectory() as folder:
        cache = EmbeddingCache(Path(folder), 10**11)
        grid = First(PatchGrid(volume, size=size, pixel_nm=(pixel, pixel)), arguments.windows)
        windows = window_set(grid, cache, encoder_digest(model), size)
        began = time.monotonic()
        embed([windows], model, lambda done, total: None)
        built = time.monotonic() - began
        task = DecoderTask(Decoder(model).to(device()), [windows], {}, recipe)
        epoch(task, windows, None)  # the first steps are slower: memory is taken
        cached = min(epoch(task, windows, None) for _ in range(arguments.repeats))
        encoded = min(epoch(task, windows, model) for _ in range(arguments.repeats))
        bytes_each = windows.cache.size(windows.keys, (model.config.embedding, size // 16, size // 16)).window_bytes
    result = {
        "claim": "an epoch of fine-tuning from cached embeddings against one that encodes its windows again",
        "sam": arguments.sam,
        "preset": arguments.preset,
        "windows": len(windows),
        "prompts_a_window": recipe.prompts,
        "seconds_cached": round(cached[0], 2),
        "seconds_encoding": round(encoded[0], 2),
        "ratio": round(encoded[0] / cached[0], 2),
        "processor_seconds_cached": round(cached[1], 2),
        "processor_seconds_encoding": round(encoded[1], 2),
        "processor_ratio": round(encoded[1] / cached[1], 2),
        "seconds_to_build_the_cache": round(built, 2),
        "kilobytes_a_window": round(bytes_each / 1e3),
        "machine": f"{platform.machine()}, {device_name()}",
    }
    print(json.dumps(result, indent=2))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
