"""Where a result comes from: version, commit, settings, input and weights."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel, ConfigDict

import mitoscale
from mitoscale.core.settings import RunSettings

LIBRARIES = ("numpy", "scipy", "scikit-image", "torch", "zarr", "tensorstore", "dask", "distributed", "segment-anything")
"""What numbers depend on, beside mitoscale itself."""


class Provenance(BaseModel):
    """Stored in run.json, in the Zarr attributes, in the tables and in the report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    """Version of mitoscale."""
    commit: str
    """Git commit of the source tree, or empty."""
    source: str
    """What was read."""
    fingerprint: str
    """Digest of what was read."""
    weights: dict[str, str]
    """Name or path of each set of weights and its SHA-256."""
    libraries: dict[str, str]
    """Versions of the libraries that numbers depend on."""
    python: str
    """Version of Python."""

    @classmethod
    def of(cls, settings: RunSettings) -> Provenance:
        """The provenance of a run that starts now."""
        weights = {settings.detect.detector: settings.detect.weights}
        if settings.segment.segmenter == "sam":
            weights[settings.segment.sam] = settings.segment.weights
        return cls(
            version=mitoscale.__version__,
            commit=_commit(),
            source=settings.convert.source,
            fingerprint=settings.convert.fingerprint,
            weights=weights,
            libraries=library_versions(),
            python=platform.python_version(),
        )


def software() -> dict[str, str]:
    """What computed something: version and commit of mitoscale, and of the libraries that numbers depend on."""
    return {"mitoscale": mitoscale.__version__, "commit": _commit(), **library_versions()}


def library_versions() -> dict[str, str]:
    """The version of each of :data:`LIBRARIES`, or that it is not installed."""
    return {name: _version(name) for name in LIBRARIES}


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    folder = Path(mitoscale.__file__).parent.parent
    if not (folder / ".git").exists():
        return ""
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except OSError:  # git is not installed
        return ""
    return found.stdout.strip()
