"""Whether two versions of mitoscale make the same labels, bit for bit, of the same volume with the same options.

    git worktree add ../old v0.1.0
    python benchmarks/same_labels.py ../old TRAINING.tif --voxel-size 5,5,5 --region 132:150,0:256,0:256

Both checkouts run with the libraries of this environment. Exits with 1 where the labels differ.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from mitoscale.storage.arrays import checksum, open_array


def labels_of(checkout: Path, arguments: list[str], folder: Path) -> np.ndarray:
    """(Z, Y, X) labels that the version in a checkout makes; 0 outside the region."""
    command = [sys.executable, "-m", "mitoscale", "run", arguments[0], str(folder), *arguments[1:]]
    subprocess.run(command, check=True, cwd=folder.parent, env={**os.environ, "PYTHONPATH": str(checkout)})
    return open_array(f"{folder}/volume.zarr/labels/mitochondria/0", missing="fill").read_all()


def main() -> int:
    """Run both, print digests and numbers of objects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="checkout of the version to compare this one with")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="SRC and options of mitoscale run")
    a = parser.parse_args()
    source = str(Path(a.arguments[0]).resolve())
    digests = []
    with tempfile.TemporaryDirectory(prefix="same-labels-") as scratch:
        for name, checkout in (("other", a.other.resolve()), ("this", Path(__file__).resolve().parents[1])):
            labels = labels_of(checkout, [source, *a.arguments[1:]], Path(scratch, name))
            digests.append(checksum(labels))
            print(f"{name:5}  {digests[-1]}  {len(np.unique(labels)) - 1} objects, shape {labels.shape}")
    print("equal" if digests[0] == digests[1] else "DIFFERENT")
    return int(digests[0] != digests[1])


if __name__ == "__main__":
    sys.exit(main())
