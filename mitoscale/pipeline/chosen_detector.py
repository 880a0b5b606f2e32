"""The detector of a run: the one that is named, or the one that it has, or else one that is chosen for the volume."""

from __future__ import annotations

from mitoscale.core.detector_names import AUTO, NAMED, ONE_TISSUE
from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.plan import RunPlan
from mitoscale.core.request import RunRequest
from mitoscale.core.source_choices import Reading
from mitoscale.pipeline.chosen_segmenter import with_asked, with_chosen_segmenter, with_kept_segmenter
from mitoscale.pipeline.run import Run, check_start, make_plan
from mitoscale.pipeline.run_settings import settings_for, with_request
from mitoscale.stages.source import Source
from mitoscale.storage.addresses import absolute, is_remote
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.ledger import Ledger
from mitoscale.storage.run_json import read_plan
from mitoscale.storage.run_places import check_reached
from mitoscale.storage.stored_files import is_file


def planned(source: Source, run: str, request: RunRequest, threads: int, *, choose: bool = True) -> RunPlan:
    """The plan of a run from its source on.

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
    choose : bool
        Choose a detector where there is none yet; without it, that is left to a later command.

    Raises
    ------
    InputError
        If the region is not in the volume, weights cannot be found, or the run cannot begin or go on.
    """
    folder = RunFolder(absolute(run))
    if is_remote(folder.path):
        check_reached(folder.path)
    old = read_plan(folder, older=request.redo == "convert") if is_file(folder.run_json) else None
    core = old.core if old is not None and request.redo != "convert" else None  # whatever segmenter it goes on with
    plan = make_plan(source, run, settings_for(source, request, threads, core))
    again = request.redo in ("convert", "detect")
    plan = plan.model_copy(update={"segmenter_why": NAMED if request.names_segmenter else ""})
    if old is not None and not again:
        plan = with_kept_segmenter(plan, request, old)
    if request.named is not None:
        return plan.model_copy(update={"detector_why": _why_named(request.named, old)})
    if old is not None and not again and _kept(old, request):
        return _as_before(plan, old, request)
    if not choose:
        return plan
    check_start(plan, request.redo)  # what is wrong is told before anybody looks at the volume
    return _chosen(plan, request, source.path, source.reading)


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
    asked = with_asked(plan, request)
    if request.named is not None:
        if "segmenter" in asked.choices and request.named != plan.settings.detect.detector:
            asked = with_chosen_segmenter(asked, knows=False)
        return asked.model_copy(update={"detector_why": _why_named(request.named, plan)})
    if _kept(plan, request) and not (request.detector == AUTO and request.redo == "detect"):
        return asked
    wanted = plan.settings.convert
    if wanted.in_place:
        return _chosen(asked, request, wanted.source, wanted.reading)
    return _chosen(asked, request, folder.volume, Reading())


def _why_named(detector: str, old: RunPlan | None) -> str:
    """Why a named detector is taken: the reason of the choice, where it is the one that was chosen."""
    chosen = old is not None and old.settings.detect.detector == detector and old.detector_why != ""
    return old.detector_why if old is not None and chosen else NAMED


def _kept(old: RunPlan, request: RunRequest) -> bool:
    """Whether a run stays with the detector that it has; ``auto`` asks for another one where that was named."""
    if old.detector_why == NAMED:
        return request.detector != AUTO
    return bool(old.detector_why or Ledger(RunFolder(old.run).ledger("detect")).version())


def _as_before(plan: RunPlan, old: RunPlan, request: RunRequest) -> RunPlan:
    was = old.settings.detect
    same = {
        "detector": was.detector,
        "detector_option": request.detector_option or was.options,
        "detector_pixel": request.detector_pixel or was.pixel_nm,
    }
    return _with(plan, request.model_copy(update=same), old.detector_why)


def _chosen(plan: RunPlan, request: RunRequest, path: str, reading: Reading) -> RunPlan:
    """The plan with the detector that suits the volume at a path: the source, or what it was converted to."""
    from mitoscale.evaluation.detector_choice import choose_detector
    from mitoscale.evaluation.grey_volume import grey_volume

    wanted, spec = plan.settings.convert, plan.spec
    try:
        # It was checked when the run was planned: that is not done again, which reads all of a volume of floats.
        source = Source(
            path=path,
            reading=reading,
            shape=spec.shape,
            dtype=spec.dtype,
            spacing=spec.spacing,
            origin=spec.origin,
            fingerprint=wanted.fingerprint,
            level0=None,
        )
        volume = grey_volume(source, invert=wanted.invert, part=wanted.region)
        choice = choose_detector(volume, wanted.region)
        detector, why, knows = choice.detector, choice.told(), choice.knows
    except (InputError, BlockError) as error:  # the stages tell what is wrong with the volume, and go on where they can
        detector, why, knows = ONE_TISSUE, f"{ONE_TISSUE}, as the volume could not be looked at ({error})", False
    before = plan.settings.detect.pixel_nm if plan.detector_why == "" else None  # given when the volume was converted
    named = {"detector": detector, "detector_pixel": request.detector_pixel or before}
    return with_chosen_segmenter(_with(plan, request.model_copy(update=named), why), knows)


def _with(plan: RunPlan, named: RunRequest, why: str) -> RunPlan:
    return plan.model_copy(update={"settings": with_request(plan.settings, named), "detector_why": why})
