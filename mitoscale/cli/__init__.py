"""The command line. Each command is a module of its own that is imported when it is called, so that ``--help`` is quick."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from mitoscale.cli.output import with_output_options
from mitoscale.core.errors import MitoscaleError
from mitoscale.core.utf8_names import check_encoding

_COMMANDS = {
    "run": "mitoscale.cli.run",
    "demo": "mitoscale.cli.demo",
    "convert": "mitoscale.cli.convert",
    "detect": "mitoscale.cli.stage",
    "segment": "mitoscale.cli.stage",
    "stitch": "mitoscale.cli.stage",
    "relabel": "mitoscale.cli.stage",
    "measure": "mitoscale.cli.stage",
    "report": "mitoscale.cli.report",
    "evaluate": "mitoscale.cli.evaluate",
    "compare": "mitoscale.cli.compare",
    "prompt": "mitoscale.cli.prompt",
    "train": "mitoscale.cli.train",
    "finetune": "mitoscale.cli.finetune",
    "adapt": "mitoscale.cli.adapt",
    "plan": "mitoscale.cli.plan",
    "status": "mitoscale.cli.status",
    "retry": "mitoscale.cli.retry",
    "weights": "mitoscale.cli.weights",
    "cluster": "mitoscale.cli.cluster",
    "view": "mitoscale.cli.view",
    "edit": "mitoscale.cli.edit",
    "apply": "mitoscale.cli.apply",
    "export": "mitoscale.cli.export",
    "suggest": "mitoscale.cli.suggest",
    "clean": "mitoscale.cli.clean",
}
_HELP = {
    "run": "Everything, from a volume to labels, tables and report.",
    "demo": "The whole pipeline on a phantom with known truth.",
    "convert": "Only the first stage: a volume becomes an OME-Zarr.",
    "detect": "One stage: foreground and detections.",
    "segment": "One stage: detections to fragments.",
    "stitch": "One stage: fragments of neighbouring blocks to objects.",
    "relabel": "One stage: write final labels.",
    "measure": "One stage: one table row for each object.",
    "report": "One stage: report.html; also two runs side by side.",
    "evaluate": "Score labels against truth.",
    "compare": "U-Net, SAM and fine-tuned SAM side by side.",
    "prompt": "Ask SAM about one slice: a point, a box, everything.",
    "train": "Train a U-Net or a small SAM from scratch.",
    "finetune": "Adapt SAM's mask decoder to your own annotated slices.",
    "adapt": "Adapt a U-Net to a volume without labels.",
    "plan": "What a run will take: bytes, files, memory, hours.",
    "status": "What of a run is done, given up, and left.",
    "retry": "Heal what a run had to give up.",
    "weights": "List weights, download those of others.",
    "cluster": "Try what cluster.yaml says.",
    "view": "Image and labels in the browser.",
    "edit": "Correct labels: merge, split, delete, add, draw, accept.",
    "apply": "Write the corrected labels and tables.",
    "export": "Labels and tables for other programs.",
    "suggest": "The windows worth annotating, for train.",
    "clean": "Remove a finished run's working files.",
}


class _Lazy(click.Group):
    """Knows its commands' names and one-line help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name])
        command: click.Command = getattr(module, cmd_name)
        return with_output_options(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _HELP[name]) for name in _COMMANDS])


def _versions(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    """Print the versions of mitoscale and of the libraries that numbers depend on."""
    if not wanted or ctx.resilient_parsing:
        return
    import platform

    from mitoscale.core.provenance import software

    found = software()
    commit = found.pop("commit")[:12]
    click.echo(f"mitoscale {found.pop('mitoscale')}{f' ({commit})' if commit else ''}")
    for name, version in {"python": platform.python_version(), **found}.items():
        click.echo(f"{name:20} {version}")
    ctx.exit()


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_versions, help="Versions of all that counts.")
def _group() -> None:
    """Find every mitochondrion in large electron-microscopy volumes.

    \b
    Start with:  mitoscale demo
    Then:        mitoscale run STACK.tif RUN --voxel-size 5,5,5
    \b
    Completion of commands and options by the tab key, for bash (zsh and fish alike):
      eval "$(_MITOSCALE_COMPLETE=bash_source mitoscale)"
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code; an error is one line on stderr."""
    try:
        check_encoding(*(sys.argv[1:] if arguments is None else arguments))
        code = _group(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except MitoscaleError as error:
        click.echo(f"mitoscale: {error}", err=True)
        sys.exit(error.exit_code)
    except click.Abort as stop:  # a command that keeps nothing says so
        click.echo(f"mitoscale: stopped; {str(stop) or 'the same command goes on from what is kept'}", err=True)
        sys.exit(4)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    if isinstance(code, int) and code:  # click gives back the code of an Exit instead of raising it
        sys.exit(code)
