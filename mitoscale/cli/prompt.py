"""``mitoscale prompt``: ask SAM about one slice, and see what it answers."""

from __future__ import annotations

from typing import Any

import click

from mitoscale.cli.options import Numbers, Pixels
from mitoscale.cli.source_options import reading_options


@click.command()
@click.argument("volume")
@click.option("--slice", "z", type=click.IntRange(min=0), required=True, help="The slice (z).")
@click.option("--point", "points", type=Pixels("Y,X"), multiple=True, help="A point inside an object; may be repeated.")
@click.option("--box", "boxes", type=Pixels("Y0,X0,Y1,X1"), multiple=True, help="A box around an object; may be repeated.")
@click.option("--all", "everything", is_flag=True, help="Masks of everything in the slice.")
@click.option("--sam", default="sam-small", show_default=True, help="SAM by name or path.")
@click.option("--voxel-size", type=Numbers(float), help="Voxel size z,y,x in nm, where the volume does not tell it.")
@reading_options
@click.option("--invert", is_flag=True, help="Membranes are bright: swap dark and bright.")
@click.option("--out", metavar="FILE", help="New .png to write (default: prompt.png, or the first free of prompt-2.png ...).")
def prompt(volume: str, z: int, everything: bool, sam: str, out: str | None, **options: Any) -> None:
    """Ask SAM for objects in one slice of VOLUME and draw points, boxes and masks; prints each mask's score and area.

    No picture is overwritten: an --out that exists is refused.

    \b
    Example:  mitoscale prompt stack.tif --voxel-size 5,5,5 --slice 40 --point 210,388 --out answer.png
              mitoscale prompt stack.tif --voxel-size 5,5,5 --slice 40 --all
    """
    from pathlib import Path

    from mitoscale.cli.launch import tell
    from mitoscale.core.errors import InputError
    from mitoscale.evaluation.grey_volume import open_grey
    from mitoscale.evaluation.prompt import ask_everything, ask_prompts
    from mitoscale.nets.device import set_threads
    from mitoscale.report.pictures import save_png
    from mitoscale.report.prompt import answers_picture
    from mitoscale.storage.layout import check_new, check_writable, free_name

    points, boxes = options["points"], options["boxes"]
    if everything == bool(points or boxes):
        raise click.UsageError("give --point Y,X or --box Y0,X0,Y1,X1, or else --all")
    if out is None:
        out = free_name("prompt.png")
    if Path(out).suffix != ".png":
        raise InputError(f"--out {out} must end in .png")
    check_new(out, "--out")
    check_writable(str(Path(out).parent))
    grey = open_grey(volume, options["voxel_size"], invert=options["invert"], reading=options["reading"])
    tell(grey.source)
    set_threads(None)
    found = ask_everything(grey, z, sam) if everything else ask_prompts(grey, z, points, boxes, sam)
    area = grey.spacing[1] * grey.spacing[2] / 1e6
    for mask in found.masks:
        pixels = int(mask.mask.sum())
        click.echo(f"mask {mask.profile:<4} score {mask.score:.3f}  {pixels} pixels  {pixels * area:.4f} um^2")
    if not found.masks:
        click.echo("SAM answered with no mask")
    save_png(out, answers_picture(found, (grey.spacing[1], grey.spacing[2]), points, boxes))
    click.echo(f"picture    {out}")
