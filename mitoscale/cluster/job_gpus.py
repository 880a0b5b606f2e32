"""Whether a job or pod sees the GPUs that its group asks for: its first command, ``python -m mitoscale.cluster.job_gpus N``.

With fewer, workers would share GPUs or compute on the CPU and nobody would know; with more, they would take those of others.
"""

from __future__ import annotations

import os
import socket
import sys
from importlib.util import find_spec

from mitoscale.cluster.gpus import found_gpus


def problem_with_gpus(wanted: int) -> str:
    """What is wrong, in one line; empty: nothing.

    Parameters
    ----------
    wanted : int
        GPUs the job was to be given, each for a worker of its own.
    """
    if wanted > 1 and find_spec("dask_cuda") is None:
        return f"{wanted} GPUs in a job need dask-cuda, which this Python ({sys.executable}) lacks: pip install 'mitoscale[cuda]'"
    if find_spec("pynvml") is None:  # one GPU needs no further library, and this is the one that could be asked
        return ""
    seen = len(found_gpus())
    if seen == wanted:
        return ""
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    where = f"on {socket.gethostname()}, CUDA_VISIBLE_DEVICES {'is not set' if variable is None else f'is {variable!r}'}"
    return (
        f"the job sees {seen} NVIDIA GPU{'' if seen == 1 else 's'}, and its group asks for gpus: {wanted} ({where}); "
        "look at nvidia-smi in a job like it, and at gpus and queue.directives of the group in the cluster file"
    )


if __name__ == "__main__":
    problem = problem_with_gpus(int(sys.argv[1]))
    sys.exit(f"mitoscale: {problem}" if problem else 0)
