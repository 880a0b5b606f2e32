"""run.json: what a run folder was made from and how, and which version's files lie in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mitoscale.core.errors import InputError
from mitoscale.core.plan import RunPlan
from mitoscale.core.provenance import Provenance
from mitoscale.storage.addresses import is_remote
from mitoscale.storage.layout import RunFolder, read_json, write_json
from mitoscale.storage.run_places import check_reached
from mitoscale.storage.stored_files import is_file, is_folder

FORMAT = 5
"""Raised whenever an older version could misread a run folder, or this one misread an older one's."""


def read_plan(folder: RunFolder, *, older: bool = False) -> RunPlan:
    """The plan of a run, with its paths where the folder is now.

    Parameters
    ----------
    folder : RunFolder
        The run.
    older : bool
        Give that of a run begun by an older version, too, whose working files cannot be read.

    Raises
    ------
    InputError
        If there is none, it is damaged, or it comes from another version.
    """
    if is_remote(folder.path):
        check_reached(folder.path)
    elif not Path(folder.path).is_dir():
        raise InputError(f"there is no folder {folder.path}; give that of a run, or start one with mitoscale run or convert")
    if not is_file(folder.run_json):
        raise InputError(f"{folder.path} is no run folder: it has no run.json; start one with mitoscale run or convert")
    content = read_json(folder.run_json)
    try:
        _check_format(folder, content["format"], older)
        return RunPlan.model_validate(content["plan"]).moved_to(folder.path)
    except (AttributeError, KeyError, TypeError, ValidationError) as error:
        raise InputError(f"{folder.run_json} is damaged ({str(error).splitlines()[0]}): start in a new folder") from error


def write_plan(folder: RunFolder, plan: RunPlan) -> None:
    """Write run.json.

    Parameters
    ----------
    folder : RunFolder
        The run; its folder exists.
    plan : RunPlan
        What is written, beside the versions that make it.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "plan": plan.model_dump(mode="json"),
        "provenance": Provenance.of(plan.settings).model_dump(mode="json"),
    }
    write_json(folder.run_json, content)


def _check_format(folder: RunFolder, found: int, older: bool) -> None:
    if found > FORMAT:
        raise InputError(f"{folder.run_json} has format {found}, this version reads {FORMAT}: update mitoscale")
    if found < FORMAT and not older:
        labels = f"; its labels, where it has finished, can be given as {folder.labels}" if is_folder(folder.labels) else ""
        raise InputError(
            f"{folder.path} was begun by an older mitoscale (format {found} of run.json, now {FORMAT}): use that version, "
            f"add --redo convert to mitoscale run to do all of it again, or give another RUN{labels}"
        )
