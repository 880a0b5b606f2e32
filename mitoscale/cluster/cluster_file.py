"""Reading ``cluster.yaml``: every mistake in it is one clear line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mitoscale.cluster.configuration import dotted
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
        settings = ClusterSettings.model_validate(content)
    except ValidationError as error:
        raise InputError(f"cluster file {path}: {_told(error)}") from error
    _check_dask(path, settings.dask)
    if not isinstance(settings.tls, Tls):
        return settings
    beside = {name: _beside(path, file) for name, file in settings.tls.model_dump().items()}
    return settings.model_copy(update={"tls": Tls(**beside)})


class _Loader(yaml.SafeLoader):
    """Refuses a name that is there twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """See the base class."""
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(problem=f"{key.value} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _beside(path: str, file: str) -> str:
    """A file named in a cluster file: beside that, or else where the command was started."""
    found = Path(path).parent / file
    return str(found.resolve()) if found.is_file() else file


def _check_dask(path: str, settings: Mapping[str, Any]) -> None:
    """Raise where the scheduler or the workers are told a setting that Dask does not have."""
    if not settings:
        return
    import dask
    import distributed  # noqa: F401 - knows its own settings once it is imported

    for name in dotted(settings):
        place, _, last = name.rpartition(".")
        if not name.startswith("distributed.") or place.endswith("environ") or dask.config.get(name, _Loader) is not _Loader:
            continue
        beside = dask.config.get(place, {})
        near = difflib.get_close_matches(last, beside) if isinstance(beside, Mapping) else []
        raise InputError(f"cluster file {path}: dask has no setting {name}" + (f"; is {place}.{near[0]} meant?" if near else ""))


def _content(path: str) -> dict[str, Any]:
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
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
    place = [str(part) for part in problem["loc"] if part not in ("[key]", "Tls")]
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message += f"; known names are {', '.join(_model_at(place[:-1]).model_fields)}"
    return ": ".join(filter(None, (".".join(place), message)))


def _model_at(place: list[str]) -> type[Any]:
    """The settings class whose fields stand at a place in the file."""
    if place and place[-1] in _MODELS:
        return _MODELS[place[-1]]
    return Group if place and place[0] == "groups" else ClusterSettings
