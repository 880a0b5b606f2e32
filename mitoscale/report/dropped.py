"""What a run found and did not keep, and which setting that was."""

from __future__ import annotations

from collections.abc import Mapping

from mitoscale.core.plan import RunPlan
from mitoscale.core.settings import RunSettings
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger


def dropped(plan: RunPlan) -> list[str]:
    """Lines for people, from the ledgers of a run whose labels are made; none where all that was found is kept."""
    return told({stage: _counts(plan, stage) for stage in ("detect", "segment", "relabel")}, plan.settings)


def told(counts: Mapping[str, Mapping[str, float]], settings: RunSettings) -> list[str]:
    """The lines.

    Parameters
    ----------
    counts : mapping
        What the stages detect, segment and relabel counted; empty for a stage that is not done.
    settings : RunSettings
        Of the run.
    """
    objects, small = counts["relabel"].get("objects"), counts["relabel"].get("dropped", 0.0)
    if objects is None:
        return []
    if small:
        least, largest = settings.relabel.min_volume_nm3, counts["relabel"]["largest_dropped_nm3"]
        verb, then = ("is", "was") if small == 1 else ("are", "were")
        of = f"{small:.0f} of {objects + small:.0f} objects"
        line = f"{of} {verb} smaller than --min-volume {least:g} nm^3 and {then} dropped"
        if objects:
            return [line]
        return [f"{line}; the largest has {largest:.3g} nm^3: keep it with --min-volume {0.9 * largest:.2g} --redo relabel"]
    return [] if objects else [_nothing(counts["detect"].get("detections", 0.0), settings)]


def _nothing(profiles: float, settings: RunSettings) -> str:
    """Why there is no object, though none was too small."""
    if not profiles:
        mask = f" Has the --mask {settings.detect.mask.path} cells there?" if settings.detect.mask else ""
        size = ",".join(f"{s:g}" for s in settings.convert.spacing)
        return (
            f"{settings.detect.detector} saw nothing from --threshold {settings.detect.threshold:g} on: is the voxel size right "
            f"({size} nm), are membranes dark (--invert), is it a tissue that the detector knows (--detector)?{mask}"
        )
    segment = settings.segment
    if segment.segmenter not in ("sam", "unet"):
        return f"{profiles:.0f} profiles were seen in slices, and {segment.segmenter} gave no fragment for them"
    score = f", or SAM scored them below {segment.min_score:g} (--segmenter unet asks none)" if segment.segmenter == "sam" else ""
    return f"{profiles:.0f} profiles were seen in slices and dropped: they are below {segment.min_profile_nm2:g} nm^2{score}"


def _counts(plan: RunPlan, stage: str) -> Mapping[str, float]:
    closing = Ledger(RunFolder(plan.run).ledger(stage)).last("finished", plan.settings.token(stage))
    return closing.counts if closing else {}
