"""Training and fine-tuning as jobs: read the annotated volume, learn, write weights; what a worker of the train group runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mitoscale.core.errors import InputError
from mitoscale.core.file_digest import file_sha256
from mitoscale.core.provenance import software
from mitoscale.core.training_settings import FinetuneSettings, LearnSettings, TrainSettings
from mitoscale.nets.checkpoint import load_sam, square_pixel
from mitoscale.nets.device import device, device_name, set_threads
from mitoscale.nets.named_weights import find_weights
from mitoscale.nets.sam_pixel import checked_pixel
from mitoscale.nets.unet import UNet
from mitoscale.storage.exclusive import exclusively
from mitoscale.training.annotated import AnnotatedVolume, read_annotated
from mitoscale.training.checkpoint import Progress, steps_in
from mitoscale.training.finetune import cut_windows, finetune_decoder
from mitoscale.training.prompted_scores import DEFINITION
from mitoscale.training.recipe import plan_training
from mitoscale.training.samples import Annotated
from mitoscale.training.summary import summary
from mitoscale.training.trained_weights import train_weights
from mitoscale.training.volume_list import read_volumes

Report = Callable[[dict[str, Any]], None]
"""Called with what happened: ``what`` names it, the rest are plain numbers, texts and lists."""


def train_job(settings: TrainSettings, report: Report) -> dict[str, Any]:
    """Train a network as the settings say; run again after a stop, it goes on.

    Parameters
    ----------
    settings : TrainSettings
        What to do.
    report : callable
        Hears ``note`` and ``layers`` before, and ``epoch`` at each score.

    Returns
    -------
    dict
        ``history``, one dict a score, and ``seconds``.

    Raises
    ------
    InputError
        If the volume, its truth or the settings are wrong, or the loss is not finite any more.
    """
    with claimed(settings):
        return _train(settings, report)


def _train(settings: TrainSettings, report: Report) -> dict[str, Any]:
    set_threads(settings.threads)
    volumes = read_volumes(settings)
    for text in volumes.notes:
        report({"what": "note", "text": text})
    plan = plan_training(settings, volumes.learnt, volumes.tuning)
    if isinstance(plan.task.model, UNet):
        shape = (len(plan.task.model.config.context_nm), 128, 128)
        report({"what": "layers", "rows": summary(plan.task.model, shape), "input": list(shape)})
    report({"what": "note", "text": f"device     {device_name()}; batch {plan.batch}, up to {plan.schedule.steps} steps"})
    token = settings.token(volumes.digest)
    _tell_resumed(settings, token, report)
    record = volumes.record | {
        "phantoms": settings.phantoms if settings.preset == "default" else 0,
        "phantom_share": settings.phantom_share,
        "scenes": settings.scenes,
        "scene_share": settings.scene_share,
        "varied": settings.varied,
        "software": software(),
    }
    trained = train_weights(settings, plan, token, record, _epochs(report, plan.schedule.score_every))
    return _ended(trained.history)


def finetune_job(settings: FinetuneSettings, report: Report) -> dict[str, Any]:
    """Fine-tune SAM's mask decoder as the settings say; run again after a stop, it goes on.

    Parameters
    ----------
    settings : FinetuneSettings
        What to do.
    report : callable
        Hears ``note`` before, ``embedded`` while embeddings are computed, ``epoch`` after each epoch, and ``scores`` at the end.

    Returns
    -------
    dict
        ``history``, one dict an epoch, and ``seconds``.

    Raises
    ------
    InputError
        If the volume, its truth or the settings are wrong, the loss is not finite any more, or nothing was gained.
    """
    with claimed(settings):
        return _finetune(settings, report)


def _finetune(settings: FinetuneSettings, report: Report) -> dict[str, Any]:
    pair, learnt, held = _parts(settings, ("tune", "test"), report)
    checked_pixel(settings.sam_pixel_nm, pair.spacing)
    model, card = load_sam(settings.sam)
    model.to(device())
    pixel_nm = square_pixel(card, settings.sam)
    windowed = cut_windows(settings, model, pixel_nm, learnt, held["tune"], held["test"])
    size, side = windowed.size(model), model.config.image_size
    for text in (
        f"patches    {windowed.patches} of {side} x {side} at {windowed.pixel_nm:g} nm: {windowed.holding} with mitochondria, "
        f"{windowed.patches - windowed.holding} empty ones dropped; {len(windowed.versions[0])} have a profile to ask for",
        f"embeddings {size.windows} windows ({len(windowed.versions)} versions, and those held out) of "
        f"{size.window_bytes / 1e3:.0f} kB take {size.total / 1e9:.3g} GB in {settings.cache}, at most "
        f"{settings.cache_bytes / 1e9:.3g} GB; {size.present} are there already",
    ):
        report({"what": "note", "text": text})
    record = _record(settings, pair) | {
        "base": {"weights": os.path.basename(settings.sam), "sha256": file_sha256(find_weights(settings.sam)), **card.training},
        "patches": windowed.patches,
        "patches_with_mitochondria": windowed.holding,
    }
    token = settings.token(pair.digest)
    _tell_resumed(settings, token, report)
    steps = -(-len(windowed.versions[0]) // (settings.batch or 8))
    trained = finetune_decoder(
        settings,
        model,
        windowed,
        token,
        record,
        lambda done, total: report({"what": "embedded", "done": done, "total": total}),
        _epochs(report, steps),
        lambda scores: report({"what": "scores", "prompts": DEFINITION, "slices": _held(settings), "scores": scores}),
    )
    return _ended(trained.history)


@contextmanager
def claimed(settings: LearnSettings) -> Iterator[None]:
    """Meanwhile no other training writes the same weights.

    Raises
    ------
    InputError
        If one does, or has just finished them.
    """
    out = Path(settings.out)
    busy = f"another training is writing {out}; wait for it, stop it, or give another --out"
    with exclusively(out.with_suffix(".lock"), busy):
        if out.exists() and not out.with_suffix(".checkpoint").exists():
            raise InputError(f"--out {out} exists already; give another file, or delete it to train anew")
        yield


def _tell_resumed(settings: LearnSettings, token: str, report: Report) -> None:
    """Say where a training goes on, where it does."""
    checkpoint = Path(settings.out).with_suffix(".checkpoint")
    steps = steps_in(checkpoint, token)
    if steps:
        report({"what": "note", "text": f"checkpoint goes on from step {steps} ({checkpoint})"})


def _parts(
    settings: FinetuneSettings, names: tuple[str, ...], report: Report
) -> tuple[AnnotatedVolume, Annotated, dict[str, Annotated | None]]:
    """The volume, the slices to learn from, and those held out."""
    set_threads(settings.threads)
    pair = read_annotated(
        settings.volume,
        settings.truth,
        settings.voxel_size,
        settings.truth_threshold,
        invert=settings.invert,
        reading=settings.reading,
        truth_dtype=settings.truth_dtype,
    )
    held = {name: pair.part(slices, 1.0) if (slices := getattr(settings, name)) else None for name in names}
    learnt = pair.part(settings.learnt(pair.depth), 1.0)
    for note in pair.notes:
        report({"what": "note", "text": f"note       {note}"})
    report({"what": "note", "text": f"truth      {pair.truth_told}"})
    return pair, learnt, held


def _record(settings: FinetuneSettings, pair: AnnotatedVolume) -> dict[str, object]:
    """Where weights come from, for their header."""
    start, stop = settings.learnt(pair.depth)
    held = {f"{name}_slices": slices for name, slices in _held(settings).items()}
    return {
        "data": Path(settings.volume).name,
        "data_sha256": pair.digest,
        "train_slices": f"{start}:{stop}",
        "tuning_slices": held.pop("tune_slices", ""),
        **held,
        "software": software(),
    }


def _held(settings: LearnSettings) -> dict[str, str]:
    """The slices that are not learnt from, by the option's name."""
    return {name: f"{start}:{stop}" for name, (start, stop) in settings.reserved().items()}


def _epochs(report: Report, every: int) -> Callable[[Progress], None]:
    return lambda progress: report({"what": "epoch", "every": every, **asdict(progress)})


def _ended(history: list[Progress]) -> dict[str, Any]:
    return {"history": [asdict(h) for h in history], "seconds": history[-1].seconds}
