"""Whether what a run's ledgers call done is there: files may have been removed, by hand or by a broken disk."""

from __future__ import annotations

from itertools import chain

from mitoscale.core.settings import STAGES
from mitoscale.pipeline.run import Run
from mitoscale.pipeline.state import FINISHED, StageState, finished, ledger_of
from mitoscale.stages.outputs import files_of, places_gone, tasks_without_shards, tasks_without_tables
from mitoscale.stages.work_tables import STAGES_WITH_TABLES
from mitoscale.storage.layout import RunFolder
from mitoscale.storage.stored_files import is_file


def cleaned(run: Run) -> bool:
    """Whether it was finished and what only later stages need was removed since."""
    return not RunFolder(run.plan.run).has_work() and finished(run, "report")


def vanished(run: Run, name: str) -> dict[str, str]:
    """Stages up to one of which an array or folder is gone though tasks have written into it, each with its path.

    Of a cleaned run only what stays for good is asked for.

    Parameters
    ----------
    run : Run
        The run.
    name : str
        Last stage that is looked at.
    """
    without_work = cleaned(run)
    work = RunFolder(run.plan.run).work
    found = {}
    for stage in STAGES[: STAGES.index(name) + 1]:
        for path in places_gone(run.plan, stage):
            if not (without_work and path.startswith(work)) and _has_done(run, stage):
                found[stage] = path
    return found


def missing_files(run: Run, name: str) -> list[str]:
    """Files that a stage has made at its end and that are not there any more.

    Parameters
    ----------
    run : Run
        The run.
    name : str
        One of ``STAGES``.
    """
    gone = [path for path in files_of(run.plan, name) if not is_file(path)]
    return gone if gone and finished(run, name) else []


def missing_shards(run: Run, name: str) -> list[str]:
    """Tasks that a stage's ledger calls done and of which a shard that stays for good is gone.

    Parameters
    ----------
    run : Run
        The run.
    name : str
        One of ``STAGES``.
    """
    gone = tasks_without_shards(run.plan, name)
    first = next(gone, None)
    if first is None:
        return []
    done = StageState.of(run, name).done
    return [task for task in chain([first], gone) if task in done]


def missing_tables(run: Run, name: str) -> list[str]:
    """Tasks that an unfinished stage's ledger calls done and whose tables are gone.

    Parameters
    ----------
    run : Run
        The run.
    name : str
        The stage.
    """
    if finished(run, name) or name not in STAGES_WITH_TABLES:
        return []
    done = StageState.of(run, name).done
    if name == "stitch":  # blocks that share no voxel have no table for their face
        done = {face.name for face in run.plan.grid.faces() if face.low.halo.intersection(face.high.halo)} & done
    return tasks_without_tables(run.plan, name, done)


def first_missing(run: Run) -> str:
    """What of a run's results is gone, in words; empty where nothing is."""
    for path in vanished(run, STAGES[-1]).values():
        return path
    for name in STAGES:
        for path in missing_files(run, name):
            return path
        for task in missing_shards(run, name):
            return f"what {name} wrote of {task}"
    return ""


def _has_done(run: Run, stage: str) -> bool:
    """Whether any task was done with the run's settings."""
    lines = ledger_of(run, stage).lines(run.plan.settings.token(stage))
    return any(line.state == "done" and line.name != FINISHED for line in lines)
