"""How well SAMs answer true prompts on the tuning slices of a list of volumes, as a training scores them.

    python benchmarks/sam_tuning_scores.py benchmarks/varied_volumes.yaml --sam sam-small --sam mine.safetensors

Up to 48 fixed windows a volume; the score is the mean of the IoU of exact boxes and of innermost points.
"""

from __future__ import annotations

import argparse
import json

from mitoscale.core.training_settings import TrainSettings
from mitoscale.nets.checkpoint import load_sam
from mitoscale.nets.device import set_threads
from mitoscale.training.sam import SamTask
from mitoscale.training.volume_list import read_volume_list, read_volumes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volumes", help="a list as mitoscale train takes it")
    parser.add_argument("--sam", action="append", required=True, help="name or path of a small SAM; may be given more than once")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    listed = read_volume_list(arguments.volumes)
    volumes = read_volumes(TrainSettings(volume=arguments.volumes, truth="", volumes=listed, out="none.safetensors", phantoms=0))
    for sam in arguments.sam:
        model = load_sam(sam)[0].eval()
        task = SamTask(model, volumes.learnt, volumes.tuning)
        print(json.dumps({"sam": sam, **{name: round(value, 4) for name, value in task.score(task.model).items()}}), flush=True)


if __name__ == "__main__":
    main()
