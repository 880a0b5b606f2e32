"""Every accuracy figure of benchmarks/README.md and of the model card, measured again.

    python benchmarks/accuracy.py DATA                     # all; says how far each figure is from the committed one
    python benchmarks/accuracy.py DATA --only epfl-unet
    python benchmarks/accuracy.py DATA --write             # results, and the tables in benchmarks/README.md and the model card
    python benchmarks/accuracy.py --tables                 # only the tables, from the committed results

DATA is a folder with ``epfl/training.tif``, ``epfl/training_groundtruth.tif``, ``vnc/raw`` and ``vnc/mitochondria``. A case is a
whole run from the command line (``whole_run.py``), or SAM alone prompted from truth (``sam_prompts.py``). ``unet-small`` has learnt
from the slices that are scored, so ``epfl`` is found with its twin, which has not (``weights/unet-split.safetensors``). Without
``--write`` the new results go to ``--out`` and nothing that is committed changes. About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from table import markdown

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGES = (HERE / "README.md", HERE.parent / "mitoscale" / "nets" / "weights" / "README.md")
BEGIN, END = "<!-- accuracy: written by benchmarks/accuracy.py -->", "<!-- end of accuracy -->"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One result file."""

    script: str
    """Which script measures it."""
    volume: str
    truth: str
    more: tuple[str, ...]
    """Its further options."""
    run: str = ""
    """Name of the run folder, where it is a run; cases may share one."""


TWIN = ("--detector", str(HERE / "weights" / "unet-split.safetensors"))
EPFL = {"volume": "epfl/training.tif", "truth": "epfl/training_groundtruth.tif"}
CASES = {
    "epfl-sam": Case(
        script="whole_run.py", **EPFL, run="epfl", more=("--voxel-size", "5,5,5", "--slices", "132:165", "--redo", "convert", *TWIN)
    ),
    "epfl-unet": Case(
        script="whole_run.py",
        **EPFL,
        run="epfl",
        more=("--voxel-size", "5,5,5", "--slices", "132:165", "--segmenter", "unet", "--redo", "segment", *TWIN),
    ),
    "vnc-sam": Case(
        script="whole_run.py",
        volume="vnc/raw",
        truth="vnc/mitochondria",
        run="vnc",
        more=("--voxel-size", "50,4.6,4.6", "--truth-threshold", "127", "--redo", "convert"),
    ),
    "vnc-unet": Case(
        script="whole_run.py",
        volume="vnc/raw",
        truth="vnc/mitochondria",
        run="vnc",
        more=("--voxel-size", "50,4.6,4.6", "--truth-threshold", "127", "--segmenter", "unet", "--redo", "segment"),
    ),
    "epfl-sam-prompts": Case(script="sam_prompts.py", **EPFL, more=("--voxel-size", "5", "--slices", "132:165")),
}
"""Result file -> how it is measured."""


def measure(name: str, data: Path, runs: Path, out: Path) -> dict[str, Any]:
    """Measure one case; its result is printed by the script and kept in a file."""
    case = CASES[name]
    command = [sys.executable, str(HERE / case.script), str(data / case.volume), str(data / case.truth)]
    command += [str(runs / case.run)] if case.run else []
    more = list(case.more)
    if "--redo" in more and not (runs / case.run / "run.json").exists():  # a new run has nothing to redo
        del more[more.index("--redo") : more.index("--redo") + 2]
    done = subprocess.run([*command, *more], check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{name}: {case.script} ended with {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    (out / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def numbers(result: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """All accuracy figures in a result, with their names; times and memory depend on the machine and are left out."""
    if isinstance(result, dict):
        for key, value in result.items():
            if key not in ("seconds", "mvoxel_per_second", "peak_gib"):
                yield from numbers(value, f"{path}.{key}" if path else key)
    elif isinstance(result, (int, float)) and not isinstance(result, bool):
        yield path, float(result)


def difference(new: dict[str, Any], old: dict[str, Any]) -> str:
    """The figure that differs most from the committed one, in words."""
    was = dict(numbers(old))
    apart = {name: value - was[name] for name, value in numbers(new) if name in was}
    name = max(apart, key=lambda n: abs(apart[n]), default="")
    if not name or not apart[name]:
        return "equal to the committed result"
    return f"{name} differs most: {was[name]:g} committed, {was[name] + apart[name]:g} now"


def figures(results: Path) -> str:
    """The part of the README and the model card that is made of measured figures."""
    runs = [results / f"{name}.json" for name, case in CASES.items() if case.run]
    alone = json.loads((results / "epfl-sam-prompts.json").read_text(encoding="utf-8"))
    sam = json.loads((results / "epfl-sam.json").read_text(encoding="utf-8"))
    changed = f"In the `epfl-sam` run SAM changed {sam['changed']:.1%} of the masks' voxels." if "changed" in sam else ""
    return f"""{markdown(runs)}

SAM alone on slices {alone["slices"]} of `epfl`, prompted from truth in 256 px windows, without gate and fallback: mean IoU \
**{alone["box_iou"]:.3f}** from boxes and
**{alone["point_iou"]:.3f}** from points over {alone["profiles"]} profiles (`benchmarks/sam_prompts.py`). \
{changed}""".rstrip()


def write_pages(text: str) -> None:
    """Put the figures between their marks in the README and the model card."""
    for page in PAGES:
        content = page.read_text(encoding="utf-8")
        if content.count(BEGIN) != 1 or content.count(END) != 1:
            sys.exit(f"{page} has not just one {BEGIN} and one {END}")
        before, rest = content.split(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--only", action="append", choices=list(CASES), help="measure this case alone; may be repeated")
    parser.add_argument("--runs", type=Path, help="where run folders go (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="where new results go (default: a temporary folder)")
    parser.add_argument("--write", action="store_true", help="replace the committed results, and the tables made of them")
    parser.add_argument("--tables", action="store_true", help="measure nothing, write the tables from the committed results")
    arguments = parser.parse_args()
    if arguments.tables:
        write_pages(figures(RESULTS))
        return
    if arguments.data is None:
        parser.error("DATA is needed to measure anything")
    with tempfile.TemporaryDirectory(prefix="mitoscale-accuracy-") as scratch:
        runs, out = arguments.runs or Path(scratch, "runs"), arguments.out or Path(scratch, "results")
        if arguments.write:
            out = RESULTS
        out.mkdir(parents=True, exist_ok=True)
        for name in arguments.only or CASES:
            committed = RESULTS / f"{name}.json"
            old = json.loads(committed.read_text(encoding="utf-8")) if committed.exists() else {}
            print(f"{name}: {difference(measure(name, arguments.data, runs, out), old)}", flush=True)
        if arguments.write:
            write_pages(figures(RESULTS))
        elif not arguments.only:
            print(figures(out))


if __name__ == "__main__":
    main()
