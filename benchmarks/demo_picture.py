"""The picture at the top of the README: two of the pictures that ``mitoscale demo`` has made, side by side.

mitoscale demo FOLDER
python benchmarks/demo_picture.py FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

RESULT = Path(__file__).parent / "results" / "demo.png"
PICTURES = ("02.png", "03.png")
HEIGHT = 384


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    shown = [Image.open(arguments.folder / "run" / "pictures" / name).convert("RGB") for name in PICTURES]
    scaled = [one.resize((round(one.width * HEIGHT / one.height), HEIGHT), Image.Resampling.LANCZOS) for one in shown]
    beside = Image.new("RGB", (sum(one.width for one in scaled), HEIGHT))
    at = 0
    for one in scaled:
        beside.paste(one, (at, 0))
        at += one.width
    beside.save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
