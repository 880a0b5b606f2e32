"""What a worker has, and what it lacks: device, libraries, weights, and the folder that all share.

A run needs workers that are alike: the same libraries and weights, and the same files under the same paths.
"""

from __future__ import annotations

import os
import platform
import socket
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict

import mitoscale
from mitoscale.core.errors import MitoscaleError
from mitoscale.nets.factories import weights_digest

_LIBRARIES = ("numpy", "scipy", "scikit-image", "torch", "zarr", "tensorstore", "dask", "distributed")

_CLIENT = "client"


class Found(BaseModel):
    """What one process found."""

    model_config = ConfigDict(frozen=True)

    host: str
    """Name of its machine."""
    process: int
    """Its number there."""
    device: str
    """Where networks would run."""
    versions: dict[str, str]
    """Python, mitoscale and the libraries that numbers depend on."""
    weights: dict[str, str]
    """SHA-256 of each set of weights, or what is wrong with it."""
    store: str = ""
    """What is wrong with the shared folder; empty: nothing."""


class Probe(BaseModel):
    """Looks around in a process; picklable.

    Examples
    --------
    >>> Probe(folder="", weights=()).look().versions["mitoscale"] == mitoscale.__version__
    True
    """

    model_config = ConfigDict(frozen=True)

    folder: str
    """Folder all processes share, which :meth:`prepare` made; empty: none is tried."""
    weights: tuple[str, ...]
    """Names or paths of weights to read."""

    def prepare(self) -> None:
        """Make the shared folder, with a file for the others to read."""
        Path(self.folder).mkdir(parents=True)
        Path(self.folder, _CLIENT).write_text(_CLIENT)

    def look(self) -> Found:
        """What there is here; leaves a file in the shared folder."""
        host, process = socket.gethostname(), os.getpid()
        return Found(
            host=host,
            process=process,
            device=_device(),
            versions={"python": platform.python_version(), "mitoscale": mitoscale.__version__, **_versions()},
            weights={name: _digest(name) for name in self.weights},
            store=self._store(f"{host}-{process}") if self.folder else "",
        )

    def problems(self, own: Found, there: Found, *, gpu: bool) -> list[str]:
        """What is wrong with a worker, compared with this process.

        Parameters
        ----------
        own, there : Found
            Of this process and of the worker.
        gpu : bool
            Whether the worker should have a GPU.
        """
        wrong = []
        for name, version in own.versions.items():
            if there.versions.get(name) != version:
                wrong.append(f"{name} is {there.versions.get(name)} there, {version} here: install the same everywhere")
        for name, digest in own.weights.items():
            if there.weights.get(name) != digest:
                wrong.append(f"weights {name}: {there.weights.get(name)} there, {digest} here")
        if there.store:
            wrong.append(there.store)
        elif self.folder and not Path(self.folder, f"{there.host}-{there.process}").is_file():
            wrong.append(f"what it writes to {Path(self.folder).parent} is not seen here: the folder is not shared")
        if gpu and there.device.startswith("CPU"):
            wrong.append("it should have a GPU, and networks would run on its CPU: check the driver and its build of torch")
        return wrong

    def _store(self, name: str) -> str:
        """Write a file and read the client's; what went wrong."""
        parent = Path(self.folder).parent
        try:
            if Path(self.folder, _CLIENT).read_text() != _CLIENT:
                return f"{parent} has other content there: the folder is not shared"
            Path(self.folder, name).write_text(name)
        except FileNotFoundError:
            return f"what is written here to {parent} is not seen there: the folder is not shared"
        except OSError as error:
            return f"{parent} cannot be written there ({error.strerror})"
        return ""


def _device() -> str:
    from mitoscale.nets.device import describe_device  # torch, which the client's help must not load

    return describe_device()


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _digest(name: str) -> str:
    try:
        return weights_digest(name)
    except (MitoscaleError, OSError) as error:
        return str(error)
