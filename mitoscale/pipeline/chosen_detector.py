"""The detector of a run for which none is named: chosen for the volume once, and kept from then on."""

from __future__ import annotations

from mitoscale.core.detector_names import ONE_TISSUE
from mitoscale.core.errors import InputError
from mitoscale.core.plan import RunPlan
from mitoscale.core.request import RunRequest
from mitoscale.pipeline.run import Run, check_start, make_plan
from mitoscale.pipeline.run_settings import settings_for, with_request
from mitoscale.stages.source import Source
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger
from mitoscale.storage.run_json import read_plan
from mitoscale.storage.stored_files import is_file

NAMED = "named"
"""Why a detector is taken that the user has named."""


def planned(source: Source, run: str, request: RunRequest, threads: int) -> RunPlan:
    """The plan of a whole run, with the detector that is named, was chosen at an earlier start, or suits the volume.

    Parameters
    ----------
    source : Source
        The volume.
    run : str
        Folder of the run, or its address in an object store.
    request : RunRequest
        What is asked.
    threads : int
        Threads a task computes with.

    Raises
    ------
    InputError
        If the region is not in the volume, weights cannot be found, or the run cannot begin or go on.
    """
    plan = make_plan(source, run, settings_for(source, request, threads))
    if request.detector is not None:
        return plan.model_copy(update={"detector_why": NAMED})
    folder = RunFolder(plan.run)
    if is_file(folder.run_json) and request.redo not in ("convert", "detect"):
        old = read_plan(folder)
        if old.detector_why not in ("", NAMED):
            return _with(plan, request, old.settings.detect.detector, old.detector_why)
        if old.detector_why == NAMED or _detected(folder):
            return plan.model_copy(update={"detector_why": old.detector_why})
    check_start(plan, request.redo)  # what is wrong is told before anybody looks at the volume
    return _chosen(plan, request, plan.settings.convert.source)


def converted(run: Run, request: RunRequest) -> RunPlan:
    """The plan of a run whose volume is there and that goes on with detect.

    Parameters
    ----------
    run : Run
        As it is.
    request : RunRequest
        What is asked of it now.

    Raises
    ------
    InputError
        If weights cannot be found.
    """
    plan, folder = run.plan, RunFolder(run.plan.run)
    asked = plan.model_copy(update={"settings": with_request(plan.settings, request)})
    if request.detector is not None:
        return asked.model_copy(update={"detector_why": NAMED})
    if plan.detector_why or _detected(folder):
        return asked
    wanted = plan.settings.convert
    return _chosen(asked, request, wanted.source if wanted.in_place else folder.volume)


def _detected(folder: RunFolder) -> bool:
    """Whether the detector has begun."""
    return bool(Ledger(folder.ledger("detect")).version())


def _chosen(plan: RunPlan, request: RunRequest, path: str) -> RunPlan:
    """The plan with the detector that suits the volume at a path: the source, or what it was converted to."""
    from mitoscale.evaluation.detector_choice import choose_detector
    from mitoscale.evaluation.grey_volume import open_grey

    wanted = plan.settings.convert
    reading = wanted.reading if path == wanted.source else None
    try:
        volume = open_grey(path, wanted.spacing, invert=wanted.invert, reading=reading)
        choice = choose_detector(volume, wanted.region)
    except InputError:  # it cannot be read: the stages tell what is wrong
        return _with(plan, request, ONE_TISSUE, "")
    return _with(plan, request, choice.detector, choice.told())


def _with(plan: RunPlan, request: RunRequest, detector: str, why: str) -> RunPlan:
    named = request.model_copy(update={"detector": detector})
    return plan.model_copy(update={"settings": with_request(plan.settings, named), "detector_why": why})
