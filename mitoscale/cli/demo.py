"""``mitoscale demo``: the whole pipeline on a phantom, scored against its truth."""

from __future__ import annotations

import click

from mitoscale.cli.options import where_options

SEED = 12
"""Seed of the demo's phantom, of whose objects a quarter touch, as with most seeds; training uses seeds from 1000 on."""

_SHAPE, _OBJECTS, _BLOCK = (64, 352, 352), 101, (32, 176, 176)

_SPACING = (10.0, 10.0, 10.0)

_SMALLEST = 2.2e6
"""``--min-volume`` of the demo, in nm^3: phantoms are made of nothing smaller than an ellipsoid with half-axes of 81 nm."""

_MARGIN = (8, 32, 32)
"""What neighbouring blocks both read, in voxels: 320 nm across slices, as 64 pixels of 5 nm are."""


@click.command()
@click.argument("folder", default="mitoscale-demo")
@click.option("--segmenter", help="sam or unet.")
@where_options
def demo(folder: str, segmenter: str | None, cluster: str | None, workers: int | None) -> None:
    """Make a phantom volume with known mitochondria in FOLDER, run everything on it, and score the result.

    \b
    Example:  mitoscale demo
    """
    import os

    from mitoscale.cli.launch import cluster_settings, run_stages, tell_choice
    from mitoscale.core.errors import InputError
    from mitoscale.core.request import RunRequest
    from mitoscale.core.settings import STAGES, SegmentSettings
    from mitoscale.evaluation.evaluate import evaluate
    from mitoscale.nets.factories import make_segmenter
    from mitoscale.ops.phantom import make_phantom
    from mitoscale.pipeline import planned, start
    from mitoscale.stages.source import open_source
    from mitoscale.storage.layout import RunFolder, check_writable, write_json
    from mitoscale.storage.run_json import read_plan
    from mitoscale.storage.tiff_writing import write_tiff

    check_writable(folder)
    if segmenter is not None:  # what cannot be asked is told before anything is made
        make_segmenter(SegmentSettings(segmenter=segmenter), _SPACING)
    image, truth, run = (os.path.join(folder, name) for name in ("phantom.tif", "truth.tif", "run"))
    if os.path.isdir(folder) and os.listdir(folder) and not os.path.exists(truth):
        raise InputError(f"folder {folder} holds other files; give a new or empty folder")
    if not os.path.exists(truth):
        click.echo(f"phantom    {' x '.join(map(str, _SHAPE))} voxels, up to {_OBJECTS} mitochondria, seed {SEED}", err=True)
        phantom = make_phantom(_SHAPE, objects=_OBJECTS, seed=SEED, spacing=_SPACING)
        write_tiff(image, phantom.image, phantom.spacing)
        write_tiff(truth, phantom.labels.astype("uint16"), phantom.spacing)
        number = int(phantom.labels.max())
        click.echo(f"           {number} mitochondria made, {len(phantom.touching)} of them touch another", err=True)
    if segmenter is not None and os.path.exists(RunFolder(run).run_json):
        before = read_plan(RunFolder(run)).settings.segment.segmenter
        if before != segmenter:
            raise InputError(f"the demo in {folder} was made with --segmenter {before}; give a new or empty folder for {segmenter}")
    source = open_source(image, None)
    where = cluster_settings(cluster, workers)
    plan = planned(source, run, RunRequest(block=_BLOCK, min_volume=_SMALLEST, segmenter=segmenter), where.threads)
    segment = plan.settings.segment.model_copy(update={"margin": _MARGIN})
    started = start(plan.model_copy(update={"settings": plan.settings.model_copy(update={"segment": segment})}))
    tell_choice(started.plan)
    run_stages(started, STAGES[:-1], where)
    scores = evaluate(run, truth)
    chosen = {
        "foreground IoU": scores["foreground"]["iou"],
        "3D F1 at IoU 0.5": scores["objects_3d"]["f1_50"],
        "3D F1 at IoU 0.75": scores["objects_3d"]["f1_75"],
        "3D mean segmentation accuracy": scores["objects_3d"]["msa"],
    }
    write_json(os.path.join(run, "scores.json"), chosen)
    run_stages(started, ["report"], where)
    for name, value in chosen.items():
        click.echo(f"{name:30} {value:.3f}")
