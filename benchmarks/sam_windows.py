"""What SAM's encoder would compute in a run's volume with windows and blocks of other sizes, counted without computing it.

    mitoscale run epfl/training.tif RUN --voxel-size 5,5,5 --segmenter sam --sam-step 0 --region 101:165,0:768,0:1024
    python benchmarks/sam_windows.py RUN

From the run's foreground follow the profiles that SAM is asked for, block by block, and from these its windows, as the segmenter
chooses them; each answer is taken to be a mask as large as its prompt's box, so that none is asked again. Network pixels
for each voxel of the cores are what ``mitoscale status`` tells of a run that was computed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mitoscale.core.grid import BlockGrid
from mitoscale.nets.sam import Sam, SamConfig
from mitoscale.nets.sam_questions import Question
from mitoscale.nets.sam_segmenter import SamSegmenter, _Answer, _Window
from mitoscale.ops.fusion import Fusion
from mitoscale.pipeline import load
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder


class Counting(SamSegmenter):
    """Chooses windows and counts them; nothing is encoded."""

    def _forward(self, crops: np.ndarray, windows: Sequence[_Window], asked: Sequence[tuple[int, Question]]) -> list[_Answer]:
        self._pixels += crops.size
        return [_Answer(logits=np.zeros((0, 0), np.float32), corner=(1, 1), score=0.0) for _ in asked]


def counted(folder: str, window: int, pixel_nm: float | None, core: tuple[int, int, int]) -> dict[str, float]:
    """Network pixels for each voxel of the cores, and prompts."""
    run = load(folder)
    plan = run.plan
    fusion = Fusion(detect=plan.settings.detect, segment=plan.settings.segment, spacing=plan.spec.spacing)
    model = Sam(SamConfig(image_size=window, width=24, depth=1, heads=2, embedding=32, decoder_mlp=32))
    segmenter = Counting(model, pixel_nm=pixel_nm, spacing=plan.spec.spacing)
    stored = open_array(RunFolder(folder).foreground, missing="fill")
    asked = voxels = 0
    grid = BlockGrid(region=plan.region, core_shape=core, margin=plan.grid.margin)
    for block in map(grid.numbered, range(len(grid))):
        foreground = stored.read(block.halo) / np.float32(255)
        ask_in = fusion.ask_in(block.halo, plan.region, grid.margin[0])
        prompts = fusion.profiles(foreground, block.core.within(block.halo), ask_in).prompts()
        asked += sum(len(one) for one in prompts)
        voxels += block.core.size
        segmenter.masks(np.zeros(foreground.shape, np.uint8), foreground, prompts, block.halo)
    return {"network_pixels_per_voxel": round(segmenter.counts["network_pixels"] / voxels, 3), "prompts": asked}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = []
    for window, pixel in ((256, 5.0), (1024, None)):
        for core in ((64, 512, 512), (32, 1024, 1024)):
            rows.append({"window": window, "core": list(core), **counted(arguments.run, window, pixel, core)})
            print(json.dumps(rows[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps({"rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
