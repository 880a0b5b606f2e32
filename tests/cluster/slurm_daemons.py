"""A SLURM of one machine for tests: munged, slurmctld and slurmd with state, spool, sockets and logs in a folder of their own.

As a script it runs until Ctrl-C: ``python tests/cluster/slurm_daemons.py FOLDER`` prints the ``SLURM_CONF`` to use. It must be
root, and needs the Debian packages ``slurmctld slurmd slurm-client munge`` and the machine's own name in ``/etc/hosts``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

_NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")

_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
GresTypes=gpu
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=16000 Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why no SLURM can be started here; empty where one can."""
    missing = [name for name in _NEEDED if _program(name) is None]
    if missing:
        return f"{', '.join(missing)} missing (apt-get install slurmctld slurmd slurm-client munge)"
    if os.geteuid() != 0:
        return "slurmd must be started as root"
    try:
        socket.gethostbyname(socket.gethostname())
    except OSError:
        return f"this machine's name {socket.gethostname()} is not in /etc/hosts"
    return ""


@contextmanager
def slurm(folder: Path) -> Iterator[str]:
    """Start a SLURM of one node with 8 CPUs, and 2 GPUs that do not exist; yields the path of its ``slurm.conf``."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    conf = folder / "slurm.conf"
    conf.write_text(_CONF.format(host=socket.gethostname(), folder=folder, ports=_free_ports(2)))
    for name in ("gpu0", "gpu1"):  # SLURM looks only whether there are such files
        (folder / name).touch()
    (folder / "gres.conf").write_text(f"NodeName={socket.gethostname()} Name=gpu File={folder}/gpu[0-1]\n")
    munge = [f"--{name}={folder}/munge.{suffix}" for name, suffix in _MUNGE_FILES.items()]
    with ExitStack() as stack:
        stack.enter_context(_daemon(["munged", "--foreground", "--force", *munge], conf, folder))
        _until(lambda: (folder / "munge.socket").exists(), "munged does not listen", folder)
        stack.enter_context(_daemon(["slurmctld", "-D", "-i", "-f", str(conf)], conf, folder))
        _until(lambda: "UP" in said(conf, "scontrol", "ping"), "slurmctld does not answer", folder)
        stack.enter_context(_daemon(["slurmd", "-D", "-f", str(conf)], conf, folder))
        _until(lambda: said(conf, "sinfo", "-h", "-o", "%T").split()[:1] == ["idle"], "the node is not idle", folder)
        yield str(conf)
        subprocess.run(["scancel", "-u", "root"], env={**os.environ, "SLURM_CONF": str(conf)}, check=False)
        _until(lambda: not said(conf, "squeue", "-h"), "jobs do not end", folder)


_MUNGE_FILES = {
    "key-file": "key",
    "socket": "socket",
    "pid-file": "pid",
    "log-file": "log",
    "seed-file": "seed",
}


def said(conf: str | Path, *command: str) -> str:
    """What a SLURM command prints."""
    done = subprocess.run(
        command, env={**os.environ, "SLURM_CONF": str(conf)}, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout


@contextmanager
def _daemon(command: Sequence[str], conf: Path, folder: Path) -> Iterator[None]:
    program = _program(command[0])
    assert program is not None
    with (folder / f"{command[0]}.out").open("wb") as log:
        process = subprocess.Popen(
            [program, *command[1:]],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "SLURM_CONF": str(conf)},
            start_new_session=True,
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _until(holds: Callable[[], object], problem: str, folder: Path, seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > ends:
            logs = "\n".join(f"== {p.name}\n{p.read_text(errors='replace')[-1500:]}" for p in sorted(folder.glob("*.[lo][ou][gt]")))
            raise RuntimeError(f"{problem} after {seconds:.0f} s\n{logs}")
        time.sleep(0.3)


if __name__ == "__main__":
    reason = why_not()
    if reason:
        sys.exit(f"no SLURM here: {reason}")
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="slurm-"))
    with slurm(chosen.absolute()) as path:
        print(f"export SLURM_CONF={path}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopping", flush=True)
