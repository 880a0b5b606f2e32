"""Weights that others publish: their names, where they are, what they promise, and where a downloaded file is kept.

Meta's names and addresses are those of the segment-anything README, the others those of micro-sam 1.8.14 and empanada-napari 1.2.4.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from mitoscale.core.errors import InputError

_HASH = re.compile(r".+_([0-9a-f]{6,32})\.pth")


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """One file that others publish."""

    name: str
    """What ``--sam`` or ``--detector`` calls it once it is downloaded."""
    use: Literal["sam", "detector"]
    """Which option takes it."""
    what: str
    """One line: network, origin."""
    licence: str
    """Its licence, and what its authors ask to be cited."""
    file: str
    """Its name in the folder of downloads, and in a mirror."""
    url: str
    """Where it is published."""
    digest: str
    """``algorithm:hex``; empty where none is published."""
    megabytes: int
    """About how much there is to download."""

    @property
    def path(self) -> Path:
        """Where it is kept; the file need not be there."""
        return cache_folder() / self.file

    @property
    def record(self) -> Path | None:
        """Where the SHA-256 of its first download is kept, where none is published."""
        return None if self.digest else self.path.with_name(self.file + ".sha256")


def _meta(name: str, file: str, digest: str, megabytes: int, parameters: str) -> PublishedWeights:
    return PublishedWeights(
        name=name,
        use="sam",
        what=f"Meta's SAM, {parameters} parameters, natural images",
        licence="Apache-2.0; Kirillov et al. 2023, arXiv 2304.02643",
        file=file,
        url=f"https://dl.fbaipublicfiles.com/segment_anything/{file}",
        digest=digest,
        megabytes=megabytes,
    )


def _micro_sam(size: str, place: str, digest: str, megabytes: int, parameters: str) -> PublishedWeights:
    return PublishedWeights(
        name=f"{size}_em_organelles",
        use="sam",
        what=f"micro-sam's SAM for organelles in EM, {parameters} parameters",
        licence="CC-BY-4.0; Archit et al. 2025, doi 10.1038/s41592-024-02580-4",
        file=f"{size}_em_organelles.pt",
        url=f"https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io/{place}/files/{size}.pt",
        digest=digest,
        megabytes=megabytes,
    )


def _mitonet(name: str, file: str, megabytes: int, network: str) -> PublishedWeights:
    return PublishedWeights(
        name=name,
        use="detector",
        what=f"MitoNet ({network}), foreground of mitochondria in EM; TorchScript, which is code",
        licence="BSD-3-Clause; Conrad & Narayan 2023, doi 10.1016/j.cels.2022.12.006",
        file=file,
        url=f"https://zenodo.org/record/6861565/files/{file}?download=1",
        digest="",
        megabytes=megabytes,
    )


PUBLISHED = {
    weights.name: weights
    for weights in (
        _meta("vit_b", "sam_vit_b_01ec64.pth", "xxh128:6923c33df3637b6a922d7682bfc9a86b", 375, "94 M"),
        _meta("vit_l", "sam_vit_l_0b3195.pth", "xxh128:a82beb3c660661e3dd38d999cc860e9a", 1250, "312 M"),
        _meta("vit_h", "sam_vit_h_4b8939.pth", "xxh128:97698fac30bd929c2e6d8d8cc15933c2", 2564, "641 M"),
        _micro_sam("vit_t", "greedy-whale/1", "xxh128:253474720c497cce605e57c9b1d18fd9", 41, "10 M"),
        _micro_sam("vit_b", "noisy-ox/1.2", "xxh128:f3bf2ed83d691456bae2c3f9a05fb438", 375, "94 M"),
        _micro_sam("vit_l", "humorous-crab/1.2", "xxh128:810b084b6e51acdbf760a993d8619f2d", 1250, "312 M"),
        _mitonet("mitonet", "MitoNet_v1.pth", 221, "Panoptic-DeepLab"),
        _mitonet("mitonet_mini", "MitoNet_v1_mini.pth", 110, "Panoptic-BiFPN"),
    )
}
"""The published models by the name that options take."""


def cache_folder() -> Path:
    """Where downloads are kept: ``$MITOSCALE_CACHE``, else ``mitoscale`` in the user's cache folder."""
    own = os.environ.get("MITOSCALE_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "mitoscale"


def check_use(name: str, use: Literal["sam", "detector"]) -> None:
    """Raise where a published name is given to the other option.

    Parameters
    ----------
    name : str
        Any name or path of weights.
    use : {"sam", "detector"}
        The option it is given to.

    Raises
    ------
    InputError
        If it is for the other one.
    """
    published = PUBLISHED.get(name)
    if published is not None and published.use != use:
        raise InputError(f"weights {name} are for --{published.use}, not for --{use}: {published.what}")


def promised_md5(address: str) -> str:
    """The beginning of the MD5 sum that a checkpoint's file name promises, as Meta's do.

    Parameters
    ----------
    address : str
        A URL or path.

    Raises
    ------
    InputError
        If its file name has no such part.

    Examples
    --------
    >>> promised_md5("https://example.org/sam_vit_b_01ec64.pth?download=1")
    '01ec64'
    """
    name = Path(urlsplit(address).path).name
    match = _HASH.fullmatch(name)
    if match is None:
        raise InputError(f"{name!r} does not end in _HASH.pth, as sam_vit_b_01ec64.pth does, so it could not be verified")
    return match[1]
