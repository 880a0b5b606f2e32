"""What ``train`` and ``finetune`` share: their options, the job on the cluster, its progress, and the history they leave."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mitoscale.cluster.clusters import ClusterSettings, load_cluster, start
from mitoscale.core.errors import InputError
from mitoscale.core.training_settings import LearnSettings
from mitoscale.report.history import save_history
from mitoscale.storage.layout import check_writable
from mitoscale.storage.tables import write_csv

Event = dict[str, Any]


def settings_of(options: dict[str, Any]) -> dict[str, Any]:
    """The options as fields of the settings: paths made absolute, ``out`` checked.

    Raises
    ------
    InputError
        If ``out`` cannot be written, or holds the weights of a finished training.
    """
    fields = {name: value for name, value in options.items() if name != "cluster"}
    for name in ("volume", "truth", "out"):
        if fields.get(name) is not None:
            fields[name] = _absolute(fields[name])
    if Path(fields["out"]).is_dir():
        raise InputError(f"--out {options['out']} is a folder; give a file that ends in .safetensors")
    if os.path.exists(fields["out"]) and not Path(fields["out"]).with_suffix(".checkpoint").exists():
        raise InputError(f"--out {options['out']} exists already; give another file, or delete it to train anew")
    check_writable(os.path.dirname(fields["out"]))
    return fields


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))


def run_on_cluster(
    job: Callable[..., Event],
    settings: LearnSettings,
    name: str,
    cluster_file: str | None,
    keep: Callable[[Path, Event], None] | None = None,
) -> Event:
    """Run a job on a worker of the cluster's train group, show its progress, and keep its history beside the weights.

    Parameters
    ----------
    job : callable
        Takes the settings and what its messages go to; it is run on a worker.
    settings : LearnSettings
        What to learn from, and how.
    name : str
        What the dashboard calls it.
    cluster_file : str or None
        A cluster.yaml; None: one worker on this machine.
    keep : callable, optional
        Writes what is kept beside the weights, whose path and the job's result it gets; without it the history of a training.
    """
    if cluster_file is None:
        wanted = ClusterSettings(workers=1, threads=settings.threads or len(os.sched_getaffinity(0)))
    else:
        wanted = load_cluster(cluster_file)
    with start(wanted) as cluster, Shown(name, cluster.dashboard_link) as shown:
        result: Event = cluster.run_job(partial(job, settings), name=name, heard=shown)
        (keep or _keep_history)(Path(settings.out), result)  # at once: to end a cluster takes seconds, in which one may be stopped
    return result


class Shown:
    """Shows what a job tells: notes and epochs as lines, and a bar where there is a terminal.

    Parameters
    ----------
    name : str
        What the bar is called.
    dashboard : str
        Where the dashboard is; told with the first event, so that wrong input is one line.
    """

    def __init__(self, name: str, dashboard: str) -> None:
        self.name = name
        self.dashboard = dashboard
        self.console = Console(stderr=True, soft_wrap=True)
        self.bars = Progress(
            TextColumn("{task.description:10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Shown:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if self.dashboard:
            click.echo(f"dashboard  {self.dashboard}", err=True)
            self.dashboard = ""
        shows = {
            "note": self._note,
            "layers": self._layers,
            "embedded": self._embedded,
            "epoch": self._epoch,
            "scores": self._scores,
        }
        shows[event["what"]](event)

    def _note(self, event: Event) -> None:
        click.echo(event["text"])

    def _layers(self, event: Event) -> None:
        width = max(len(name) for name, _, _ in event["rows"])
        click.echo(f"{'layer':{width}}  {'output of ' + ' x '.join(map(str, event['input'])):24}  parameters")
        for name, shape, parameters in event["rows"]:
            click.echo(f"{name:{width}}  {shape:24}  {parameters:>10,}")
        click.echo(f"{'in all':{width}}  {'':24}  {sum(row[2] for row in event['rows']):>10,}")

    def _embedded(self, event: Event) -> None:
        self._bar("embedding", event["done"], event["total"])

    def _epoch(self, event: Event) -> None:
        left = event["seconds"] / event["step"] * (event["steps"] - event["step"]) / 60
        scores = "".join(f"  {name.replace('_', ' ')} {value:.4f}" for name, value in event["scores"].items() if value <= 1)
        best = f"  best {event['best']:.4f}" if event["scores"] else ""
        click.echo(
            f"step {event['step']:5d} / {event['steps']}  epoch {event['step'] / event['every']:g}  loss {event['loss']:.4f}"
            f"{scores}{best}  {left:.1f} min left"
        )
        self._bar(self.name, event["step"], event["steps"])

    def _scores(self, event: Event) -> None:
        if not event["scores"]:
            return
        click.echo(f"prompts    {event['prompts']}")
        table = Table("slices", "weights", "point IoU", "point Dice", "box IoU", "box Dice", "profiles", box=None, pad_edge=False)
        for name, both in event["scores"].items():
            for which, values in both.items():
                cells = (f"{values[k]:.4f}" for k in ("point_iou", "point_dice", "box_iou", "box_dice"))
                table.add_row(f"{name} {event['slices'][name]}", which, *cells, f"{values['profiles']:.0f}")
            table.add_section()
        Console(width=120).print(table)

    def _bar(self, name: str, done: int, total: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self.bars.add_task(name, total=total)
        self.bars.update(self._tasks[name], completed=done)


def _keep_history(out: Path, result: Event) -> None:
    """Write the history beside the weights, as a table and as a picture."""
    import numpy as np

    history: list[Event] = result["history"]
    rows = [{"step": h["step"], "loss": h["loss"], "learning_rate": h["rate"], **h["scores"]} for h in history]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    write_csv(str(out.with_suffix(".history.csv")), columns | {"seconds": np.array([h["seconds"] for h in history])})
    drawn = {name: values.tolist() for name, values in columns.items() if name not in ("learning_rate", "profiles")}
    save_history(out.with_suffix(".history.png"), drawn)
    click.echo(f"history    {out.with_suffix('.history.csv')}, {out.with_suffix('.history.png')}")
