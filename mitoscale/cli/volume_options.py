"""A list of volumes to learn from in place of one volume and its truth, and which of them are left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

TOLD = ("truth", "voxel_size", "truth_threshold", "invert", "slices", "tune", "test")
"""Options that the entries of a list tell for each volume."""


def without_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--without``, for commands that learn from a list."""
    text = "Leave this volume of a list out, to score on it later; repeatable."
    return click.option("--without", multiple=True, metavar="NAME", help=text)(command)


def with_volumes(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a training's settings, with the volumes of a list where ``volume`` names one.

    Raises
    ------
    InputError
        If the list is wrong, or options are given that its entries tell; if there is neither truth nor list.
    """
    from mitoscale.core.errors import InputError
    from mitoscale.training.volume_list import is_volume_list, left_out, read_volume_list

    without = fields.pop("without")
    if not is_volume_list(fields["volume"]):
        if without:
            raise InputError(f"--without {without[0]} leaves a volume of a list out, but {fields['volume']} is no .yaml file")
        if fields["truth"] is None:
            raise InputError(f"{fields['volume']} has no TRUTH beside it; give it, or a .yaml file that lists both")
        return fields
    told = [name for name in TOLD if fields.get(name)]
    if told:
        raise InputError(f"{told[0].replace('_', '-')} is told for each volume by {fields['volume']}; leave it out here")
    read = [name for name, value in fields["reading"].model_dump(exclude_defaults=True).items()]
    if read:
        raise InputError(
            f"{read[0]} is told for each volume by {fields['volume']}, as 'reading: {{{read[0]}: ...}}'; leave it out here"
        )
    return fields | {"truth": "", "volumes": left_out(read_volume_list(fields["volume"]), without, fields["volume"])}
