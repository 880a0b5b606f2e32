"""Several annotated volumes to train on at once: the file that lists them, and what is read for it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from mitoscale.core.errors import InputError
from mitoscale.core.training_settings import FinetuneSettings, LearnSettings, ListedVolume
from mitoscale.training.annotated import AnnotatedVolume, read_annotated, read_grey
from mitoscale.training.crop import UNLABELLED, Annotated


@dataclass(frozen=True, kw_only=True)
class TrainingVolumes:
    """What a training reads."""

    learnt: list[Annotated]
    """What to learn from, and what only lends its grey values."""
    tuning: list[Annotated]
    """What chooses the weights."""
    test: list[Annotated]
    """What fine-tuning only scores."""
    unseen: list[Annotated]
    """Volumes of the list that are left out, which fine-tuning only scores."""
    notes: list[str]
    """What the truths were taken for, for people."""
    record: dict[str, Any]
    """Where weights come from, for their header."""
    digest: str
    """SHA-256 of all images and truths."""


def is_volume_list(path: str) -> bool:
    """Whether a path names a list of volumes."""
    return path.lower().endswith((".yaml", ".yml"))


def read_volume_list(path: str) -> tuple[ListedVolume, ...]:
    """Read a YAML list of volumes; paths in it are relative to it, and may hold ``$VARIABLES``.

    Parameters
    ----------
    path : str
        The file: a list of mappings with the fields of :class:`~mitoscale.core.training_settings.ListedVolume`.

    Raises
    ------
    InputError
        If it cannot be read, is no such list, or lists nothing to learn from.
    """
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as a list of volumes ({str(error).splitlines()[0]})") from error
    if not isinstance(content, list) or not content or not all(isinstance(entry, dict) for entry in content):
        raise InputError(f"{path} must hold a list, one entry a volume: '- image: stack.tif' and below it 'truth: truth.tif'")
    volumes = tuple(_listed(entry, number, path) for number, entry in enumerate(content))
    if not any(volume.truth for volume in volumes):
        raise InputError(f"no volume of {path} has a truth to learn from")
    names = [volume.name for volume in volumes]
    if len(set(names)) < len(names):
        raise InputError(f"two volumes of {path} are called {max(names, key=names.count)}: give each another name")
    return volumes


def left_out(volumes: tuple[ListedVolume, ...], names: Sequence[str], path: str) -> tuple[ListedVolume, ...]:
    """The volumes of a list without some of them.

    Parameters
    ----------
    volumes : tuple of ListedVolume
        All of them.
    names : sequence of str
        Those to leave out.
    path : str
        The list, for the error.

    Raises
    ------
    InputError
        If there is none of such a name, or nothing to learn from is left.
    """
    known = [volume.name for volume in volumes]
    for name in names:
        if name not in known:
            raise InputError(f"--without {name}: {path} lists no volume of that name, but {', '.join(known)}")
    kept = tuple(volume for volume in volumes if volume.name not in names)
    if not any(volume.truth for volume in kept):
        raise InputError(f"--without {' '.join(names)} leaves no volume of {path} with a truth to learn from")
    return kept


def _listed(entry: dict[str, Any], number: int, path: str) -> ListedVolume:
    where = {key: _found(str(entry[key]), path) for key in ("image", "truth") if entry.get(key) is not None}
    name = str(entry.get("name") or Path(where.get("image", "")).parent.name or f"volume {number + 1}")
    try:
        return ListedVolume.model_validate({**entry, **where, "name": name})
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise InputError(f"{path}, volume {number + 1}: {field}: {problem['msg'].lower()}") from error
    except InputError as error:
        raise InputError(f"{path}, volume {number + 1}: {error}") from error


def _found(name: str, path: str) -> str:
    """A path of the list, absolute."""
    full = os.path.expandvars(os.path.expanduser(name))
    return full if "://" in full else os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(path)), full))


def volumes_of(settings: LearnSettings) -> tuple[ListedVolume, ...]:
    """The volumes of a training: those listed, or the one that is named."""
    if settings.volumes:
        return settings.volumes
    fields = ("truth", "reading", "truth_dtype", "voxel_size", "truth_threshold", "invert", "slices")
    named = {name: getattr(settings, name) for name in fields} | settings.reserved()
    named |= {"every": settings.every or 1} if isinstance(settings, FinetuneSettings) else {}
    return (ListedVolume(image=settings.volume, **named),)


def read_volumes(settings: LearnSettings, left: Sequence[ListedVolume] = ()) -> TrainingVolumes:
    """Read the volumes of a training: those listed, or the one that is named.

    Parameters
    ----------
    settings : LearnSettings
        What to train on.
    left : sequence of ListedVolume
        What is left out and only scored.

    Raises
    ------
    InputError
        If one cannot be read; see :func:`~mitoscale.training.annotated.read_annotated`.
    """
    learnt: list[Annotated] = []
    held: dict[str, list[Annotated]] = {"tune": [], "test": []}
    notes, records, digests = [], [], []
    for volume in volumes_of(settings):
        if volume.truth is None:
            image, spacing = read_grey(
                volume.image, volume.voxel_size, invert=volume.invert, normalised=volume.normalised, reading=volume.reading
            )
            unknown = np.broadcast_to(np.int32(UNLABELLED), image.shape)
            learnt.append(Annotated(image=image, labels=unknown, spacing=spacing, share=0.0, name=volume.name))
            digests.append(hashlib.sha256(np.ascontiguousarray(image).data).hexdigest())
            records.append({"data": volume.name, "data_sha256": digests[-1], "train_slices": "", "share": 0})
            continue
        pair = _read_pair(volume)
        start, stop = volume.learnt(pair.depth)
        for use, slices in volume.reserved().items():
            held[use].append(pair.part(slices, 1.0, border=volume.border, name=volume.name))
        learnt.append(pair.part((start, stop), volume.share, border=volume.border, name=volume.name))
        notes += [f"note       {note}" for note in pair.notes]
        notes.append(f"truth      {volume.name}: {pair.truth_told}" if settings.volumes else f"truth      {pair.truth_told}")
        digests.append(pair.digest)
        records.append(
            {
                "data": volume.name if settings.volumes else Path(volume.image).name,
                "data_sha256": pair.digest,
                "train_slices": f"{start}:{stop}",
                "tuning_slices": f"{volume.tune[0]}:{volume.tune[1]}" if volume.tune else "",
            }
            | ({"test_slices": f"{volume.test[0]}:{volume.test[1]}"} if volume.test else {})
            | ({"every": volume.every} if isinstance(settings, FinetuneSettings) else {})
            | ({"share": volume.share, "border": volume.border} if settings.volumes else {})
        )
    unseen, reasons = read_unseen(left)
    if not any((volume.labels > 0).any() for volume in learnt):
        raise InputError(f"the truths of {settings.volume} hold no mitochondrion to learn from; annotate one at least")
    return TrainingVolumes(
        learnt=learnt,
        tuning=held["tune"],
        test=held["test"],
        unseen=unseen,
        notes=notes + reasons,
        record={"volumes": records} if settings.volumes else records[0],
        digest=digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest(),
    )


def read_unseen(volumes: Sequence[ListedVolume]) -> tuple[list[Annotated], list[str]]:
    """Volumes that are left out, to score on: their tuning slices, where there are none what else the list names of them.

    Parameters
    ----------
    volumes : sequence of ListedVolume
        Those without a truth are passed over.

    Returns
    -------
    list of Annotated
        Those that can be read: what is left out need not be good.
    list of str
        Why others cannot, for people.
    """
    read, notes = [], []
    for volume in volumes:
        if volume.truth is None:
            continue
        try:
            pair = _read_pair(volume)
            slices = volume.tune or volume.learnt(pair.depth)
            read.append(pair.part(slices, 1.0, border=volume.border, name=volume.name))
        except InputError as error:
            notes.append(f"note       {volume.name} is left out and cannot be scored either: {error}")
    return read, notes


def _read_pair(volume: ListedVolume) -> AnnotatedVolume:
    return read_annotated(
        volume.image,
        volume.truth or "",
        volume.voxel_size,
        volume.truth_threshold,
        invert=volume.invert,
        unlabelled=volume.unlabelled,
        normalised=volume.normalised,
        reading=volume.reading,
        truth_dtype=volume.truth_dtype,
    )
