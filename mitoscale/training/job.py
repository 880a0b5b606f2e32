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
from mitoscale.nets.sam import Sam
from mitoscale.nets.sam_pixel import checked_pixel
from mitoscale.nets.unet import UNet
from mitoscale.storage.exclusive import exclusively
from mitoscale.training.checkpoint import Progress, steps_in
from mitoscale.training.detected_prompts import asking_network
from mitoscale.training.epochs import epoch_steps
from mitoscale.training.finetune import Scores, chosen_recipe, finetune_decoder, tuning_score
from mitoscale.training.finetune_windows import Windowed, cut_windows
from mitoscale.training.prompted_scores import DEFINITION, score_of
from mitoscale.training.recipe import plan_training
from mitoscale.training.summary import summary
from mitoscale.training.trained_weights import train_weights
from mitoscale.training.volume_list import read_volumes, volumes_of

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
    asking = {} if settings.prompts_of is None else asking_network(settings.prompts_of)  # refused before anything is read
    volumes = read_volumes(settings)
    for text in volumes.notes:
        report({"what": "note", "text": text})
    plan = plan_training(settings, volumes.learnt, volumes.tuning)
    if isinstance(plan.task.model, UNet):
        shape = (len(plan.task.model.config.context_nm), 128, 128)
        report({"what": "layers", "rows": summary(plan.task.model, shape), "input": list(shape)})
    report({"what": "note", "text": f"device     {device_name()}; batch {plan.batch}, up to {plan.schedule.steps} steps"})
    token = settings.token(" ".join([volumes.digest, *filter(None, [asking.get("sha256")])]))
    _tell_resumed(settings, token, report)
    record = volumes.record | _variety(settings) | {"software": software()}
    if asking:
        record["prompts_of"] = asking
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
    set_threads(settings.threads)
    volumes = read_volumes(settings, settings.unseen)
    for volume in volumes.learnt:
        checked_pixel(settings.sam_pixel_nm, volume.spacing)
    model, card = load_sam(settings.sam)
    model.to(device())
    recipe = chosen_recipe(settings)
    windowed = cut_windows(settings, model, square_pixel(card, settings.sam), volumes, recipe.versions)
    useless = [v.name for v in volumes.unseen if v.name not in windowed.unseen]
    lost = [f"note       {name} is left out and holds nothing to ask for: it is not scored" for name in useless]
    for text in [*volumes.notes, *lost, *_cutting(windowed, model.config.image_size), _caching(settings, windowed, model)]:
        report({"what": "note", "text": text})
    record = (
        volumes.record
        | _variety(settings)
        | {
            "base": {"weights": os.path.basename(settings.sam), "sha256": file_sha256(find_weights(settings.sam)), **card.training},
            "versions": len(windowed.versions),
            "patches": sum(volume.patches for volume in windowed.volumes),
            "patches_with_mitochondria": sum(volume.holding for volume in windowed.volumes),
            "software": software(),
        }
    )
    token = settings.token(volumes.digest)
    _tell_resumed(settings, token, report)
    trained = finetune_decoder(
        settings,
        model,
        windowed,
        token,
        record,
        lambda done, total: report({"what": "embedded", "done": done, "total": total}),
        _epochs(report, epoch_steps(len(windowed.versions[0]), recipe.prompts.windows)),
        lambda scores: _tell_scores(settings, scores, report),
    )
    return _ended(trained.history)


def _variety(settings: LearnSettings) -> dict[str, object]:
    """What was mixed in and changed, for the weights' header."""
    return {
        "phantoms": settings.phantoms if settings.preset == "default" else 0,
        "phantom_share": settings.phantom_share,
        "scenes": settings.scenes,
        "scene_share": settings.scene_share,
        "varied": settings.varied,
    }


def _cutting(windowed: Windowed, side: int) -> list[str]:
    """How the volumes were cut, a line each, for people."""
    told = []
    for volume in windowed.volumes:
        name = f"{volume.name}: " if volume.name else ""
        seen = f"; {volume.seen} in each epoch" if volume.name else ""
        seen += "" if volume.asked else ": it only lends its grey values"
        told.append(
            f"patches    {name}{volume.patches} of {side} x {side} at {windowed.pixel_nm:g} nm: {volume.holding} with "
            f"mitochondria, {volume.patches - volume.holding} empty ones dropped; {volume.asked} have a profile to ask for{seen}"
        )
    return told


def _caching(settings: FinetuneSettings, windowed: Windowed, model: Sam) -> str:
    """What the embeddings take, for people."""
    size = windowed.size(model)
    return (
        f"embeddings {size.windows} windows ({len(windowed.versions)} versions, and those held out) of "
        f"{size.window_bytes / 1e3:.0f} kB take {size.total / 1e9:.3g} GB in {settings.cache}, at most "
        f"{settings.cache_bytes / 1e9:.3g} GB; {size.present} are there already"
    )


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


def _tell_scores(settings: FinetuneSettings, scores: Scores, report: Report) -> None:
    """All scores at the end; before there are those of the tuned weights, one figure for each kind of slices and each volume."""
    if any("tuned" in both for both in scores.values()):
        report({"what": "scores", "prompts": DEFINITION, "slices": _held(settings), "scores": scores})
    elif scores:
        mean = tuning_score(scores, "base")
        told = ", ".join(f"{name} {score_of(both['base']):.4f}" for name, both in scores.items())
        report({"what": "note", "text": f"before     {'' if mean is None else f'score {mean:.4f}; '}{told}"})


def _held(settings: FinetuneSettings) -> dict[str, str]:
    """The slices that are not learnt from, by what they are for and the volume's name, as :class:`Windowed` names them."""
    named = [(f"{use} {v.name}".strip(), slices) for v in volumes_of(settings) for use, slices in v.reserved().items()]
    unseen = {f"unseen {v.name}": v.tune or v.slices for v in settings.unseen}
    return {name: f"{slices[0]}:{slices[1]}" if slices else "" for name, slices in [*named, *unseen.items()]}


def _epochs(report: Report, every: int) -> Callable[[Progress], None]:
    return lambda progress: report({"what": "epoch", "every": every, **asdict(progress)})


def _ended(history: list[Progress]) -> dict[str, Any]:
    return {"history": [asdict(h) for h in history], "seconds": history[-1].seconds}
