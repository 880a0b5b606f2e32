"""The scheduler that we start ourselves, in the process of the client, with the workers it is told to start."""

from __future__ import annotations

import logging
import socket
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mitoscale.cluster.settings import ClusterSettings, Tls
from mitoscale.core.errors import InputError


def scheduler_with(workers: Mapping[str, Any], settings: ClusterSettings) -> Any:
    """A ``distributed.SpecCluster``, a context manager.

    Parameters
    ----------
    workers : mapping
        For each worker's name its class and options; empty where workers join by themselves.
    settings : ClusterSettings
        Where it listens, and with which certificates.

    Raises
    ------
    InputError
        If it cannot listen there, or a certificate is no good.
    """
    from distributed import Scheduler, SpecCluster

    security = security_of(settings)
    options = {
        "host": settings.host,
        "protocol": protocol_of(settings),
        "security": security,
        "port": settings.port,
        "dashboard": True,
        "dashboard_address": _free_address(settings.dashboard),
    }
    try:
        with warnings.catch_warnings():  # another run may take the dashboard's port in this moment: ours is printed anyway
            warnings.filterwarnings("ignore", "Port .* is already in use", UserWarning)
            return SpecCluster(
                workers=dict(workers),
                scheduler={"cls": Scheduler, "options": options},
                security=security,
                silence_logs=logging.CRITICAL,  # a failure goes to the ledger with its traceback, not between progress bars
            )
    except (RuntimeError, OSError) as error:
        reason = error
        while reason.__cause__ is not None:  # Dask says only that it failed
            reason = reason.__cause__  # type: ignore[assignment]
        raise InputError(
            f"the scheduler cannot be started at {settings.host}:{settings.port or 'any port'} with its dashboard at "
            f"{settings.dashboard} ({reason}); correct host, port, dashboard or tls in the cluster file"
        ) from error


def dashboard_of(cluster: Any, settings: ClusterSettings) -> str:
    """Link to the dashboard at the host where it listens, which need not be the scheduler's.

    Parameters
    ----------
    cluster : distributed.SpecCluster
        Whose scheduler serves the dashboard.
    settings : ClusterSettings
        Where the dashboard listens.
    """
    link = urlsplit(cluster.dashboard_link)
    return link._replace(netloc=f"{settings.dashboard.rpartition(':')[0]}:{link.port}").geturl()


def protocol_of(settings: ClusterSettings) -> str:
    """How scheduler, workers and client talk."""
    return "tls://" if isinstance(settings.tls, Tls) else "tcp://"


def security_of(settings: ClusterSettings) -> Any:
    """The ``distributed.Security`` of the settings' certificates; without any, one that encrypts nothing.

    Raises
    ------
    InputError
        If a file is missing.
    """
    from distributed import Security

    files = tls_files(settings)
    if not files:
        return Security()
    roles = ("scheduler", "worker", "client")
    return Security(
        require_encryption=True,
        tls_ca_file=files["ca"],
        **{f"tls_{role}_cert": files["certificate"] for role in roles},
        **{f"tls_{role}_key": files["key"] for role in roles},
    )


def tls_files(settings: ClusterSettings) -> dict[str, str]:
    """Absolute paths of ``ca``, ``certificate`` and ``key``; empty without TLS.

    Raises
    ------
    InputError
        If a file is missing.
    """
    if not isinstance(settings.tls, Tls):
        return {}
    files = {name: Path(value).expanduser().absolute() for name, value in settings.tls.model_dump().items()}
    for name, file in files.items():
        if not file.is_file():
            raise InputError(f"tls {name} {file} is no file; make certificates first, as jobs/README.md shows")
    return {name: str(file) for name, file in files.items()}


def _free_address(address: str) -> str:
    """The wanted dashboard address, or a free port on the same host."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the dashboard's server does
        try:
            probe.bind((host, int(port)))
        except OSError:
            return f"{host}:0"
    return address
