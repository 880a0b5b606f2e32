"""Every command speaks JSON and can be quiet; versions and completion are told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from commands import Call, Finished, Stack

from mitoscale.cli import _COMMANDS, _group


def leaves(name: str, command: click.Command) -> list[tuple[str, click.Command]]:
    """A command, or those of a group."""
    if isinstance(command, click.Group):
        return [leaf for inner, sub in command.commands.items() for leaf in leaves(f"{name} {inner}", sub)]
    return [(name, command)]


@pytest.mark.parametrize("name", list(_COMMANDS))
def test_every_command_has_both_options_once(name: str) -> None:
    for _ in range(2):  # asked for again, it must not get them twice
        command = _group.get_command(click.Context(_group), name)
        assert command is not None
        for leaf, found in leaves(name, command):
            options = [option for param in found.params for option in param.opts]
            assert options.count("--json") == options.count("--quiet") == 1, leaf


def test_json_is_one_object_that_tells_how_it_ended(mitoscale: Call, finished: Finished, tmp_path: Path) -> None:
    ended = mitoscale("export", finished.run, "--to", str(tmp_path / "x.csv"), "--json")
    assert json.loads(ended.out) == {"command": "export", "exit_code": 0, "written": str(tmp_path / "x.csv")}
    refused = mitoscale("export", finished.run, "--to", str(tmp_path / "x.csv"), "--json")
    told = json.loads(refused.out)
    assert refused.code == told["exit_code"] == 1 and "exists already" in told["error"]
    assert refused.err.startswith("mitoscale: ")
    misused = mitoscale("edit", finished.run, "add", "--at", "1,2,3", "--at", "1,2,4", "--json")
    told = json.loads(misused.out)
    assert misused.code == told["exit_code"] == 2 and "given once" in told["error"]
    nothing = json.loads(mitoscale("retry", finished.run, "--json").out)
    assert nothing["exit_code"] == 0 and "nothing to heal" in nothing["lines"][0]


def test_quiet_says_nothing_but_errors(mitoscale: Call, finished: Finished, stack: Stack, tmp_path: Path) -> None:
    done = mitoscale("run", stack.image, finished.run, *stack.exact(), "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    both = mitoscale("run", stack.image, finished.run, *stack.exact(), "--quiet", "--json")
    told = json.loads(both.out)
    assert (
        told["command"] == "run"
        and told["objects"] == 9
        and told["voxels"] == 32 * 128 * 128
        and told["volume_nm3"] > 1e6
        and not both.err
    )
    wrong = mitoscale("status", str(tmp_path), "--quiet")
    assert wrong.code == 1 and "no run folder" in wrong.err and not wrong.out
    assert json.loads(mitoscale("status", finished.run, "--json", "--quiet").out)["finished"]


def test_what_was_given_up_is_told_all_the_same(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    fails = tmp_path / "fails"
    fails.touch()
    run = str(tmp_path / "run")
    ended = mitoscale("run", stack.image, run, *stack.exact(), "--detector-option", f"fails={fails}", "--quiet", "--json")
    assert ended.code == json.loads(ended.out)["exit_code"] == 3
    assert "given up" in ended.err and len(ended.err.splitlines()) == 1


def test_versions_of_libraries_are_told(mitoscale: Call) -> None:
    lines = mitoscale("--version").out.splitlines()
    assert lines[0].startswith("mitoscale ")
    assert {"python", "numpy", "torch", "zarr", "dask"} <= {line.split()[0] for line in lines[1:]}


def test_a_shell_completes_commands_and_options() -> None:
    def complete(words: str, number: int) -> str:
        environment = {**os.environ, "_MITOSCALE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)}
        code = "import sys; sys.argv[0] = 'mitoscale'; from mitoscale.cli import main; main()"
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120).stdout

    assert "plain,evaluate" in complete("mitoscale ev", 1)
    assert "plain,--segmenter" in complete("mitoscale run --seg", 2)
