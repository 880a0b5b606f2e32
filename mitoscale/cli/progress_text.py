"""How far a run is, as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta

from mitoscale.core.network_cost import as_text as as_figure
from mitoscale.pipeline.status import RunProgress, StageProgress

_FAULTS = ("worker lost", "raised", "taken back", "damaged", "quarantined", "stopped")
_SHOWN = 5


def as_object(found: RunProgress) -> str:
    """One JSON object."""
    content = {
        "finished": found.finished,
        "working": found.working,
        "missing": found.missing,
        "stages": [asdict(stage) for stage in found.stages],
        "events": [event.model_dump() for event in found.events],
    }
    return json.dumps(content, indent=2)


def as_text(found: RunProgress, run: str) -> str:
    """A table of the stages, what was given up, and the last faults.

    Parameters
    ----------
    found : RunProgress
        What is done.
    run : str
        Path of the run, for the commands that are told.
    """
    lost = [(s.name, task, why) for s in found.stages for task, why in s.quarantined.items()]
    head = f"{'stage':9}{'tasks':>16}{'given up':>10}{'Mvoxel/s':>10}{'net px/vx':>11}{'read s':>9}{'compute s':>11}{'write s':>9}"
    head += f"{'GB in/out':>14}  left"
    lines = [f"{run}: {_state(found)}", head, *map(_line, found.stages)]
    if any(stage.network_pixels for stage in found.stages):
        lines += ["net px/vx: pixels that went through a network for each voxel of the volume"]
    if lost:
        lines += ["", f"given up (mitoscale retry {run} heals them):"]
        lines += [f"  {stage} {task}: {why}" for stage, task, why in lost[:_SHOWN]]
        lines += [f"  ... and {len(lost) - _SHOWN} more"] if len(lost) > _SHOWN else []
    faults = [event for event in found.events if event.kind in _FAULTS]
    if faults:
        lines += ["", f"faults so far: {len(faults)}; the last:"]
        for event in faults[-_SHOWN:]:
            when = datetime.fromtimestamp(event.time).strftime("%H:%M:%S")
            lines.append("  " + " ".join(filter(None, (when, event.kind, event.stage, event.task, event.worker, event.detail))))
    return "\n".join(lines)


def _state(found: RunProgress) -> str:
    if found.working:
        return "a process is working on it"
    if found.missing:
        return f"was finished, but {found.missing} is gone: start the same command again, it is written anew"
    if found.finished:
        return "finished, but without some tasks" if any(s.quarantined for s in found.stages) else "finished"
    return "not finished, and nobody is working on it: start the same command again"


def _line(stage: StageProgress) -> str:
    seconds = stage.seconds
    rate = f"{stage.voxels_per_second / 1e6:.2f}" if stage.voxels_per_second else ""
    network = as_figure(stage.network_pixels_per_voxel)
    moved = f"{stage.bytes_read / 1e9:.2f}/{stage.bytes_written / 1e9:.2f}" if stage.bytes_read else ""
    times = "".join(f"{seconds[phase]:>{width}.1f}" for phase, width in (("read", 9), ("compute", 11), ("write", 9)))
    counted = f"{stage.done} of {stage.tasks}"
    return f"{stage.name:9}{counted:>16}{len(stage.quarantined) or '':>10}{rate:>10}{network:>11}{times}{moved:>14}  {_left(stage)}"


def _left(stage: StageProgress) -> str:
    if stage.finished:
        return "done"
    if not stage.done:
        return ""
    if stage.seconds_left is None:
        return "?"
    return f"about {timedelta(seconds=round(stage.seconds_left))}" if stage.seconds_left else "its end is left"
