"""``mitoscale compare``: U-Net, SAM and fine-tuned SAM side by side."""

from __future__ import annotations

from typing import Any

import click

from mitoscale.cli.options import Numbers, Part, SliceRange, keywords, truth_option
from mitoscale.cli.source_options import reading_options
from mitoscale.core.detector_names import AUTO

_SHOWN = {
    "foreground_iou": "IoU",
    "foreground_dice": "Dice",
    "foreground_accuracy": "accuracy",
    "objects_2d_sa50": "2D sa50",
    "objects_2d_msa": "2D msa",
    "objects_3d_sa50": "3D sa50",
    "objects_3d_msa": "3D msa",
    "seconds_per_slice": "s / slice",
    "mvoxel_per_second": "Mvoxel/s",
}


@click.command()
@click.argument("volume")
@click.argument("truth")
@click.option(
    "--sam", "sams", multiple=True, help="SAM by name or path; give it twice for base and fine-tuned (default: sam-small)."
)
@click.option(
    "--detector", default=AUTO, show_default=True, help="U-Net by name or path, pkg.module:factory, or whichever U-Net suits."
)
@click.option("--detector-option", multiple=True, callback=keywords, metavar="K=V", help="Keyword for a detector factory.")
@click.option("--out", default="mitoscale-compare", show_default=True, metavar="FOLDER", help="Where tables and pictures go.")
@click.option("--voxel-size", type=Numbers(float), help="Voxel size z,y,x in nm, where the volume does not tell it.")
@reading_options
@click.option("--slices", type=SliceRange(), help="Only these slices (half-open).")
@click.option("--region", type=Part(), help="Only this part of the volume (voxels).")
@truth_option
@click.option("--min-truth", type=click.IntRange(min=0), default=0, metavar="N", help="Ignore truth objects below N voxels.")
@click.option("--automatic/--no-automatic", default=True, show_default=True, help="Include SAM's automatic masks (slow).")
@click.option("--invert", is_flag=True, help="Membranes are bright: swap dark and bright.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
def compare(volume: str, truth: str, sams: tuple[str, ...], out: str, **options: Any) -> None:
    """Compare the U-Net alone with each SAM (points, boxes, automatic masks, and as run uses it) on VOLUME and its TRUTH.

    Accuracy in 2D and 3D and speed, as a table, CSV, JSON, and pictures of the worst, median and best slice (green: agreement,
    orange: invented, blue: missed). Times include the U-Net's, which finds what SAM is asked for. A folder that holds an earlier
    comparison is refused.

    \b
    Example:  mitoscale compare stack.tif truth.tif --voxel-size 5,5,5 --slices 132:165 --sam sam-small --sam tuned.safetensors
    """
    from mitoscale.cli.launch import tell
    from mitoscale.cli.progress import count_bar
    from mitoscale.core.errors import InputError
    from mitoscale.core.geometry import Region
    from mitoscale.core.settings import DetectSettings
    from mitoscale.evaluation.compare import compare as measure
    from mitoscale.evaluation.grey_volume import open_grey
    from mitoscale.nets.device import set_threads
    from mitoscale.report.comparison import check_uncompared, write_comparison
    from mitoscale.storage.layout import check_writable

    check_writable(out)
    check_uncompared(out)
    reading = options["reading"]
    grey = open_grey(volume, options["voxel_size"], invert=options["invert"], reading=reading)
    depth, height, width = grey.source.shape
    start, stop = options["slices"] or (0, depth)
    if stop > depth:
        raise InputError(f"slices {start}:{stop} are not within those of {volume}, 0:{depth}; give others with --slices")
    region = Region(start=(start, 0, 0), stop=(stop, height, width))
    if options["region"]:
        if options["slices"]:
            raise InputError("--slices and --region both choose slices; give one of them")
        region = Region.parse(options["region"], grey.source.shape)
    tell(grey.source)
    set_threads(options["threads"])
    with count_bar("compare") as heard:
        found = measure(
            grey,
            truth,
            sams=sams or ("sam-small",),
            detect=DetectSettings(detector=options["detector"], options=options["detector_option"]),
            region=region,
            threshold=options["truth_threshold"],
            truth_reading=reading.of_truth(options["truth_dtype"]),
            automatic=options["automatic"],
            min_truth=options["min_truth"],
            observer=heard,
        )
    if found.detector_why:
        click.echo(f"detector   {found.detector_why}", err=True)
    _print(found.rows())
    for path in write_comparison(found, out):
        click.echo(f"written    {path}")


def _print(rows: list[dict[str, Any]]) -> None:
    width = max(len(row["method"]) for row in rows)
    click.echo(" " * width + "".join(f"{title:>11}" for title in _SHOWN.values()))
    for row in rows:
        cells = "".join(f"{row[name]:11.4f}" if name == "foreground_accuracy" else f"{row[name]:11.3f}" for name in _SHOWN)
        click.echo(f"{row['method']:{width}}{cells}")
