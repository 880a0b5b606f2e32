"""The words and tables of the page, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from pathlib import PurePath
from typing import Any

from mitoscale.dashboard.board import Board
from mitoscale.dashboard.colours import QUARANTINED, RETRYING, RUNNING, WAITING, Legend

SILENT_SECONDS = 15.0
"""A client that has sent nothing for this long, though workers have tasks of it, is told to be silent."""

MOST_ROWS = 40
"""Rows of a table."""

STYLE = """
:host, .bk-clearfix { font-family: Helvetica, Arial, sans-serif; color: #222; width: 100%; }
h3 { margin: 10px 0 4px; font-size: 14px; }
.numbers { display: flex; flex-wrap: wrap; gap: 10px; margin: 6px 0; }
.number { background: white; border: 1px solid #ddd; border-radius: 4px; padding: 6px 12px; min-width: 104px; }
.number b { display: block; font-size: 21px; font-weight: 600; white-space: nowrap; }
.number span, .small { color: #666; font-size: 12px; }
.bad b { color: #b3003c; }
table { border-collapse: collapse; font-size: 12px; width: 100%; }
td, th { text-align: left; padding: 3px 10px 3px 0; border-bottom: 1px solid #eee; vertical-align: top; white-space: nowrap; }
td:last-child { white-space: normal; overflow-wrap: anywhere; }
th { color: #666; font-weight: normal; }
td.right { text-align: right; white-space: nowrap; }
.bar { display: flex; width: 100%; height: 13px; background: WAITING; border-radius: 2px; overflow: hidden; }
.bar i { display: block; height: 100%; }
.meaning { white-space: nowrap; margin-right: 12px; }
.swatch { display: inline-block; width: 12px; height: 12px; margin: 0 5px -1px 0; border: 1px solid #aaa; }
""".replace("WAITING", WAITING)
"""Style sheet of all of them."""


def heading(board: Board, workers: Sequence[Mapping[str, Any]], heard: float, now: float) -> str:
    """What the run is, and its numbers at a glance.

    Parameters
    ----------
    board : Board
        The run.
    workers : sequence of mapping
        Name, group and state of each worker.
    heard : float
        When the client was last heard of, seconds since 1970.
    now : float
        Seconds since 1970.
    """
    tally, pace = board.tallies.get(board.at_work), board.pace
    place = (
        f"stage at work, {board.stages.index(board.at_work) + 1} of {len(board.stages)}" if board.at_work in board.stages else "now"
    )
    threads = sum(w["threads"] for w in workers)
    lost = sum(t.tasks_lost for t in board.tallies.values())
    numbers = [
        (board.ended or board.at_work or "between stages", "the run" if board.ended else place, ""),
        (f"{tally.tasks_done:,} / {tally.tasks:,}" if tally else "-", "of its tasks done", ""),
        (_rate(board) if tally else "-", "now", ""),
        (_duration(board.seconds_left) if tally and board.seconds_left is not None else "-", "left in this stage", ""),
        (_duration(now - board.began), "since the start", ""),
        (f"{len(workers)}", f"worker{'s' * (len(workers) != 1)}, {threads} thread{'s' * (threads != 1)}", "" if workers else "bad"),
        (f"{lost:,}", "given up (quarantined)", "bad" if lost else ""),
        (f"{board.fault_counts.total():,}", "faults so far", ""),
    ]
    shape, spacing = (" x ".join(f"{n:g}" for n in sizes) for sizes in (board.shape, board.spacing))
    tiles = "".join(
        f'<div class="number {kind}"><b>{escape(big)}</b><span>{escape(small)}</span></div>' for big, small, kind in numbers
    )
    silent = ""
    if not board.ended and now - heard > SILENT_SECONDS and pace.stretches:
        silent = f"nothing new for {_duration(now - heard)}"
    about = (f"<b>{escape(board.run)}</b>", escape(PurePath(board.source).name), f"{shape} voxels of {spacing} nm", silent)
    return f'<div class="small">{" &middot; ".join(filter(None, about))}</div><div class="numbers">{tiles}</div>'


def stages(board: Board, running: Mapping[str, list[str]], legend: Legend) -> str:
    """A bar for each stage.

    Parameters
    ----------
    board : Board
        The run.
    running : mapping of str to list of str
        Tasks that workers have now, for each stage.
    legend : Legend
        Gives states their colours.
    """
    rows = []
    for name, tally in board.tallies.items():
        total = max(tally.tasks, 1)
        parts = (
            (legend.of_stage(name), tally.tasks_done),
            (RUNNING, min(len(running.get(name, [])), total - tally.tasks_done)),
            (RETRYING, len(tally.retrying)),
            (QUARANTINED, tally.tasks_lost),
        )
        bar = "".join(f'<i style="width:{100 * n / total:.2f}%;background:{colour}"></i>' for colour, n in parts if n)
        took = _duration(tally.seconds) if tally.seconds is not None else "at work" if name == board.at_work else ""
        rows.append(
            f'<tr><td>{escape(name)}</td><td style="width:55%"><div class="bar">{bar}</div></td>'
            f'<td class="right">{tally.tasks_done:,} of {tally.tasks:,}</td><td class="right">{took}</td></tr>'
        )
    return f"<h3>Stages</h3><table><tr><th>stage</th><th></th><th>tasks done</th><th>time</th></tr>{''.join(rows)}</table>"


def legend_line(legend: Legend, board: Board) -> str:
    """What the colours mean, and what one rectangle is.

    Parameters
    ----------
    legend : Legend
        The colours.
    board : Board
        Tells how many blocks a cell stands for.
    """
    swatches = "".join(
        f'<span class="meaning"><span class="swatch" style="background:{colour}"></span>{escape(name)}</span> '
        for colour, name in zip(legend.palette, legend.names, strict=True)
    )
    step = board.cells.step
    what = "one block" if step == (1, 1, 1) else f"up to {' x '.join(map(str, step))} blocks"
    core = " x ".join(map(str, board.cells.grid.core_shape))
    return f'<div class="small">{swatches}<br>A rectangle is {what} of {core} voxels (z, y, x); y points down, x right.</div>'


def quarantined(board: Board) -> str:
    """The tasks that were given up, with their reason."""
    lost = [(name, task, why) for name, tally in board.tallies.items() for task, why in tally.reasons.items()]
    count = sum(tally.tasks_lost for tally in board.tallies.values())
    head = f"<h3>Quarantined{f': {count:,}, healed by mitoscale retry' if count else ''}</h3>"
    if not lost:
        return f'{head}<div class="small">none</div>'
    return head + _table(("stage", "task", "why"), lost, count)


def workers_table(workers: Sequence[Mapping[str, Any]]) -> str:
    """How each worker is, and what it has."""
    rows = [
        (w["name"], w["group"], f"{w['memory'] / 2**30:.2f} of {w['limit'] / 2**30:.1f} GiB", f"{w['cpu']:.0f} %", w["tasks"])
        for w in workers
    ]
    return "<h3>Workers</h3>" + _table(("worker", "group", "memory", "CPU", "tasks"), rows, len(rows))


def faults(board: Board) -> str:
    """The latest faults, newest first."""
    rows = [
        (
            datetime.fromtimestamp(e.time).strftime("%H:%M:%S"),
            e.kind,
            " ".join(filter(None, (e.stage, e.task or e.worker))),
            e.detail,
        )
        for e in reversed(board.faults)
    ]
    if not rows:
        return '<h3>Faults</h3><div class="small">none</div>'
    return "<h3>Faults, newest first</h3>" + _table(("time", "what", "where", "detail"), rows[:12], board.fault_counts.total())


def nothing() -> str:
    """Where no run has shown itself."""
    return '<div class="small">No run has been shown to this scheduler yet: start one with mitoscale run.</div>'


def broken(error: Exception) -> str:
    """Where the page cannot be drawn."""
    return f'<div class="small">This page has a fault, the run has not: {escape(f"{type(error).__name__}: {error}")}</div>'


def _table(head: Sequence[str], rows: Sequence[Iterable[object]], count: int) -> str:
    lines = ["".join(f"<th>{escape(word)}</th>" for word in head)]
    lines += ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows[:MOST_ROWS]]
    if count > min(len(rows), MOST_ROWS):
        lines.append(f'<td colspan="{len(head)}">... and {count - min(len(rows), MOST_ROWS):,} more</td>')
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _rate(board: Board) -> str:
    pace = board.pace
    if pace.voxels_per_second:
        return f"{pace.voxels_per_second / 1e6:.3g} Mvoxel/s"
    return f"{pace.tasks_per_second:.3g} tasks/s" if pace.tasks_per_second else "-"


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds; days where there are some."""
    return str(timedelta(seconds=round(max(0.0, seconds))))
