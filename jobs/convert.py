"""Convert a TIFF stack to OME-Zarr: ``python jobs/convert.py STACK.tif RUN --voxel-size 5,5,5``."""

import sys

from mitoscale.cli import main

if __name__ == "__main__":  # workers are spawned, and import this file
    main(["convert", *sys.argv[1:]])
