"""Kind ``address``: a scheduler that someone else has started, with the workers it has."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import mitoscale
from mitoscale.cluster.connection import Connection
from mitoscale.cluster.scheduler import security_of
from mitoscale.cluster.settings import ClusterSettings
from mitoscale.core.errors import InputError

CONNECT_SECONDS = 30
"""How long an address may take to answer."""

WORKER_SECONDS = 60
"""How long one waits for the first worker."""


@contextmanager
def running_scheduler(settings: ClusterSettings) -> Iterator[Connection]:
    """Connect to a running scheduler; it and its workers go on at the end.

    Yields
    ------
    Connection

    Raises
    ------
    InputError
        If nothing answers, there is no worker, or another version of mitoscale is installed there.
    """
    from distributed import Client

    _check_host(settings.address or "")
    try:
        client = Client(settings.address, security=security_of(settings), timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError) as error:
        reason = _cause(error)
        raise InputError(
            f"no scheduler takes us in at {settings.address} ({reason}): does it run there, "
            "is its port open to this machine, and did the same authority sign both certificates?"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError as error:
            raise InputError(
                f"the scheduler at {settings.address} has no worker; start one: dask worker {settings.address} --resources io=1"
            ) from error
        _check_versions(client)
        try:
            yield Connection(client=client, dashboard=client.dashboard_link or "")
        finally:
            if client.status == "running":  # otherwise the scheduler is gone: nothing is left to tidy
                with suppress(OSError):
                    client.run_on_scheduler(_forget_models)


def _check_host(address: str) -> None:
    """Raise at once where nobody knows the host; one that does not answer yet may be starting."""
    host = address.partition("://")[2].rpartition(":")[0].strip("[]")
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        raise InputError(f"no scheduler at {address}: the host {host!r} is not known ({error.strerror}); mend address") from error


def _cause(error: BaseException) -> str:
    """What went wrong in the system's words, where it has some."""
    reason, link = type(error).__name__, error.__cause__ or error.__context__
    while link is not None:
        reason = getattr(link, "strerror", None) or reason
        link = link.__cause__ or link.__context__
    return reason


def _forget_models(dask_scheduler: Any) -> None:
    """Runs on the scheduler: workers that start later need not load this run's models."""
    from mitoscale.cluster.plugin import ModelPreload

    dask_scheduler.worker_plugins.pop(ModelPreload.name, None)


def _check_versions(client: Any) -> None:
    """Raise unless scheduler and workers have our version of mitoscale."""
    # A lambda travels by value: it runs also where there is no mitoscale.
    there = client.run(lambda: getattr(__import__("mitoscale"), "__version__", ""), on_error="return")
    try:
        there["the scheduler"] = client.run_on_scheduler(lambda: getattr(__import__("mitoscale"), "__version__", ""))
    except ImportError as error:
        there["the scheduler"] = error
    for name, version in sorted(there.items(), key=lambda item: str(item[0])):
        if version != mitoscale.__version__:
            found = f"mitoscale {version}" if isinstance(version, str) else f"no mitoscale ({version})"
            raise InputError(f"{name} has {found}, this machine has {mitoscale.__version__}; install the same everywhere")
