"""Where the time of a run goes, stage by stage, told by its ledgers: networks, other computing, reading, writing, waiting.

    mitoscale run stack.tif RUN --voxel-size 5,5,5 --workers 2
    python benchmarks/pipeline.py RUN --slots 2 --out benchmarks/results/pipeline.json

Shares are of ``slots`` (tasks computed at once: workers times their tasks) times the stage's wall time. ``network`` is what a
network took on its device, ``wait`` what no task accounts for: waiting for tasks and for the last block, Dask, and what the
client does alone. ``reading`` and ``writing`` overlap a GPU's work where a worker has several tasks.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mitoscale.pipeline import load
from mitoscale.pipeline.status import StageProgress, progress

COLUMNS = ("seconds", "network", "other computing", "reading", "writing", "wait", "Mvoxel/s", "GPU hours per teravoxel")


def shares(stage: StageProgress, slots: int) -> dict[str, float]:
    """What the slots did while a stage ran."""
    wall = stage.seconds["wall"]
    read, compute, write = (stage.seconds[phase] / (slots * wall) for phase in ("read", "compute", "write"))
    network = stage.network_seconds / (slots * wall)
    return {
        "seconds": round(wall, 2),
        "network": round(network, 3),
        "other computing": round(compute - network, 3),
        "reading": round(read, 3),
        "writing": round(write, 3),
        "wait": round(1 - read - compute - write, 3),
        "Mvoxel/s": round(stage.voxels / 1e6 / wall, 2),
    }


def measured(run: str, slots: int, gpus: int) -> dict[str, dict[str, float]]:
    """Each stage that has tasks and is finished; the hours of so many GPUs that a teravoxel of each would take.

    Parameters
    ----------
    run : str
        The run folder.
    slots : int
        Tasks computed at once.
    gpus : int
        GPUs that were held; 0: none.
    """
    found: dict[str, dict[str, float]] = {}
    for stage in progress(load(run)).stages:
        if stage.tasks and stage.finished and stage.voxels:
            found[stage.name] = shares(stage, slots)
            if gpus and stage.name in ("detect", "segment"):
                found[stage.name]["GPU hours per teravoxel"] = round(gpus * stage.seconds["wall"] / stage.voxels * 1e12 / 3600, 1)
    return found


def markdown(found: dict[str, dict[str, float]]) -> str:
    """The table."""
    columns = [name for name in COLUMNS if any(name in stage for stage in found.values())]
    lines = ["| stage | " + " | ".join(columns) + " |", "|" + " --- |" * (len(columns) + 1)]
    for name, stage in found.items():
        lines.append(f"| {name} | " + " | ".join(f"{stage[column]:g}" if column in stage else "" for column in columns) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--slots", type=int, required=True, help="workers times the tasks of each")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs that the run held")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    found = measured(arguments.run, arguments.slots, arguments.gpus)
    print(markdown(found))
    if arguments.out:
        result = {"slots": arguments.slots, "gpus": arguments.gpus, "stages": found}
        Path(arguments.out).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
