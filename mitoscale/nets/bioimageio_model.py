"""A model folder of bioimage.io: what its ``rdf.yaml`` says, format 0.4 and 0.5.

https://github.com/bioimage-io/spec-bioimage-io. Of its weights TorchScript and PyTorch state dicts can be used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from mitoscale.core.errors import InputError
from mitoscale.core.file_digest import file_sha256

PREFIX = "bioimageio:"
"""What ``--detector`` writes before the folder."""

_FILES = ("rdf.yaml", "bioimageio.yaml")

_NANOMETRES = {"nanometer": 1.0, "micrometer": 1e3, "angstrom": 0.1}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a tensor."""

    name: str
    """``b``, ``c``, ``t``, ``z``, ``y`` or ``x``."""
    least: int = 1
    """Smallest size in pixels."""
    step: int = 0
    """... and what may be added to it again and again; 0: nothing."""
    pixel_nm: float | None = None
    """Pixel size, where it is told."""
    halo: int = 0
    """Pixels of an output's edge that are not to be trusted."""
    channels: tuple[str, ...] = ()
    """Names of the channels, where they have some."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a description says."""

    folder: Path
    """Where it lies."""
    inputs: tuple[Axis, ...]
    """Axes of the input tensor, in order."""
    outputs: tuple[Axis, ...]
    """Axes of the first output tensor, in order."""
    before: Sequence[Mapping[str, Any]]
    """Preprocessing steps."""
    after: Sequence[Mapping[str, Any]]
    """Postprocessing steps."""
    grey: tuple[float, float]
    """The input values of black and white."""
    weights: Mapping[str, Mapping[str, Any]]
    """Each kind of weights there is."""


def read_model(folder: Path) -> Model:
    """Read a model's description.

    Raises
    ------
    InputError
        If there is none, or it is of a kind that cannot be used as a detector.
    """
    content = _content(folder)
    try:
        if content["type"] != "model":
            raise InputError(f"{folder} describes a {content['type']}; a model is wanted")
        if len(content["inputs"]) != 1:
            raise InputError(f"model {folder} has {len(content['inputs'])} inputs; models with one are usable")
        given, answer = content["inputs"][0], content["outputs"][0]
        inputs, outputs = _axes(given), _axes(answer)
        model = Model(
            folder=folder,
            inputs=inputs,
            outputs=outputs,
            before=given.get("preprocessing") or (),
            after=answer.get("postprocessing") or (),
            grey=_grey(given),
            weights=content["weights"],
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(f"model {folder} lacks or misnames {error} in its description: is it of format 0.4 or 0.5?") from error
    names = {axis.name for axis in inputs}
    unknown = sorted((names | {axis.name for axis in outputs}) - set("bczyx"))
    if not {"y", "x"} <= names or unknown:
        raise InputError(f"model {folder} has axes {''.join(sorted(names))}; y and x are wanted, and of others only b, c and z")
    return model


def _content(folder: Path) -> Mapping[str, Any]:
    if folder.is_file():
        raise InputError(f"model {folder} is a file: unpack it, then give {PREFIX}FOLDER")
    path = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"there is no model in {folder}: it has no {' and no '.join(_FILES)}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}): it is no YAML") from error
    if not isinstance(content, Mapping):
        raise InputError(f"{path} is no description of a model: it holds no table")
    return content


def _axes(tensor: Mapping[str, Any]) -> tuple[Axis, ...]:
    """Of format 0.4, where axes are letters and sizes stand apart, or of 0.5, where each axis is a table."""
    axes = tensor["axes"]
    if isinstance(axes, str):
        shape, halo = tensor["shape"], tensor.get("halo") or [0] * len(axes)
        if not isinstance(shape, Mapping):
            least, step = shape, [0] * len(axes)
        elif "min" in shape:
            least, step = shape["min"], shape["step"]
        else:  # of an output: scale * size of the reference + 2 * offset
            least, step = [1 if s else 2 * o for s, o in zip(shape["scale"], shape["offset"], strict=True)], [0] * len(axes)
        return tuple(
            Axis(name=name, least=int(n), step=int(s), halo=int(h)) for name, n, s, h in zip(axes, least, step, halo, strict=True)
        )
    return tuple(_axis(axis) for axis in axes)


def _axis(axis: Mapping[str, Any]) -> Axis:
    """An axis of format 0.5."""
    kind, size = axis["type"], axis.get("size", 1)
    name = {"batch": "b", "channel": "c", "time": "t", "index": "i"}.get(kind) or str(axis["id"])
    least, step = (int(size.get("min", 1)), int(size.get("step", 0))) if isinstance(size, Mapping) else (int(size), 0)
    unit = _NANOMETRES.get(str(axis.get("unit")))
    return Axis(
        name=name,
        least=least,
        step=step,
        pixel_nm=unit * float(axis.get("scale", 1.0)) if unit and kind == "space" else None,
        halo=int(axis.get("halo", 0)),
        channels=tuple(map(str, axis.get("channel_names", ()))),
    )


def _grey(tensor: Mapping[str, Any]) -> tuple[float, float]:
    """The values of black and white where the description tells a finite range, else 0 and 255."""
    data = tensor.get("data")
    low, high = (data.get("range") if isinstance(data, Mapping) else tensor.get("data_range")) or (None, None)
    try:
        low, high = float(low), float(high)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return 0.0, 255.0
    return (low, high) if -1e9 < low < high < 1e9 else (0.0, 255.0)


def source_file(model: Model, source: Any, sha256: Any) -> Path:
    """A file that a description names, in its folder.

    Parameters
    ----------
    model : Model
        The description.
    source : str, or table with ``source``
        A path or URL, of which the name counts.
    sha256 : str or None
        What it promises.

    Raises
    ------
    InputError
        If it is not there, or another file than was promised.
    """
    path = model.folder / Path(urlsplit(str(source)).path).name
    if (model.folder / str(source)).is_file():
        path = model.folder / str(source)
    if not path.is_file():
        raise InputError(f"model {model.folder} names {source}, which is not there: download the whole model")
    if sha256 and (found := file_sha256(path)) != sha256:
        raise InputError(f"{path} has the SHA256 digest {found}, {sha256} is promised by its model: download the model again")
    return path


def model_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of all files that lie in a model's folder.

    Raises
    ------
    InputError
        If there is no model.
    """
    _content(folder)
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        whole.update(f"{path.name} {file_sha256(path)}\n".encode())
    return whole.hexdigest()
