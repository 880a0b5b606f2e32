"""Which weights there are, and where to download those that are not here."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from safetensors import SafetensorError, safe_open

from mitoscale.core.errors import InputError
from mitoscale.nets.named_weights import embedded_names, find_weights
from mitoscale.nets.published import PUBLISHED, PublishedWeights, cache_folder, promised_md5


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
    licence: str = ""
    """Its licence, and what its authors ask to be cited; empty for the embedded and own ones."""
    damaged: bool = False
    """Whether the file cannot be what its name says, as far as that is seen without reading all of it."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """Something to download."""

    url: str
    """Where it is."""
    path: Path
    """Where it goes."""
    digest: str
    """``algorithm:hex`` that it promises, or the beginning of it; empty where none is published."""
    record: Path | None = None
    """Where the SHA-256 of the first download is kept, where none is published."""
    licence: str = ""
    """Its licence, and what its authors ask to be cited."""


def known_weights() -> list[KnownWeights]:
    """The embedded weights, then the user's own in the folder of downloads, then those that others publish.

    What a name stands for is listed, as :func:`mitoscale.nets.named_weights.find_weights` finds it: embedded weights come before
    own ones of their name, and those before published ones.
    """
    embedded = {name: _described(name, find_weights(name), "embedded") for name in embedded_names()}
    files = {path.stem: path for path in sorted(cache_folder().glob("*.safetensors")) if path.is_file()}
    own = {name: _described(name, path, "own") for name, path in files.items() if name not in embedded}
    published = {name: _published(weights) for name, weights in PUBLISHED.items()}
    return list((embedded | own | {name: w for name, w in published.items() if name not in own}).values())


def _described(name: str, path: Path, whose: str) -> KnownWeights:
    """Weights in the project's format, by their header."""
    damaged = False
    try:
        with safe_open(path, framework="np") as file:
            card = json.loads((file.metadata() or {})["mitoscale"])
        what = f"{whose} {card['architecture']}, {_pixel(card['pixel_nm'])}, {_origin(card.get('training', {}), whose)}"
    except SafetensorError:
        damaged, what = True, f"{whose}; remove {path}"
    except OSError as error:
        what = f"{whose}; {path} cannot be read ({error.strerror or error})"
    except (KeyError, ValueError, TypeError, AttributeError):
        what = f"{whose}; {path} carries no mitoscale header, so it was not written by mitoscale train"
    return KnownWeights(name=name, what=what, megabytes=path.stat().st_size / 1e6, path=str(path), damaged=damaged)


def _published(weights: PublishedWeights) -> KnownWeights:
    """What others publish; a downloaded file is not hashed again, but an unfinished copy of it is told."""
    what, path, megabytes, damaged = weights.what, "", float(weights.megabytes), False
    if weights.path.is_file():
        path, megabytes = str(weights.path), weights.path.stat().st_size / 1e6
        try:
            damaged = not _is_checkpoint(weights.path)
        except OSError as error:
            what += f"; {weights.path} cannot be read ({error.strerror})"
    if damaged:
        what += f"; remove {weights.path}, then mitoscale weights download {weights.name}"
    return KnownWeights(name=weights.name, what=what, megabytes=megabytes, path=path, licence=weights.licence, damaged=damaged)


def _is_checkpoint(path: Path) -> bool:
    """Whether a file is a zip with its directory, which comes last, or begins like the pickles that torch wrote before."""
    with path.open("rb") as file:
        return file.read(1) == b"\x80" or zipfile.is_zipfile(file)


def _pixel(nm: float | list[float] | None) -> str:
    if nm is None:
        return "pixel size unknown"
    return f"{' x '.join(map(str, nm)) if isinstance(nm, list) else nm} nm"


_EPFL = "epfl (EPFL CVLab FIB-SEM by Lucchi et al., mouse hippocampus CA1)"
_VOLUMES = {"training.tif": _EPFL, "epfl": _EPFL}
"""What the embedded weights were trained on, where their header has only a name."""


def _origin(training: dict[str, object], whose: str) -> str:
    listed = training.get("volumes")
    learnt = [v for v in listed if v.get("train_slices")] if isinstance(listed, list) else []
    names = {v.get("data_sha256", v["data"]): str(v["data"]) for v in reversed(learnt)}  # a volume may be listed twice
    data = ", ".join(reversed(names.values())) or training.get("data")
    if whose == "embedded":
        data = _VOLUMES.get(str(data), data)
    return f"trained on {data}" if data else "origin unknown"


def download_address(name: str, source: str | None = None) -> Download:
    """What a name or URL stands for.

    Parameters
    ----------
    name : str
        A published file's name, or the URL of a checkpoint whose file name ends in ``_HASH.pth`` as Meta's do.
    source : str, optional
        URL of a folder that holds the files under the names they have in the folder of downloads; by default each publisher's.

    Raises
    ------
    InputError
        If there is no such name, a source is no URL, or the URL's file name has no hash.
    """
    if source is not None:
        _check_source(source)
    if name in PUBLISHED:
        known = PUBLISHED[name]
        url = urljoin(source.rstrip("/") + "/", known.file) if source else known.url
        return Download(url=url, path=known.path, digest=known.digest, record=known.record, licence=known.licence)
    if _is_url(name):
        return Download(url=name, path=cache_folder() / Path(urlsplit(name).path).name, digest=f"md5:{promised_md5(name)}")
    if name in embedded_names():
        raise InputError(f"weights {name} are embedded: there is nothing to download")
    raise InputError(f"weights {name!r} are unknown; there are {', '.join(PUBLISHED)}, or give a URL")


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
