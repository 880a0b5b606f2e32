"""The results of ``whole_run.py`` as the Markdown table of benchmarks/README.md.

python benchmarks/table.py benchmarks/results/epfl-*.json benchmarks/results/vnc-*.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

COLUMNS = ("result", "IoU", "accuracy", "2D F1", "2D sa50", "2D msa", "3D F1", "3D TP/FP/FN", "VOI split + merge", "s", "GiB")


def markdown(paths: Iterable[Path]) -> str:
    """The table of some result files; those without scores are left out."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for path in paths:
        result = json.loads(path.read_text(encoding="utf-8"))
        if "scores" not in result:
            continue
        scores = result["scores"]
        fore, flat, solid = scores["foreground"], scores["objects_2d"], scores["objects_3d"]
        cells = (
            f"`{path.stem}`, slices {result['slices']}",
            f"{fore['iou']:.3f}",
            f"{fore['accuracy']:.4f}",
            f"{flat['f1_50']:.3f}",
            f"{flat['sa50']:.3f}",
            f"{flat['msa']:.3f}",
            f"{solid['f1_50']:.3f}",
            f"{solid['tp50']}/{solid['fp50']}/{solid['fn50']}",
            f"{scores['voi_split']:.3f} + {scores['voi_merge']:.3f}",
            f"{result['seconds']:.0f}",
            f"{result['peak_gib']:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown(map(Path, sys.argv[1:])))
