"""Which embedded U-Net a run takes for each volume that is at hand, and by what it is told.

    python benchmarks/detector_choice.py DATA

DATA is a folder with the volumes of ``VOLUMES``. For each: how well both networks agree with themselves, whichever is asked, what
``mitoscale run`` takes, and the seconds that this took.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from mitoscale.core.detector_names import ONE_TISSUE, SEVERAL_TISSUES
from mitoscale.core.geometry import Spacing
from mitoscale.evaluation.detector_choice import agreement_in, choose_detector
from mitoscale.evaluation.grey_volume import open_grey
from mitoscale.nets.device import set_threads

HERE = Path(__file__).parent
VOLUMES: dict[str, tuple[str, Spacing]] = {
    "epfl": ("epfl/training.tif", (5.0, 5.0, 5.0)),
    "vnc": ("vnc/raw", (50.0, 4.6, 4.6)),
    "mitoem_r": ("mitoem_r/raw.tif", (30.0, 8.0, 8.0)),
    "cardiac": ("cardiac/raw.tif", (1000.0, 5.0, 5.0)),
    "hela": ("hela/raw.tif", (1000.0, 10.0, 10.0)),
    "fib25_1": ("fib25_1/raw.tif", (10.0, 10.0, 10.0)),
    "fib25_2": ("fib25_2/raw.tif", (10.0, 10.0, 10.0)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "detector-choice.json")
    arguments = parser.parse_args()
    set_threads(1)
    rows = []
    for name, (image, spacing) in VOLUMES.items():
        began = time.monotonic()
        volume = open_grey(str(arguments.data / image), spacing)
        choice = choose_detector(volume)
        seconds = time.monotonic() - began
        agreement = {network: round(agreement_in(volume, network), 3) for network in (ONE_TISSUE, SEVERAL_TISSUES)}
        rows.append({"volume": name, **agreement, "taken": choice.detector, "seconds": round(seconds, 1)})
        print(json.dumps(rows[-1]), flush=True)
    arguments.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")
    print("\n".join(("| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0]), *map(_line, rows))))


def _line(row: dict[str, Any]) -> str:
    return "| " + " | ".join(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()) + " |"


if __name__ == "__main__":
    main()
