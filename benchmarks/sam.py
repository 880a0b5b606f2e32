"""SAM on one slice as the origin reports ask it, as the package can at best, and as this project does.

    python benchmarks/sam.py --sam vit_b --out benchmarks/results/sam-vit_b.json         # a minute and more a round on a CPU
    python benchmarks/sam.py --sam small --size 512 --rounds 3
    python benchmarks/sam.py --weights sam-small --rounds 3
    python benchmarks/sam.py --sam vit_b --slices 3 --rounds 1                           # a stack of them, one after the other
    python benchmarks/sam.py --sam vit_b --slices 5 --every 4 --rounds 1                 # mitoscale as in volumes of 5 nm slices

A slice with dark disks, with a prompt in the middle of each. The ways, one after another in each round:

``reports``    ``SamPredictor.set_image``, then ``predict`` for one centroid after the other, best of three masks;
``at once``    ``SamPredictor.set_image``, then ``predict_torch`` for all centroids;
``automatic``  ``SamAutomaticMaskGenerator`` (only with ``--automatic``: it asks for 1024 points);
``mitoscale``  :class:`mitoscale.nets.sam_segmenter.SamSegmenter`, asked with points alone; with ``--every`` in some slices, and its
               masks interpolated in the others (what that costs in accuracy: ``sam_step.py``).

Weights are the same for all, and random if none are named: masks of random weights fill their window. Ratios are medians over the
rounds of a way's seconds over mitoscale's in the same round: above 1 mitoscale is faster. ``decoding`` leaves the encoding of the
slice out. The package runs in float32 as it is written, mitoscale as it always does (bfloat16 where the device has it); with
``--float32`` both in float32. ``logits`` holds the low-resolution logits of all prompts against the package's, in float32, by the
largest difference over the largest value.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling import Sam as OfficialSam

from mitoscale.core.geometry import Region
from mitoscale.nets.checkpoint import load_sam
from mitoscale.nets.device import device, device_name, set_threads
from mitoscale.nets.mask_decoding import PADDING, POSITIVE
from mitoscale.nets.sam import PRESETS, Sam
from mitoscale.nets.sam_segmenter import SamSegmenter
from mitoscale.ops.between_slices import BetweenSlices, asked_slices, kin_of
from mitoscale.ops.masks import paint
from mitoscale.ops.prompts import Prompts, prompts_from_profiles


def both(name: str, weights: str | None) -> tuple[Sam, OfficialSam]:
    """The project's network and the package's, with the same weights: random ones, or those of a file."""
    torch.manual_seed(0)
    ours = (load_sam(weights)[0] if weights else Sam(PRESETS[name])).eval().requires_grad_(False).float()
    config = ours.config
    encoder = ImageEncoderViT(
        depth=config.depth,
        embed_dim=config.width,
        img_size=config.image_size,
        mlp_ratio=4,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        num_heads=config.heads,
        patch_size=config.patch_size,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=config.global_layers,
        window_size=config.window,
        out_chans=config.embedding,
    )
    encoder.load_state_dict(ours.image_encoder.state_dict())
    official = OfficialSam(encoder, ours.prompt_encoder, ours.mask_decoder).eval().requires_grad_(False)
    return ours.to(device()), official.to(device())


def slice_of(size: int, prompts: int) -> tuple[np.ndarray, Prompts]:
    """A slice of noise with dark disks, and a prompt for each of them."""
    image = np.random.default_rng(5).normal(150, 20, (size, size))
    profiles = np.zeros((size, size), np.int32)
    across = int(np.ceil(np.sqrt(prompts)))
    step = size // across
    y, x = np.mgrid[:size, :size]
    for number in range(prompts):
        centre = (number // across * step + step // 2, number % across * step + step // 2)
        inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < (step // 4) ** 2
        profiles[inside] = number + 1
        image[inside] -= 60
    return image.clip(0, 255).astype(np.uint8), prompts_from_profiles(profiles)


def timed(work: Callable[[], object]) -> float:
    """Seconds until the device is done."""
    began = time.perf_counter()
    with torch.inference_mode():
        work()
    if device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


class Package:
    """The package's ways; keeps the parts of the time."""

    def __init__(self, official: OfficialSam, image: np.ndarray, asked: Prompts) -> None:
        self.predictor = SamPredictor(official)
        self.image = np.repeat(image[..., None], 3, axis=2)
        self.xy = asked.points[:, ::-1].copy()
        self.encoding = 0.0

    def set_image(self) -> None:
        """Encode the slice."""
        self.encoding = timed(lambda: self.predictor.set_image(self.image))

    def reports(self) -> None:
        """One centroid after the other, best score wins."""
        self.set_image()
        for point in self.xy:
            masks, scores, _ = self.predictor.predict(point[None], np.ones(1), multimask_output=True)
            masks[scores.argmax()].sum()

    def at_once(self, logits: bool = False) -> torch.Tensor:
        """All centroids in one batch; with ``logits`` those of low resolution, else the chosen masks."""
        self.set_image()
        points = torch.from_numpy(self.predictor.transform.apply_coords(self.xy, self.image.shape[:2])).to(device())[:, None]
        labels = torch.ones(len(points), 1, dtype=torch.long, device=device())
        masks, scores, low = self.predictor.predict_torch(points.float(), labels, multimask_output=True)
        return low if logits else masks[torch.arange(len(masks)), scores.argmax(1)].cpu()


def agreement(ours: Sam, package: Package, size: int) -> float:
    """Largest difference of the low-resolution logits of all prompts and masks, over the largest logit; both in float32."""
    theirs = package.at_once(logits=True)
    scale = ours.config.image_size / size
    window = torch.from_numpy(package.predictor.transform.apply_image(package.image)[..., 0].copy()).to(device())
    # The package means pixel corners, this project pixel centres.
    yx = torch.from_numpy(package.xy[:, ::-1].copy()).to(device()) * scale
    points = torch.stack([yx, torch.zeros_like(yx)], 1).float()
    meaning = torch.tensor([[POSITIVE, PADDING]], device=device()).expand(len(yx), -1)
    with torch.inference_mode():
        which = torch.zeros(len(yx), dtype=torch.long, device=device())
        masks, _ = ours.decode(ours.encode(window[None]), which, points, meaning)
    return float((masks[:, 1:] - theirs).abs().max() / theirs.abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sam", choices=[name for name in PRESETS if PRESETS[name].encoder == "vit"], default="vit_b")
    parser.add_argument("--weights", help="name or path of trained weights, in place of --sam with random ones")
    parser.add_argument("--size", type=int, default=1024, help="height and width of the slice")
    parser.add_argument("--prompts", type=int, default=26)
    parser.add_argument("--slices", type=int, default=1, help="how often the slice is there; mitoscale gets all at once")
    parser.add_argument("--every", type=int, default=1, help="mitoscale is asked in each so many-th slice")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--automatic", action="store_true")
    parser.add_argument("--float32", action="store_true", help="mitoscale in float32 too")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    ours, official = both(arguments.sam, arguments.weights)
    image, asked = slice_of(arguments.size, arguments.prompts)
    package = Package(official, image, asked)
    # The package sees the slice at its one window's size; so does mitoscale, which would else take windows of its own pixels.
    pixel = 5.0 * arguments.size / ours.config.image_size
    segmenter = SamSegmenter(ours, pixel_nm=pixel, spacing=(5.0, 5.0, 5.0), ask="point")
    depth = arguments.slices
    nothing, region = np.zeros((depth, *image.shape), np.float32), Region.of_shape((depth, *image.shape))
    asked_in = asked_slices(region, region, arguments.every)
    profiles, none = np.repeat(asked.profiles[None], depth, axis=0), prompts_from_profiles(asked.profiles, 0)
    prompts = [asked if here else none for here in asked_in]
    encoding = [0.0]
    encode = ours.encode

    def noted(windows: torch.Tensor) -> torch.Tensor:
        found: list[torch.Tensor] = []
        encoding[0] += timed(lambda: found.append(encode(windows)))
        return found[0]

    def mitoscale() -> None:
        encoding[0] = 0.0
        precision = patch("mitoscale.nets.sam_segmenter.autocast", lambda where: nullcontext())
        with patch.object(ours, "encode", noted), precision if arguments.float32 else nullcontext():
            found = segmenter.masks(np.repeat(image[None], depth, axis=0), nothing, prompts, region)
            labels = profiles.copy()
            for z in np.flatnonzero(asked_in).tolist():
                labels[z] = paint(image.shape, found[z])
            between = BetweenSlices(profiles, labels, labels > 0, dict(enumerate(found)), [len(asked)] * depth, 1.0)
            for z, kin in kin_of(profiles, asked_in).items():
                between.masks(z, kin)

    def each(way: Callable[[], object]) -> Callable[[], None]:
        def one_after_the_other() -> None:
            encoding = 0.0
            for _ in range(depth):
                way()
                encoding += package.encoding
            package.encoding = encoding

        return one_after_the_other

    ways: dict[str, Callable[[], object]] = {
        "reports": each(package.reports),
        "at once": each(package.at_once),
        "mitoscale": mitoscale,
    }
    if arguments.automatic:
        generator = SamAutomaticMaskGenerator(official)
        ways["automatic"] = each(lambda: generator.generate(package.image))
    logits = agreement(ours, package, arguments.size)
    timed(mitoscale)  # warm, too
    whole: dict[str, list[float]] = {name: [] for name in ways}
    decoding: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(arguments.rounds):
        for name in list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]:
            whole[name].append(timed(ways[name]))
            decoding[name].append(whole[name][-1] - (encoding[0] if name == "mitoscale" else package.encoding))
            print(number, name, round(whole[name][-1], 3), flush=True)
    result: dict[str, Any] = {
        "claim": "seconds of the other over mitoscale's, medians over the rounds; above 1 mitoscale is faster",
        "sam": arguments.weights or arguments.sam,
        "slice": [arguments.size, arguments.size],
        "slices": depth,
        "asked_in": int(asked_in.sum()),
        "prompts": len(asked),
        "ratio": _ratios(whole),
        "ratio_of_decoding": {name: r for name, r in _ratios(decoding).items() if name != "automatic"},
        "median_seconds": {name: round(median(times), 4) for name, times in whole.items()},
        "median_seconds_of_decoding": {name: round(median(times), 4) for name, times in decoding.items() if name != "automatic"},
        "logits": logits,
        "windows_encoded": round(segmenter.counts["network_pixels"] / ours.config.image_size**2 / (arguments.rounds + 1), 2),
        "mitoscale_in_float32": arguments.float32,
        "machine": device_name(),
        "torch": torch.__version__,
    }
    print(json.dumps(result, indent=2))
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(result, indent=2) + "\n")


def _ratios(times: dict[str, list[float]]) -> dict[str, float]:
    """Of each other way over mitoscale."""
    return {
        name: round(median(other / own for other, own in zip(times[name], times["mitoscale"], strict=True)), 3)
        for name in times
        if name != "mitoscale"
    }


if __name__ == "__main__":
    main()
