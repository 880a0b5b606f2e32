"""Kind ``slurm``: we start the scheduler, and workers are SLURM jobs that join it.

One job script a group, submitted as often as the group has jobs. A job that ends (cancelled, preempted, out of time, its node
lost) is submitted again while the run goes on.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mitoscale.cluster.autoscaling import Autoscaler
from mitoscale.cluster.connection import Connection
from mitoscale.cluster.scheduler import dashboard_of, scheduler_with
from mitoscale.cluster.settings import ClusterSettings, Tls
from mitoscale.cluster.slurm_jobs import Jobs, write_private
from mitoscale.cluster.slurm_script import job_script
from mitoscale.core.errors import InputError


@contextmanager
def slurm_cluster(settings: ClusterSettings) -> Iterator[Connection]:
    """Start a scheduler here and workers as jobs.

    Yields
    ------
    Connection

    Raises
    ------
    InputError
        If dask-jobqueue or SLURM are missing, or the queue refuses the jobs.
    """
    from distributed import Client

    folder = _new_folder(settings)
    with ExitStack() as stack:
        if settings.tls is None:
            settings = settings.model_copy(update={"tls": stack.enter_context(temporary_certificates(folder))})
        cluster = stack.enter_context(scheduler_with({}, settings))
        client = stack.enter_context(Client(cluster, set_as_default=False))
        scripts: dict[str, str] = {n: job_script(n, settings, cluster.scheduler_address, folder) for n in settings.all_groups}
        jobs = Jobs(scripts, folder, {name: group.per_job for name, group in settings.all_groups.items()})
        with Autoscaler(client, settings.all_groups, jobs) as autoscaler:
            yield Connection(client=client, dashboard=dashboard_of(cluster, settings), more_to_come=autoscaler.more_to_come)


@contextmanager
def temporary_certificates(folder: Path) -> Iterator[Tls]:
    """Certificates of this run alone, which its owner alone may read; nobody else can join its scheduler.

    Parameters
    ----------
    folder : Path
        Where they are written, and removed from at the end; the jobs read them there.

    Yields
    ------
    Tls

    Raises
    ------
    InputError
        If the library that makes them is missing.
    """
    from distributed import Security

    try:
        made = Security.temporary()
    except ImportError as error:
        raise InputError("kind slurm makes certificates with cryptography: pip install 'mitoscale[slurm]', or give tls") from error
    texts = {"ca": made.tls_ca_file, "certificate": made.tls_worker_cert, "key": made.tls_worker_key}
    files = {role: folder / f"{role}.pem" for role in texts}
    try:
        for role, text in texts.items():
            write_private(files[role], text)
        yield Tls(**{role: str(file) for role, file in files.items()})
    finally:
        for file in files.values():
            file.unlink(missing_ok=True)


def _new_folder(settings: ClusterSettings) -> Path:
    """A folder for this run's scripts and logs.

    Raises
    ------
    InputError
        If it cannot be made.
    """
    folder = (
        Path(settings.folder).expanduser().absolute()
        / f"{getpass.getuser()}-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**6:06d}"
    )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise InputError(
            f"folder {settings.folder} cannot be written ({error.strerror}); give one that all machines share"
        ) from error
    return folder
