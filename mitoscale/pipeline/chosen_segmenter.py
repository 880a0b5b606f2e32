"""The segmenter of a run: the one that is named, or SAM, unless the detector that was chosen for the volume knows its tissue.

Where it does, masks with SAM were measured to be worse than its own outlines, and segment took up to twice as long
(benchmarks/README.md, "What SAM adds").
"""

from __future__ import annotations

from mitoscale.core.detector_names import NAMED
from mitoscale.core.plan import RunPlan
from mitoscale.core.request import RunRequest
from mitoscale.core.settings import SegmentSettings
from mitoscale.pipeline.run_settings import with_request

ALONE, WITH_HELP = "unet", SegmentSettings().segmenter
"""Where the detector knows the tissue, and elsewhere."""


def with_asked(plan: RunPlan, request: RunRequest) -> RunPlan:
    """The plan of a run with what is asked of its stages now.

    Parameters
    ----------
    plan : RunPlan
        The run so far.
    request : RunRequest
        What is asked.

    Raises
    ------
    InputError
        If weights cannot be found.
    """
    if "segmenter" in plan.choices and request.names_segmenter and request.segmenter is None:
        request = request.model_copy(update={"segmenter": WITH_HELP})  # whom else could it be said to
    why = plan.segmenter_why if _says_nothing_new(plan, request) else NAMED
    return plan.model_copy(update={"settings": with_request(plan.settings, request), "segmenter_why": why})


def with_kept_segmenter(plan: RunPlan, request: RunRequest, old: RunPlan) -> RunPlan:
    """The plan of a run that goes on, with the segmenter that was chosen for it, unless one is named now.

    Parameters
    ----------
    plan : RunPlan
        As it would be without a choice.
    request : RunRequest
        What is asked.
    old : RunPlan
        The run so far.
    """
    other = request.named not in (None, old.settings.detect.detector)
    if "segmenter" not in old.choices or other or not _says_nothing_new(old, request):
        return plan
    return _with(plan, old.settings.segment.segmenter, old.segmenter_why)


def _says_nothing_new(plan: RunPlan, request: RunRequest) -> bool:
    """Whether a request leaves the segmenter to the choice, or names the one that was chosen."""
    same = "segmenter" in plan.choices and request.segmenter == plan.settings.segment.segmenter
    return not request.names_segmenter or (same and not request.said_to_sam)


def with_chosen_segmenter(plan: RunPlan, knows: bool) -> RunPlan:
    """The plan with the segmenter that suits the detector, unless one is named.

    Parameters
    ----------
    plan : RunPlan
        With the detector that was chosen.
    knows : bool
        Whether that knows the tissue.
    """
    asked = plan.settings.segment.model_copy(update={"weights": "", "margin": None})
    if "segmenter" not in plan.choices and (plan.segmenter_why == NAMED or asked != SegmentSettings()):
        return plan
    if not knows:
        return _with(plan, WITH_HELP, "")
    detector = plan.settings.detect.detector
    return _with(plan, ALONE, f"{ALONE}, as {detector} knows this tissue (--segmenter sam asks SAM as well)")


def _with(plan: RunPlan, segmenter: str, why: str) -> RunPlan:
    settings = with_request(plan.settings, RunRequest(segmenter=segmenter))
    return plan.model_copy(update={"settings": settings, "segmenter_why": why})
