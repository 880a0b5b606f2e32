"""Detectors of others, by name or path: MitoNet as TorchScript, and model folders of bioimage.io. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mitoscale.core.errors import InputError
from mitoscale.core.file_digest import file_sha256
from mitoscale.core.geometry import Spacing
from mitoscale.nets.bioimageio_model import PREFIX, model_digest, read_model
from mitoscale.nets.named_weights import find_weights
from mitoscale.nets.published import PUBLISHED


def is_foreign(name: str) -> bool:
    """Whether ``--detector`` names a network of others.

    Examples
    --------
    >>> is_foreign("mitonet"), is_foreign("bioimageio:models/em"), is_foreign("tuned.pth"), is_foreign("unet-small")
    (True, True, True, False)
    """
    published = PUBLISHED.get(name)
    return name.startswith(PREFIX) or name.endswith((".pth", ".pt")) or (published is not None and published.use == "detector")


def foreign_digest(name: str) -> str:
    """SHA-256 of a model's folder, or of a TorchScript file.

    Raises
    ------
    InputError
        If it is not there.
    """
    if name.startswith(PREFIX):
        return model_digest(_folder(name))
    return file_sha256(find_weights(name))


def load_foreign(name: str, options: Mapping[str, Any]) -> Any:
    """The network and what is known of it, to be given to :func:`make_foreign`; slow.

    Parameters
    ----------
    name : str
        What ``--detector`` says.
    options : mapping
        What ``--detector-option`` says.

    Raises
    ------
    InputError
        If it cannot be loaded, or is another file than was downloaded first.
    """
    from mitoscale.nets.device import device

    if name.startswith(PREFIX):
        from mitoscale.nets.bioimageio_detector import load_network

        model = read_model(_folder(name))
        unknown = sorted(set(options) - {"channel"})
        if unknown:
            raise InputError(f"--detector-option {unknown[0]}: a model of bioimage.io takes channel")
        return model, load_network(model, device())
    from mitoscale.nets.mitonet import load_mitonet, mitonet_config

    path = find_weights(name)
    _check_first_download(name, path)
    config = mitonet_config(path, options)
    return config, load_mitonet(path, config, device())


def make_foreign(name: str, loaded: Any, options: Mapping[str, Any], *, pixel_nm: float | None, spacing: Spacing) -> Any:
    """A detector of a network that is loaded.

    Parameters
    ----------
    name : str
        What ``--detector`` says.
    loaded : object
        What :func:`load_foreign` gave.
    options : mapping
        What ``--detector-option`` says.
    pixel_nm : float or None
        What ``--detector-pixel`` says.
    spacing : (z, y, x)
        Voxel size of the volume in nm.
    """
    from mitoscale.nets.device import device

    what, network = loaded
    if name.startswith(PREFIX):
        from mitoscale.nets.bioimageio_detector import BioimageioDetector

        channel = options.get("channel")
        return BioimageioDetector(what, network, where=device(), channel=channel, pixel_nm=pixel_nm, spacing=spacing)
    from mitoscale.nets.mitonet import MitoNetDetector

    return MitoNetDetector(network, what, where=device(), pixel_nm=pixel_nm, spacing=spacing)


def _folder(name: str) -> Path:
    return Path(name.removeprefix(PREFIX)).expanduser().absolute()


def _check_first_download(name: str, path: Path) -> None:
    """Raise where a file whose digest nobody publishes is another one than was downloaded first: it is code."""
    record = PUBLISHED[name].record if name in PUBLISHED else None
    if record is None or not record.is_file():
        return
    words = record.read_text().split()
    if words and words[0] != file_sha256(path):
        raise InputError(f"{path} is another file than was downloaded first (see {record}): mitoscale weights download {name}")
