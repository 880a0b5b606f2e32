"""Adapt a network without labels: ``python jobs/adapt.py STACK.tif --out mine.safetensors --voxel-size 5,5,5``."""

import sys

from mitoscale.cli import main

if __name__ == "__main__":
    main(["adapt", *sys.argv[1:]])
