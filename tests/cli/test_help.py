"""Help is quick, complete, and shows an example."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from commands import Call

IN_ORDER = """
run demo convert detect segment stitch relabel measure report evaluate compare prompt train finetune adapt plan status retry
weights cluster view edit apply export suggest clean
"""
COMMANDS = IN_ORDER.split()


def test_help_takes_less_than_a_second() -> None:
    """Of processor time: other processes of the machine are not what is measured."""
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-c", "from mitoscale.cli import main; main()", "--help"], capture_output=True, text=True
    )
    after = os.times()
    assert done.returncode == 0 and "mitoscale demo" in done.stdout
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1.0


def test_help_lists_every_command_with_a_line(mitoscale: Call) -> None:
    text = mitoscale("--help").out
    listed = {line.split()[0]: line for line in text[text.index("Commands:") :].splitlines()[1:] if line.strip()}
    assert list(listed) == COMMANDS
    assert all(len(line.split()) > 2 for line in listed.values())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(command: str, mitoscale: Call) -> None:
    for flag in ("--help", "-h"):
        ended = mitoscale(command, flag)
        assert ended.code == 0 and not ended.err
        assert f"Example:  mitoscale {command}" in ended.out


def test_version(mitoscale: Call) -> None:
    from mitoscale import __version__

    assert __version__ in mitoscale("--version").out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command: str) -> None:
    code = (
        "import sys\nfrom mitoscale.cli import main\n"
        f"try:\n    main(['{command}', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'dask', 'distributed', 'zarr', 'tensorstore', 'tifffile', 'scipy', 'matplotlib', 'pyarrow'}\n"
        "found = sorted(heavy & set(sys.modules))\nassert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
