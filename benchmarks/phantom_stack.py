"""A phantom and its truth as TIFF, to train a base on that has seen no real volume.

    python benchmarks/phantom_stack.py phantom.tif phantom_truth.tif
    mitoscale train phantom.tif phantom_truth.tif --model sam --slices 0:50 --tune 54:64 --phantom-share 0.4 --batch 4 --steps 600 \
        --out sam-phantom.safetensors
"""

from __future__ import annotations

import argparse

import numpy as np

from mitoscale.ops.phantom import make_phantom
from mitoscale.storage.tiff_writing import write_tiff


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("truth")
    arguments = parser.parse_args()
    phantom = make_phantom((64, 640, 640), objects=40, seed=900, touching=0.3, spacing=(5.0, 5.0, 5.0))
    write_tiff(arguments.image, phantom.image, phantom.spacing)
    write_tiff(arguments.truth, phantom.labels.astype(np.uint16), phantom.spacing)


if __name__ == "__main__":
    main()
