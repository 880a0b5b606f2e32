"""A list of volumes to learn from in place of one volume and its truth, and which of them are left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from mitoscale.cli.options import Amount

TOLD = ("truth", "voxel_size", "truth_threshold", "truth_dtype", "invert", "slices", "tune", "test", "every")
"""Options that the entries of a list tell for each volume."""


def without_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--without``, for commands that learn from a list."""
    text = "Leave this volume of a list out, to score on it later; repeatable."
    return click.option("--without", multiple=True, metavar="NAME", help=text)(command)


def variety_options(*, phantoms: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What is mixed in with real volumes, and how far crops are changed.

    Parameters
    ----------
    phantoms : int
        How many phantoms there are where nothing else is said.
    """

    def described(command: Callable[..., Any]) -> Callable[..., Any]:
        scenes = "Drawn scenes to mix in: neuropil, muscle and cell bodies, each another look and microscope."
        varied = "Part of the crops changed as far as other tissues and microscopes differ."
        for option in reversed(
            (
                click.option(
                    "--phantoms", type=click.IntRange(min=0), default=phantoms, show_default=True, help="Phantoms to mix in."
                ),
                click.option(
                    "--phantom-share", type=Amount(0, 0.9), default=0.35, show_default=True, help="Their part of the crops."
                ),
                click.option("--scenes", type=click.IntRange(0, 1000), default=0, show_default=True, help=scenes),
                click.option(
                    "--scene-share", type=Amount(0.01, 0.9), default=0.35, show_default=True, help="Their part of the crops."
                ),
                click.option("--varied", type=Amount(0, 1), default=0.0, show_default=True, help=varied),
            )
        ):
            command = option(command)
        return command

    return described


def with_volumes(fields: dict[str, Any], *, scored: bool = False) -> dict[str, Any]:
    """The fields of a training's settings, with the volumes of a list where ``volume`` names one.

    Parameters
    ----------
    fields : dict
        The settings so far; ``without`` names the volumes of the list that are left out.
    scored : bool
        What is left out becomes a field of its own, ``unseen``.

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
    listed = read_volume_list(fields["volume"])
    found = {"truth": "", "volumes": left_out(listed, without, fields["volume"])}
    return fields | found | ({"unseen": tuple(v for v in listed if v.name in without)} if scored else {})
