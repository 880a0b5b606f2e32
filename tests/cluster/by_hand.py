"""Schedulers and workers as one starts them by hand: processes of the ``dask`` command, with certificates made by ``openssl``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]

PATHS = os.pathsep.join([str(ROOT), str(Path(__file__).parent), str(ROOT / "tests" / "end_to_end")])
"""Where workers find this checkout, the tests' tasks and their predictors."""


@contextmanager
def process(command: Sequence[str], log: Path, inside: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own; it and its children are killed at the end.

    Parameters
    ----------
    command : sequence of str
        What to run.
    log : Path
        File for what it says.
    inside : sequence of str
        Command that runs it, such as ``ip netns exec NAME``.
    """
    with log.open("wb") as file:
        started = subprocess.Popen(
            [*inside, *command],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": PATHS, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2"},
            start_new_session=True,
        )
        try:
            yield started
        finally:
            with suppress(ProcessLookupError):  # it ended by itself
                os.killpg(started.pid, 9)
            started.wait()


@contextmanager
def scheduler(host: str, port: int, folder: Path, tls: Sequence[str] = (), inside: Sequence[str] = ()) -> Iterator[str]:
    """``dask scheduler``; yields its address once it listens."""
    kind = "tls" if tls else "tcp"
    log = folder / f"scheduler-{port}.log"
    command = dask("scheduler", "--host", f"{kind}://{host}", "--port", str(port), "--no-dashboard", *tls)
    with process(command, log, inside):
        wait_for(log, "Scheduler at")
        yield f"{kind}://{host}:{port}"


@contextmanager
def workers(address: str, options: Sequence[Sequence[str]], folder: Path, insides: Sequence[Sequence[str]] = ()) -> Iterator[None]:
    """One ``dask worker`` for each of ``options``, registered with the scheduler."""
    with ExitStack() as stack:
        logs = []
        for number, chosen in enumerate(options):
            log = folder / f"worker-{number}-{address.rpartition(':')[2]}.log"
            scratch = folder / f"scratch-{number}"
            common = ("--no-dashboard", "--memory-limit", "2GiB", "--nthreads", "1", "--local-directory", str(scratch))
            inside = insides[number] if insides else ()
            stack.enter_context(process(dask("worker", address, *common, *chosen), log, inside))
            logs.append(log)
        for log in logs:
            wait_for(log, "Registered to")
        yield


def dask(*arguments: str) -> list[str]:
    """The ``dask`` command of this Python."""
    return [sys.executable, "-m", "dask", *arguments]


def wait_for(log: Path, said: str, seconds: float = 120) -> None:
    """Wait until a log file says something."""
    ends = time.monotonic() + seconds
    while said not in log.read_text():
        assert time.monotonic() < ends, f"{log} does not say {said!r}: {log.read_text()[-2000:]}"
        time.sleep(0.2)


def make_certificates(folder: Path, name: str = "mitoscale") -> dict[str, str]:
    """An authority and a certificate that it signed, as jobs/README.md shows; paths by their name in ``cluster.yaml``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"ca": f"{name}-ca.pem", "certificate": f"{name}.pem", "key": f"{name}.key"}
    for command in (
        f"req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN={name}-ca -keyout {name}-ca.key -out {files['ca']}",
        f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {files['key']} -out {name}.csr",
        f"x509 -req -days 30 -in {name}.csr -CA {files['ca']} -CAkey {name}-ca.key -CAcreateserial -out {files['certificate']}",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return {role: str(folder / file) for role, file in files.items()}


def tls_options(files: dict[str, str]) -> list[str]:
    """Options of the ``dask`` command for certificates."""
    return ["--tls-ca-file", files["ca"], "--tls-cert", files["certificate"], "--tls-key", files["key"]]
