"""``mitoscale edit``: correct a run's labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from mitoscale.cli.options import Pixels, Voxel
from mitoscale.cli.output import also

if TYPE_CHECKING:
    from mitoscale.corrections.editor import Editor
    from mitoscale.pipeline import Run

_LABELS = click.argument("labels", nargs=-1, type=click.IntRange(min=1), required=True)


@click.group()
@click.argument("run")
def edit(run: str) -> None:
    """Correct the labels of RUN; each correction is a line of RUN/edits.jsonl, and mitoscale apply RUN writes them all.

    Corrections are kept by place: after RUN was done again with --redo they are made on the new labels, and those that no
    longer fit are told. Labels are those of tables/objects.csv; what a split or an add made is called as it was told. Voxels are
    z,y,x from 0, as in the tables; mitoscale view shows x, y, z of its middle at the top.

    \b
    Example:  mitoscale edit RUN merge 12 40
              mitoscale edit RUN split 7 --at 30,200,310 --at 30,240,330
              mitoscale edit RUN delete 3 9
              mitoscale edit RUN add --at 30,100,80
              mitoscale edit RUN draw --at 30,100,80
              mitoscale edit RUN undo
    """


def _command(name: str, *parameters: Callable[..., Any]) -> Callable[[Callable[..., Any]], click.Command]:
    def made(function: Callable[..., Any]) -> click.Command:
        for parameter in reversed(parameters):
            function = parameter(function)
        return edit.command(name)(click.pass_context(function))

    return made


@contextmanager
def _editor(ctx: click.Context) -> Iterator[Editor]:
    from mitoscale.corrections.editor import editing
    from mitoscale.pipeline import load_local

    assert ctx.parent is not None
    there = load_local(ctx.parent.params["run"], "mitoscale edit")
    _check_finished(there)
    with editing(there.plan) as editor:
        yield editor


def _check_finished(there: Run) -> None:
    from mitoscale.core.errors import InputError
    from mitoscale.pipeline import finished

    if not finished(there, "measure"):
        raise InputError(f"{there.plan.run} has no finished labels and objects to correct; finish it with mitoscale run")


def _one(points: tuple[Any, ...]) -> Any:
    if len(points) != 1:
        raise click.UsageError(f"--at Z,Y,X is given once, not {len(points)} times: one object at a time")
    return points[0]


def _say(editor: Editor, made: Any) -> None:
    from mitoscale.corrections.editor import told

    click.echo(told(made))
    changes = editor.corrected.applied[-1].changes if made.kind in ("split", "add", "draw") else ()
    also(id=made.id, kind=made.kind, new=[change.new for change in changes])
    for change in changes:
        click.echo(f"new        object {change.new}")


@_command("merge", _LABELS)
def merge(ctx: click.Context, labels: tuple[int, ...]) -> None:
    """Make objects one, which has the first one's label."""
    with _editor(ctx) as editor:
        _say(editor, editor.merge(labels))


@_command(
    "split",
    click.argument("label", type=click.IntRange(min=1)),
    click.option("--at", "points", type=Voxel(), multiple=True, required=True, help="A voxel in one part; give two."),
)
def split(ctx: click.Context, label: int, points: tuple[Any, ...]) -> None:
    """Cut an object between two of its voxels; the second one's part is a new object."""
    if len(points) != 2:
        raise click.UsageError(f"a split takes --at Z,Y,X twice, one voxel in each part, not {len(points)} times")
    with _editor(ctx) as editor:
        _say(editor, editor.split(label, *points))


@_command("delete", _LABELS)
def delete(ctx: click.Context, labels: tuple[int, ...]) -> None:
    """Remove objects that are none."""
    with _editor(ctx) as editor:
        _say(editor, editor.delete(labels))


@_command("accept", _LABELS)
def accept(ctx: click.Context, labels: tuple[int, ...]) -> None:
    """Say that objects are right: a column of the corrected table."""
    with _editor(ctx) as editor:
        _say(editor, editor.accept(labels))


@_command("add", click.option("--at", "points", type=Voxel(), multiple=True, required=True, help="A voxel of what was missed."))
def add(ctx: click.Context, points: tuple[Any, ...]) -> None:
    """Add what was missed: the connected foreground around a voxel."""
    point = _one(points)
    with _editor(ctx) as editor:
        _say(editor, editor.add(point))


@_command(
    "draw",
    click.option("--at", "points", type=Voxel(), multiple=True, required=True, help="A voxel of what was missed."),
    click.option("--box", type=Pixels("Y0,X0,Y1,X1"), help="A box around it in that slice, half-open."),
    click.option("--slices", type=click.IntRange(min=0), default=64, show_default=True, help="Most slices to follow on each side."),
)
def draw(ctx: click.Context, points: tuple[Any, ...], box: Any, slices: int) -> None:
    """Add what SAM draws at a voxel, and follow it through the next slices.

    The run's own SAM is asked (of a run without one, sam-small). Each mask is the prompt for the next slice; it ends where SAM's
    score is below 0.5 or the mask is another one than before. The mask is kept in the correction: no model is asked again.
    """
    point = _one(points)
    with _editor(ctx) as editor:
        made = editor.draw(point, box, slices)
        _say(editor, made)
        scores = made.drawing.scores if made.drawing else ()
        click.echo(f"slices     {len(scores)}, score {min(scores):.2f} to {max(scores):.2f}")


@_command("undo", click.argument("name", default="", metavar="[ID]"))
def undo(ctx: click.Context, name: str) -> None:
    """Take a correction back, by default the latest."""
    with _editor(ctx) as editor:
        _say(editor, editor.undo(name))


@_command("list")
def list_edits(ctx: click.Context) -> None:
    """Tell all corrections that are in force, and which no longer fit."""
    from mitoscale.core.edit import in_force
    from mitoscale.corrections.editor import told
    from mitoscale.corrections.replay import Corrections
    from mitoscale.pipeline import load_local
    from mitoscale.storage.edit_log import EditLog

    assert ctx.parent is not None
    there = load_local(ctx.parent.params["run"], "mitoscale edit")
    _check_finished(there)
    plan = there.plan
    made = Corrections.of(plan, in_force(EditLog(plan.run, plan.settings.convert.fingerprint).read())).applied
    also(
        edits=[
            {**one.edit.model_dump(mode="json", include={"id", "who", "time", "kind", "points_nm"}), "unfit": one.unfit}
            | {"objects": [place.label for place in one.edit.objects]}
            for one in made
        ]
    )
    if not made:
        click.echo(f"{plan.run} has no corrections in force")
    for one in made:
        click.echo(told(one.edit) + (f": no longer fits, {one.unfit}" if one.unfit else ""))
