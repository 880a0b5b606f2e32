"""Adapting as a job: look at a volume, adapt a U-Net to it, and write its weights where it has become better."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mitoscale.core.adapt_settings import AdaptSettings
from mitoscale.core.detector_names import AUTO
from mitoscale.core.errors import InputError
from mitoscale.core.file_digest import file_sha256
from mitoscale.core.provenance import software
from mitoscale.core.settings import SegmentSettings
from mitoscale.evaluation.detector_choice import choose_detector
from mitoscale.evaluation.grey_volume import GreyVolume, open_grey
from mitoscale.evaluation.tissue_windows import Window, tissue_windows
from mitoscale.nets.checkpoint import WeightsCard, load_unet, save_weights
from mitoscale.nets.device import device_name, set_threads
from mitoscale.nets.factories import make_segmenter
from mitoscale.nets.named_weights import find_weights
from mitoscale.nets.predictors import MaskSegmenter
from mitoscale.nets.unet import UNet
from mitoscale.storage.atomic import replacing
from mitoscale.training.adapt import Adaptation
from mitoscale.training.adapt_answers import Asker
from mitoscale.training.adapt_state import AdaptState, Stage, state_path
from mitoscale.training.checkpoint import Progress
from mitoscale.training.job import Report, claimed
from mitoscale.training.samples import Annotated
from mitoscale.training.unet import pixel_size
from mitoscale.training.volume_list import read_volumes

_PICTURED = 3
"""Windows that are shown."""


def adapt_job(settings: AdaptSettings, report: Report) -> dict[str, Any]:
    """Adapt a U-Net as the settings say; run again after a stop, it goes on.

    Parameters
    ----------
    settings : AdaptSettings
        What to do.
    report : callable
        Hears ``note`` before and after each stage, and ``epoch`` during a round.

    Returns
    -------
    dict
        ``history``, one dict a stage; ``refused``, why no weights were written, empty where they were; ``seconds``; ``pictured``, a
        file with windows for :func:`mitoscale.report.adaptation.adaptation_picture`.

    Raises
    ------
    InputError
        If volume, weights or settings are wrong, there is no tissue, or the loss is not finite any more.
    """
    with claimed(settings):
        return _adapt(settings, report)


def _adapt(settings: AdaptSettings, report: Report) -> dict[str, Any]:
    set_threads(settings.threads)
    volume = open_grey(settings.volume, settings.voxel_size, invert=settings.invert, reading=settings.reading)
    judge = _judge(settings, volume)
    init = _start(settings, volume, report)
    model, card = load_unet(init)
    pixel_nm = _own_pixel(model, card, init)
    windows = tissue_windows(volume, model.config.context_nm, settings.windows, settings.seed)
    truths, digests = _truths(settings, report)
    for text in (
        *(f"note       {note}" for note in volume.source.notes),
        f"device     {device_name()}; up to {settings.rounds} rounds of {settings.steps} steps of {settings.batch} crops",
        f"windows    {len(windows)} in {len({w.region.start[0] for w in windows})} slices, {len(windows) // 2} never learnt from",
    ):
        report({"what": "note", "text": text})
    seen = _digest(windows)
    used = [file_sha256(find_weights(name)) for name in (init, settings.sam) if name != "none"]
    adaptation = Adaptation(
        settings=settings,
        token=settings.token(" ".join((seen, *used, *digests))),
        asker=Asker(volume.spacing, pixel_nm, judge),
        windows=windows,
        spacing=volume.spacing,
        truths=truths,
        tell=lambda stage: report({"what": "note", "text": told(stage)}),
        report=_steps(report),
    )
    if state_path(Path(settings.out)).exists():
        report({"what": "note", "text": f"checkpoint goes on from {state_path(Path(settings.out))}"})
    state = adaptation.run(model)
    out = Path(settings.out)
    if not state.refused:
        training = {
            "data": Path(settings.volume).name,
            "data_sha256": seen,
            "adapted": [stage.record() for stage in state.stages],
            "best": state.best.name,
            "spacing": list(volume.spacing),
            "windows": [list(w.region.start) for w in windows],
            "rounds": settings.rounds,
            "steps": settings.steps,
            "sam": settings.sam,
            "with": [v.name for v in truths],
            "init": {"weights": init, **card.training},
            "software": software(),
        }
        save_weights(out, state.model, card.model_copy(update={"training": training}))
    pictured = _pictured(out, adaptation, state)
    state_path(out).unlink(missing_ok=True)
    return {
        "history": [stage.record() for stage in state.stages],
        "refused": state.refused,
        "seconds": sum(stage.seconds for stage in state.stages),
        "pictured": str(pictured),
        "pixel": list(volume.spacing[1:]),
    }


def told(stage: Stage) -> str:
    """A stage in one line, for people."""
    found = stage.signals
    parts = [f"agreement {found.score:.3f}", f"flips {found.flips:.2f}", f"changed {found.changed:.2f}", f"sure {found.sure:.2f}"]
    if found.sam is not None:
        parts.append(f"SAM {found.sam:.2f}")
    parts.append(f"foreground {found.foreground:.1%} in {found.profiles} profiles")
    if stage.name != "before":
        parts.append(f"{stage.statistics:.0%} of the volume's statistics")
        parts.append("taken" if stage.taken else f"not taken: {stage.doubts or 'no better'}")
    return f"{stage.name:10} {', '.join(parts)}"


def _own_pixel(model: UNet, card: WeightsCard, name: str) -> float:
    pixel = card.pixel_nm
    if not model.config.normalise or isinstance(pixel, tuple) or pixel != pixel_size(model.config):
        raise InputError(
            f"weights {name} are no U-Net that can be adapted: it needs batch normalisation and pixels of "
            f"{pixel_size(model.config):g} nm, as those of mitoscale train without --preset have"
        )
    return pixel


def _start(settings: AdaptSettings, volume: GreyVolume, report: Report) -> str:
    """The weights to start from."""
    if settings.init is not None and settings.init != AUTO:
        return settings.init
    choice = choose_detector(volume)
    report({"what": "note", "text": f"start      {choice.told()}"})
    return choice.detector


def _judge(settings: AdaptSettings, volume: GreyVolume) -> MaskSegmenter | None:
    if settings.sam == "none":
        return None
    judge = make_segmenter(SegmentSettings(sam=settings.sam), volume.spacing)
    assert isinstance(judge, MaskSegmenter)
    return judge


def _truths(settings: AdaptSettings, report: Report) -> tuple[list[Annotated], list[str]]:
    """The annotated volumes to go on learning from, and their digests."""
    if not settings.volumes:
        return [], []
    volumes = read_volumes(settings)
    for text in volumes.notes:
        report({"what": "note", "text": text})
    return [v for v in volumes.learnt if v.share], [volumes.digest]


def _digest(windows: Sequence[Window]) -> str:
    """SHA-256 of what is seen of the volume, and where."""
    found = hashlib.sha256()
    for window in windows:
        found.update(json.dumps(window.region.model_dump()).encode())
        found.update(np.ascontiguousarray(window.image).data)
    return found.hexdigest()


def _steps(report: Report) -> Callable[[Progress], None]:
    def heard(progress: Progress) -> None:
        report({"what": "epoch", "every": progress.steps, **asdict(progress)})

    return heard


def _pictured(out: Path, adaptation: Adaptation, state: AdaptState) -> Path:
    """A file with the windows, never learnt from, in which most was found, and what was found before and after."""
    order = sorted(range(len(adaptation.held)), key=lambda i: -max(float((p[i] >= 0.5).mean()) for p in (state.before, state.now)))[
        :_PICTURED
    ]
    path = out.with_suffix(".windows.npz")
    arrays = {
        "image": np.stack([adaptation.held[i].image[adaptation.held[i].own] for i in order]),
        "before": np.stack([state.before[i] >= 0.5 for i in order]),
        "after": np.stack([state.now[i] >= 0.5 for i in order]),
    }
    with replacing(str(path)) as part, open(part, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return path
