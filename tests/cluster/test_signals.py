"""Signals that end a run."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

WAITS = """
import signal, sys, time
from mitoscale.cluster.signals import interruptible
if "nohup" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
try:
    with interruptible():
        print("waits", flush=True)
        for _ in range(10 if "nohup" in sys.argv else 6000):  # a signal just before a long sleep would wait for its end
            time.sleep(0.1)
        print("went on", flush=True)
except KeyboardInterrupt:
    print("ended well", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_as_ctrl_c_does(number: int) -> None:
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "waits\n"
        process.send_signal(number)
        assert process.communicate(timeout=30)[0] == "ended well\n" and process.returncode == 0


def test_nohup_goes_on_after_the_terminal_is_closed() -> None:
    with subprocess.Popen([sys.executable, "-c", WAITS, "nohup"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "waits\n"
        process.send_signal(signal.SIGHUP)
        assert process.communicate(timeout=30)[0] == "went on\n"
