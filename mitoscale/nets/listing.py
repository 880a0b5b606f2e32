"""Which weights there are, and where to download those that are not here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from safetensors import safe_open

from mitoscale.core.errors import InputError
from mitoscale.nets.embedded import embedded_names, find_weights
from mitoscale.nets.official import OFFICIAL, SOURCE, cache_folder, promised_md5


@dataclass(frozen=True, kw_only=True)
class KnownWeights:
    """Weights that a command can name."""

    name: str
    """What ``--detector`` or ``--sam`` calls them."""
    what: str
    """One line: network, pixel size, origin."""
    megabytes: float
    """Size of the file."""
    path: str
    """Where the file is; empty where it is not downloaded."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """Something to download."""

    url: str
    """Where it is."""
    path: Path
    """Where it goes."""
    md5: str
    """Beginning of its MD5 sum."""


def known_weights() -> list[KnownWeights]:
    """The embedded weights, then the official checkpoints."""
    known = []
    for name in embedded_names():
        path = find_weights(name)
        with safe_open(path, framework="np") as file:
            card = json.loads((file.metadata() or {}).get("mitoscale", "{}"))
        what = f"embedded {card.get('architecture', '')}, {card.get('pixel_nm')} nm, {_origin(card.get('training', {}))}"
        known.append(KnownWeights(name=name, what=what, megabytes=path.stat().st_size / 1e6, path=str(path)))
    for official in OFFICIAL.values():
        what = f"Meta's SAM, {official.parameters} parameters, natural images"
        here = official.path.is_file()
        size = official.path.stat().st_size / 1e6 if here else float(official.megabytes)
        known.append(KnownWeights(name=official.name, what=what, megabytes=size, path=str(official.path) if here else ""))
    return known


def _origin(training: dict[str, object]) -> str:
    return f"trained on {training['data']}" if training.get("data") else "origin unknown"


def download_address(name: str, source: str | None = None) -> Download:
    """What a name or URL stands for.

    Parameters
    ----------
    name : str
        An official checkpoint's name, or the URL of a checkpoint whose file name ends in ``_HASH.pth`` as theirs do.
    source : str, optional
        URL of a folder that holds the official files; by default Meta's.

    Raises
    ------
    InputError
        If there is no such name, a source is no URL, or the URL's file name has no hash.
    """
    if source is not None:
        _check_source(source)
    if name in OFFICIAL:
        file = OFFICIAL[name].file
        url = urljoin((source or SOURCE).rstrip("/") + "/", file)
    elif _is_url(name):
        url, file = name, Path(urlsplit(name).path).name
    elif name in embedded_names():
        raise InputError(f"weights {name} are embedded: there is nothing to download")
    else:
        raise InputError(f"weights {name!r} are unknown; there are {', '.join(OFFICIAL)}, or give a URL")
    return Download(url=url, path=cache_folder() / file, md5=promised_md5(url))


def _is_url(text: str) -> bool:
    """Whether something can be fetched from it: http and https want a host, file has none."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.hostname) if parts.scheme in ("http", "https") else parts.scheme == "file"


def _check_source(source: str) -> None:
    """Raise unless a mirror is given as a URL; a local folder is told as one."""
    if _is_url(source):
        return
    local = Path(source).expanduser().absolute()
    folder = local.parent if local.is_file() else local
    cure = f"give {folder.as_uri()} for that folder" if source and folder.is_dir() else "give one such as https://host/folder"
    raise InputError(f"--from {source} is no http://, https:// or file:// URL of a folder; {cure}")
