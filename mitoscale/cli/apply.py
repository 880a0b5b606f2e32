"""``mitoscale apply``: write corrected labels and tables."""

from __future__ import annotations

import click

from mitoscale.cli.output import also


@click.command()
@click.argument("run")
def apply(run: str) -> None:
    """Write the labels of RUN with all corrections, beside its own: labels/mitochondria_corrected, tables/objects_corrected.*.

    Only blocks and objects that changed are made anew. Corrections that no longer fit are listed; do it again after more.

    \b
    Example:  mitoscale apply RUN
    """
    from mitoscale.core.errors import InputError
    from mitoscale.corrections.apply import apply_edits
    from mitoscale.corrections.editor import told
    from mitoscale.pipeline import closing_of, finished, load_local, locked

    there = load_local(run, "mitoscale apply")
    with locked(there.plan.run):
        closing = closing_of(there, "relabel")
        if closing is None or not finished(there, "measure"):
            raise InputError(f"{run} has no finished labels and objects to correct; finish it with mitoscale run")
        done = apply_edits(there.plan, closing.checksum)
    for one in done.unfit:
        click.echo(f"unfit      {told(one.edit)}: {one.unfit}", err=True)
    made = f"{done.edits - len(done.unfit)} of {done.edits} corrections"
    also(corrections=done.edits, unfit=len(done.unfit), objects=done.objects, blocks=done.blocks)
    click.echo(f"corrected  {made}, {done.objects} objects touched, {done.blocks} blocks written")
    click.echo(f"labels     {done.labels}")
    click.echo(f"table      {done.table}")
    click.echo(f"next       mitoscale report {run}, or mitoscale export {run} --to corrected.tif --edits", err=True)
