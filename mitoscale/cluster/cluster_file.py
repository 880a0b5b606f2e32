"""Reading ``cluster.yaml``: every mistake in it is one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mitoscale.cluster.groups import Adaptive, Group, Queue
from mitoscale.cluster.settings import KINDS, ClusterSettings, Kubernetes, Tls
from mitoscale.core.errors import InputError

_MODELS: dict[str, type[Any]] = {"tls": Tls, "kubernetes": Kubernetes, "queue": Queue, "adaptive": Adaptive}


def load_cluster(path: str | None) -> ClusterSettings:
    """Read ``cluster.yaml``; without one, a local cluster sized to the machine.

    Raises
    ------
    InputError
        If the file is missing or says something that is not understood.
    """
    if path is None:
        return ClusterSettings()
    content = _content(path)
    kind = content.get("kind", "local")
    if kind not in KINDS:
        raise InputError(f"cluster file {path}: kind {kind!r} is not supported; this version knows {', '.join(KINDS)}")
    try:
        return ClusterSettings.model_validate(content)
    except ValidationError as error:
        raise InputError(f"cluster file {path}: {_told(error)}") from error


def _content(path: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cluster file {path} cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}: {getattr(error, 'problem', '')})" if mark else ""
        raise InputError(f"cluster file {path} is no YAML{where}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"cluster file {path} must hold names and values, such as kind: local")
    return content


def _told(error: ValidationError) -> str:
    """The first problem: where, what, and the names that are known there."""
    problem = error.errors()[0]
    place = [str(part) for part in problem["loc"] if part != "[key]"]
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message += f"; known names are {', '.join(_model_at(place[:-1]).model_fields)}"
    return ": ".join(filter(None, (".".join(place), message)))


def _model_at(place: list[str]) -> type[Any]:
    """The settings class whose fields stand at a place in the file."""
    if place and place[-1] in _MODELS:
        return _MODELS[place[-1]]
    return Group if place and place[0] == "groups" else ClusterSettings
