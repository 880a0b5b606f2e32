"""Options that say what of a source is read."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from mitoscale.cli.options import Numbers

_NAMES = ("channel", "time", "series", "axes", "shape", "dtype", "fill_gaps")


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What of a source is read: the command gets it as ``reading``, a :class:`~mitoscale.core.source_choices.Reading`."""

    @functools.wraps(command)
    def with_reading(**values: Any) -> Any:
        from mitoscale.core.source_choices import Reading

        return command(reading=Reading(**{name: values.pop(name) for name in _NAMES if name in values}), **values)

    number = click.IntRange(min=0)
    described: Callable[..., Any] = with_reading
    for option in reversed(
        (
            click.option("--channel", type=number, metavar="N", help="Of several channels this one, from 0."),
            click.option("--time", type=number, metavar="N", help="Of several times this one, from 0."),
            click.option("--series", type=number, metavar="N", help="Of several images in a file this one, from 0."),
            click.option("--axes", metavar="ORDER", help="Order of the stored axes where it is not told, such as xyz or tczyx."),
            click.option("--shape", type=Numbers(int, such="165,768,1024"), help="Shape of raw bytes."),
            click.option("--dtype", metavar="DTYPE", help="Their dtype: uint8, int16, >u2 (big-endian), float32."),
        )
    ):
        described = option(described)
    return described


def mask_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--mask``, for commands that begin a run."""
    text = "Cells (whole numbers, 0 or less: outside; also on a coarser grid) that cover SRC: only inside of them is worked on."
    return click.option("--mask", metavar="VOLUME", help=text)(command)


def gaps_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--fill-gaps``, beside :func:`reading_options`, where networks see neighbours in place of a missing slice."""
    text = "Slices may be missing by number in a folder or glob: their neighbours stand for them (up to 30 nm, or two slices)."
    return click.option("--fill-gaps", is_flag=True, help=text)(command)
