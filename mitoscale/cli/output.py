"""``--json`` and ``--quiet`` for every command: the same work, told to a program or not at all."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import wraps
from typing import Any

import click

from mitoscale.core.errors import EXIT_INPUT, EXIT_STOPPED, EXIT_USAGE, MitoscaleError

_NUMBERS: dict[str, Any] = {}
"""What a command has told beside its lines; emptied as the next one begins."""


def also(**values: Any) -> None:
    """Tell ``--json`` numbers that the printed lines hold within a text; they stand in for a line of the same name."""
    _NUMBERS.update(values)


def with_output_options(command: click.Command) -> click.Command:
    """A command, or all commands of a group, with ``--quiet`` and, where it has none of its own, ``--json``."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            with_output_options(inner)
        return command
    known = {name for param in command.params for name in param.opts}
    if command.callback is None or "--quiet" in known:
        return command
    if "--json" in known:
        command.callback = _quietly(command.callback)
    else:
        command.params.append(click.Option(["--json", "_json"], is_flag=True, help="Print one JSON object, and nothing else."))
        command.callback = _quietly(_as_json(command.callback, command.name or ""))
    command.params.append(click.Option(["--quiet", "_quiet"], is_flag=True, help="Print nothing but errors."))
    return command


def _quietly(callback: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(callback)
    def wrapped(*arguments: Any, _quiet: bool = False, **options: Any) -> Any:
        if not _quiet:
            return callback(*arguments, **options)
        told = io.StringIO()
        out = sys.stdout if options.get("_json") or options.get("as_json") else io.StringIO()
        try:
            with redirect_stderr(told), redirect_stdout(out):
                return callback(*arguments, **options)
        except click.exceptions.Exit:  # what ended without some blocks is told by its last line
            click.echo("".join(told.getvalue().splitlines(keepends=True)[-1:]), err=True, nl=False)
            raise

    return wrapped


def _as_json(callback: Callable[..., Any], name: str) -> Callable[..., Any]:
    @wraps(callback)
    def wrapped(*arguments: Any, _json: bool = False, **options: Any) -> Any:
        if not _json:
            return callback(*arguments, **options)
        with _gathered(name):
            return callback(*arguments, **options)

    return wrapped


@contextmanager
def _gathered(name: str) -> Iterator[None]:
    """Print one JSON object for what a command prints: its lines as names and values, and how it ended."""
    code, error, out = 0, "", io.StringIO()
    _NUMBERS.clear()
    try:
        with redirect_stdout(out):
            yield
    except click.exceptions.Exit as stop:
        code = stop.exit_code
        raise
    except MitoscaleError as problem:
        code, error = problem.exit_code, str(problem)
        raise
    except click.ClickException as problem:
        code, error = EXIT_USAGE, problem.format_message()
        raise
    except (click.Abort, KeyboardInterrupt):
        code, error = EXIT_STOPPED, "interrupted"
        raise
    except BaseException as problem:
        code, error = EXIT_INPUT, str(problem) or type(problem).__name__
        raise
    finally:
        content = {"command": name, "exit_code": code, **({"error": error} if error else {}), **fields(out.getvalue()), **_NUMBERS}
        click.echo(json.dumps(content, ensure_ascii=False))


def fields(text: str) -> dict[str, Any]:
    """Printed lines as JSON: ``name    value`` by its name, whole numbers and fractions as numbers, all else as ``lines``.

    Examples
    --------
    >>> fields("objects    9, 0.185 um^3\\nF1 at 0.5    0.93\\nnothing to heal\\n")
    {'objects': '9, 0.185 um^3', 'F1 at 0.5': 0.93, 'lines': ['nothing to heal']}
    """
    found: dict[str, Any] = {}
    lines = []
    for line in text.splitlines():
        match = re.fullmatch(r"(\S+(?: \S+)*?) {2,}(.+)", line)
        if match and match[1] not in found:
            found[match[1]] = _number(match[2])
        elif line.strip():
            lines.append(line)
    return {**found, **({"lines": lines} if lines else {})}


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
