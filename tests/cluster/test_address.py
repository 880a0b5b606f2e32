"""A scheduler and workers that someone else started, over TCP and TLS."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from block_tasks import row_of_blocks, square, timed
from by_hand import make_certificates, scheduler, tls_options, workers

from mitoscale.cluster import address
from mitoscale.cluster.bundle import StageTasks
from mitoscale.cluster.clusters import ClusterSettings, start
from mitoscale.cluster.placement import Place
from mitoscale.cluster.settings import Tls
from mitoscale.core.errors import InputError, StoppedError
from mitoscale.core.event import Event
from mitoscale.core.result import BlockResult

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed (apt-get install openssl)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("plain")
    with scheduler("127.0.0.1", free_port(), folder) as where, workers(where, [[], ["--resources", "gpu=1"]], folder):
        yield where


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory, certificates: dict[str, str]) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("encrypted")
    tls = tls_options(certificates)
    with scheduler("127.0.0.1", free_port(), folder, tls) as where, workers(where, [tls], folder):
        yield where


def squares(settings: ClusterSettings, group: str = "io") -> list[float]:
    results: list[BlockResult] = []
    with start(settings) as cluster:
        assert cluster.executor.run(StageTasks("detect", square, resource=group), row_of_blocks(12), on_result=results.append) == []
    return sorted(r.counts["square"] for r in results)


def test_a_running_scheduler_computes_and_goes_on(plain: str) -> None:
    settings = ClusterSettings(kind="address", address=plain)
    for _ in range(2):  # it is still there for the next run
        assert squares(settings) == [float(i**2) for i in range(12)]
    assert squares(settings, group="gpu") == [float(i**2) for i in range(12)]


def test_workers_are_taken_as_they_are(plain: str) -> None:
    with start(ClusterSettings(kind="address", address=plain, threads=3)) as cluster:
        assert cluster.workers == 2
        assert cluster.placement.of("gpu") == cluster.placement.of("train") == Place(resource="gpu", slots=1)
        state = cluster.client.run(_threads_and_spilling)
        assert set(state.values()) == {("3", False)}


def _threads_and_spilling(dask_worker: object) -> tuple[str, object]:
    import os

    return os.environ["MITOSCALE_THREADS"], dask_worker.memory_manager.memory_spill_fraction  # type: ignore[attr-defined]


def test_models_of_a_run_that_is_over_are_not_loaded_again(plain: str) -> None:
    settings = ClusterSettings(kind="address", address=plain)
    for warm in (True, False):
        with start(settings) as cluster:
            if warm:
                cluster.preload(dict)
            plugins = cluster.client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.worker_plugins))
            assert ("mitoscale-model-preload" in plugins) is warm
            assert "mitoscale-setup" in plugins


def test_nothing_at_the_address_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "CONNECT_SECONDS", 1)
    settings = ClusterSettings(kind="address", address=f"tcp://127.0.0.1:{free_port()}")
    with pytest.raises(InputError, match=r"no scheduler takes us in at tcp://127.*does it run there") as caught, start(settings):
        pass
    assert "\n" not in str(caught.value)


def test_an_unknown_host_is_told_at_once() -> None:
    with (
        pytest.raises(InputError, match=r"'nosuch.invalid' is not known"),
        start(ClusterSettings(kind="address", address="tcp://nosuch.invalid:8786")),
    ):
        pass


def test_a_scheduler_that_dies_stops_the_run(tmp_path: Path) -> None:
    """Resumable, and no block is blamed."""
    events: list[Event] = []
    with scheduler("127.0.0.1", free_port(), tmp_path) as where, workers(where, [[]], tmp_path):

        def kill(result: BlockResult) -> None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        with (
            pytest.raises(StoppedError, match="start the same command again"),
            start(ClusterSettings(kind="address", address=where)) as cluster,
        ):
            pid = cluster.client.run_on_scheduler(os.getpid)
            cluster.executor.run(StageTasks("detect", timed), row_of_blocks(400), on_result=kill, on_event=events.append)
    assert "raised" not in {event.kind for event in events}


def test_another_version_on_the_workers_is_refused(plain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitoscale.__version__", "99.1")
    settings = ClusterSettings(kind="address", address=plain)
    with pytest.raises(InputError, match=r"has mitoscale .*, this machine has 99.1; install the same"), start(settings):
        pass


@needs_openssl
def test_over_tls(encrypted: str, certificates: dict[str, str]) -> None:
    settings = ClusterSettings(kind="address", address=encrypted, tls=Tls(**certificates))
    assert squares(settings) == [float(i**2) for i in range(12)]


@needs_openssl
def test_a_client_without_certificate_is_refused(encrypted: str, certificates: dict[str, str]) -> None:
    host, port = encrypted.removeprefix("tls://").split(":")
    context = ssl.create_default_context(cafile=certificates["ca"])
    context.check_hostname = False
    # In TLS 1.3 the refusal follows the handshake: an alert, or, where closing overtakes it, an abrupt end.
    with pytest.raises((ssl.SSLError, ConnectionError)), socket.create_connection((host, int(port))) as raw:  # noqa: SIM117
        with context.wrap_socket(raw) as secure:
            secure.recv(1)
    context.load_cert_chain(certificates["certificate"], certificates["key"])
    with socket.create_connection((host, int(port))) as raw, context.wrap_socket(raw) as secure:
        assert secure.recv(1)  # the scheduler greets who has one


@needs_openssl
def test_a_certificate_of_another_authority_is_refused(encrypted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "CONNECT_SECONDS", 2)
    foreign = Tls(**make_certificates(tmp_path, "stranger"))
    with (
        pytest.raises(InputError, match="did the same authority sign both"),
        start(ClusterSettings(kind="address", address=encrypted, tls=foreign)),
    ):
        pass


def test_a_missing_certificate_is_named() -> None:
    tls = Tls(ca="/nowhere/ca.pem", certificate="/nowhere/me.pem", key="/nowhere/me.key")
    settings = ClusterSettings(kind="address", address="tls://127.0.0.1:1", tls=tls)
    with pytest.raises(InputError, match=r"tls ca /nowhere/ca\.pem is no file"), start(settings):
        pass
