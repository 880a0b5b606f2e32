"""Options that several commands share, and the types that read them."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any

import click


class Amount(click.FloatRange):
    """A number in a range; ``nan``, which is in none, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class Threshold(Amount):
    """A number from 0 on; a whole one stays whole, however it is written, so that settings with it stay the same."""

    name = "number"

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        number = super().convert(value, param, ctx)
        return int(number) if number < 2**63 and number == int(number) else number


class Numbers(click.ParamType):
    """Three numbers ``Z,Y,X``.

    Parameters
    ----------
    kind : type
        ``int`` or ``float``; all must be above 0.
    most : float
        The largest that any may be.
    such : str
        An example.
    """

    def __init__(self, kind: type, most: float = 1e9, such: str = "5,5,5") -> None:
        self.kind, self.most, self.such = kind, most, such
        self.name = "Z,Y,X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(self.kind(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != 3 or any(not 0 < n <= self.most for n in numbers):
            self.fail(f"{value!r} is not three numbers above 0, at most {self.most:g}, such as {self.such} (z,y,x)", param, ctx)
        return numbers


class Voxel(click.ParamType):
    """A voxel ``Z,Y,X``."""

    name = "Z,Y,X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
            self.fail(f"{value!r} is not a voxel z,y,x such as 30,200,310", param, ctx)
        return tuple(map(int, parts))


class Pixels(click.ParamType):
    """Whole numbers, not negative, with commas between.

    Parameters
    ----------
    name : str
        What they are, such as ``Y,X``; tells how many.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if len(parts) != self.name.count(",") + 1 or not all(p.strip().isdigit() for p in parts):
            self.fail(f"{value!r} is not {self.name} in whole pixels", param, ctx)
        return tuple(map(int, parts))


class SliceRange(click.ParamType):
    """A range of slices ``A:B``, half-open."""

    name = "A:B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read the text."""
        if isinstance(value, tuple):
            return value
        start, colon, stop = str(value).partition(":")
        if not (colon and start.isdigit() and stop.isdigit() and int(start) < int(stop)):
            self.fail(f"{value!r} is not a range of slices such as 132:165", param, ctx)
        return int(start), int(stop)


class Part(click.ParamType):
    """A part of the volume, ``Z0:Z1,Y0:Y1,X0:X1``; whether the volume has it is told once its shape is known."""

    name = "Z0:Z1,Y0:Y1,X0:X1"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the form."""
        text = re.sub(r"\s", "", str(value))
        if not re.fullmatch(r"\d*:\d*,\d*:\d*,\d*:\d*", text):
            self.fail(f"{value!r} is not three ranges z,y,x such as 0:64,0:512,0:512", param, ctx)
        return text


def keywords(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Turn repeated ``k=v`` into a dict.

    Parameters
    ----------
    ctx, param
        From click.
    values : tuple of str
        Each ``NAME=VALUE``.
    """
    pairs = [v.partition("=") for v in values]
    for name, sign, _ in pairs:
        if not sign or not name.isidentifier():
            raise click.BadParameter(f"{name!r} is not NAME=VALUE", ctx, param)
    return {name: value for name, _, value in pairs}


def where_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--cluster`` and ``--workers``."""
    command = click.option(
        "--workers", type=click.IntRange(min=1), help="Worker processes (default: one a CPU; none for a small job)."
    )(command)
    return click.option("--cluster", metavar="FILE", help="cluster.yaml; without it, a local cluster sized to the machine.")(
        command
    )


def truth_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--truth-threshold`` and ``--truth-dtype``."""
    text = "The truth holds grey values or probabilities: above this number (127, 0.5) is mitochondrion."
    command = click.option("--truth-dtype", metavar="DTYPE", help="Dtype of a truth of raw bytes (default: --dtype).")(command)
    return click.option("--truth-threshold", type=Threshold(), metavar="T", help=text)(command)


def report_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--performance-report``."""
    return click.option("--performance-report", metavar="FOLDER", help="Keep Dask's report of each stage there.")(command)


def request_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is computed: models, thresholds, region, redo; the command gets them, and its own of these names, as ``request``."""

    @functools.wraps(command)
    def with_request(**values: Any) -> Any:
        from mitoscale.core.request import RunRequest

        asked = {name: values.pop(name) for name in RunRequest.model_fields if name in values}
        return command(request=RunRequest(**asked), **values)

    described: Callable[..., Any] = with_request
    for option in reversed(
        (
            click.option("--region", type=Part(), help="Work on this part of the volume only (voxels)."),
            click.option("--invert/--no-invert", default=None, help="Membranes are bright: swap dark and bright."),
            click.option(
                "--block", type=Numbers(int, 16384, "64,512,512"), help="Core of a block in voxels; also the shard of the arrays."
            ),
            click.option(
                "--detector",
                help="auto (default: whichever embedded U-Net suits the volume), weights by name (mitoscale weights list) or path, "
                "bioimageio:FOLDER (a model of the BioImage Model Zoo), or pkg.module:factory. MitoNet, other .pth files and model "
                "folders hold code, which is run.",
            ),
            click.option(
                "--detector-pixel",
                type=Amount(0, min_open=True),
                metavar="NM",
                help="Pixel size the detector works at (default: what it was trained at; MitoNet: the volume's; "
                "2 to 4 times as large is often better).",
            ),
            click.option(
                "--detector-option",
                multiple=True,
                callback=keywords,
                metavar="K=V",
                help="Keyword for a detector factory; channel=NAME for bioimageio; median=1 for MitoNet.",
            ),
            click.option("--threshold", type=Amount(0, 1), help="Foreground probability from which a voxel counts."),
            click.option("--mirror", is_flag=True, help="The U-Net sees each slice twice: half as fast."),
            click.option(
                "--segmenter",
                help="sam, unet (watershed of the U-Net alone, fast), or pkg.module:factory; not named: sam, but unet where "
                "the detector that was chosen knows the tissue.",
            ),
            click.option(
                "--segmenter-option",
                multiple=True,
                callback=keywords,
                metavar="K=V",
                help="Keyword for a segmenter factory.",
            ),
            click.option("--sam", help="SAM: embedded weights by name, or any checkpoint (.pth, .safetensors) by path."),
            click.option(
                "--sam-pixel",
                type=Amount(0, min_open=True),
                metavar="NM",
                help="Pixel size SAM works at (default: what it was trained at).",
            ),
            click.option(
                "--sam-step",
                type=Amount(min=0),
                metavar="NM",
                help="SAM is asked in slices at most this far apart, and never more than 8 slices, and interpolated between "
                "(default: 20; 0: in each slice).",
            ),
            click.option(
                "--gate",
                type=Amount(min=0),
                metavar="NM",
                help="How far masks may leave the foreground (default: while unsure).",
            ),
            click.option(
                "--min-volume",
                type=Amount(min=0),
                metavar="NM3",
                help="Drop smaller objects (default: 1e6; of 1 to 3 slices 1e4 x step).",
            ),
            report_option,
            click.option(
                "--redo",
                type=click.Choice(["convert", "detect", "segment", "stitch", "relabel", "measure", "report"]),
                help="Do this stage and all after it again.",
            ),
        )
    ):
        described = option(described)
    return described


def learning_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What training and fine-tuning share: data, split, recipe, and where it runs."""
    for option in reversed(
        (
            click.option("--out", required=True, metavar="FILE", help="Weights file to write (.safetensors)."),
            click.option(
                "--preset", type=click.Choice(["default", "report"]), default="default", show_default=True, help="The recipe."
            ),
            click.option("--voxel-size", type=Numbers(float), help="Voxel size z,y,x in nm, where the volume does not tell it."),
            truth_option,
            click.option("--invert", is_flag=True, help="Membranes are bright: swap dark and bright."),
            click.option("--slices", type=SliceRange(), help="Learn from these slices (default: all before those held out)."),
            click.option("--tune", type=SliceRange(), help="Slices that choose the best weights; never learnt from."),
            click.option("--batch", type=click.IntRange(min=1), help="Crops, slices or windows a step (default: the preset's)."),
            click.option("--learning-rate", type=Amount(0, min_open=True), help="Default: the preset's."),
            click.option(
                "--patience", type=click.IntRange(min=0), help="Stop after so many scores without a better one; 0: never."
            ),
            click.option("--seed", type=int, default=0, show_default=True, help="Seed of all randomness."),
            click.option("--threads", type=click.IntRange(min=1), help="CPU threads, where there is no --cluster."),
            click.option("--cluster", metavar="FILE", help="cluster.yaml; without it, one worker on this machine."),
        )
    ):
        command = option(command)
    return command
