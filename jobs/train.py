"""Train a network: ``python jobs/train.py STACK.tif TRUTH.tif --out mine.safetensors --voxel-size 5,5,5``."""

import sys

from mitoscale.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
