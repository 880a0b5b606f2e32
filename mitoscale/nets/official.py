"""Meta's official SAM checkpoints: their names, where they are published, and where a downloaded one is kept.

Names and addresses are those of the segment-anything README. The last part of a file's name is the beginning of its MD5 sum.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mitoscale.core.errors import InputError

SOURCE = "https://dl.fbaipublicfiles.com/segment_anything/"
"""Folder in which Meta publishes them."""

_HASH = re.compile(r".+_([0-9a-f]{6,32})\.pth")


@dataclass(frozen=True, kw_only=True)
class OfficialWeights:
    """One official checkpoint."""

    name: str
    """What ``--sam`` calls it once it is downloaded."""
    file: str
    """Its file name, which ends with the beginning of its MD5 sum."""
    megabytes: int
    """About how much there is to download."""
    parameters: str
    """Size of the network."""

    @property
    def path(self) -> Path:
        """Where it is kept; the file need not be there."""
        return cache_folder() / self.file


OFFICIAL = {
    weights.name: weights
    for weights in (
        OfficialWeights(name="vit_b", file="sam_vit_b_01ec64.pth", megabytes=375, parameters="94 M"),
        OfficialWeights(name="vit_l", file="sam_vit_l_0b3195.pth", megabytes=1250, parameters="312 M"),
        OfficialWeights(name="vit_h", file="sam_vit_h_4b8939.pth", megabytes=2564, parameters="641 M"),
    )
}
"""By name."""


def cache_folder() -> Path:
    """Where downloads are kept: ``$MITOSCALE_CACHE``, else ``mitoscale`` in the user's cache folder."""
    own = os.environ.get("MITOSCALE_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "mitoscale"


def promised_md5(address: str) -> str:
    """The beginning of the MD5 sum that a checkpoint's file name promises.

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
