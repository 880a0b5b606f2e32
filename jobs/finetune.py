"""Fine-tune SAM: ``python jobs/finetune.py STACK.tif TRUTH.tif --sam sam-small --out mine.safetensors --voxel-size 5,5,5``."""

import sys

from mitoscale.cli import main

if __name__ == "__main__":
    main(["finetune", *sys.argv[1:]])
