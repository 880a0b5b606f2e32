"""Everything from source to labels and report: ``python jobs/run.py SOURCE RUN --cluster cluster.yaml``."""

import sys

from mitoscale.cli import main

if __name__ == "__main__":  # workers are spawned, and import this file
    main(["run", *sys.argv[1:]])
