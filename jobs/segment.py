"""One stage of a run that was converted and detected: ``python jobs/segment.py RUN --cluster cluster.yaml``."""

import sys

from mitoscale.cli import main

if __name__ == "__main__":  # workers are spawned, and import this file
    main(["segment", *sys.argv[1:]])
