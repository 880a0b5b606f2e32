"""What a worker does when it starts, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

_WORKER = """
import os, sys
from mitoscale.cluster.plugin import stay_on_cpus_of
own, parent = (set(map(int, text.split(","))) for text in sys.argv[1:3])
os.sched_setaffinity(os.getppid(), parent)
os.sched_setaffinity(0, own)
stay_on_cpus_of(os.getppid())
print(*sorted(os.sched_getaffinity(0)))
"""

_NANNY = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', *sys.argv[1:]]).returncode)"


@pytest.mark.skipif(len(CORES) < 2, reason="this machine has one CPU, or no affinity")
@pytest.mark.parametrize(
    ("own", "nanny", "left"), [((0, 1), (0,), (0,)), ((0,), (0, 1), (0,)), ((1,), (0,), (1,))], ids=["beyond", "within", "apart"]
)
def test_a_worker_stays_on_the_cpus_of_its_nanny(own: tuple[int, ...], nanny: tuple[int, ...], left: tuple[int, ...]) -> None:
    given = [",".join(str(CORES[number]) for number in chosen) for chosen in (own, nanny)]
    command = [sys.executable, "-c", _NANNY, _WORKER, *given]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.split() == [str(CORES[number]) for number in left]
