"""SIGKILL at any moment of a correction and of its writing: what was answered for stays, and doing it again mends the rest."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import Finished, labels_of

from mitoscale.corrections.apply import apply_edits
from mitoscale.corrections.editor import editing
from mitoscale.corrections.labels import corrected_labels
from mitoscale.pipeline import load
from mitoscale.storage.arrays import open_array
from mitoscale.storage.edit_log import EditLog

CHILDREN = """
import os, shutil, signal, sys
from mitoscale.corrections.apply import apply_edits
from mitoscale.corrections.editor import editing
from mitoscale.pipeline import load

template, first, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
changes = {"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}

def corrects_until(run, moment):
    seen = 0
    def watch(event, arguments):
        nonlocal seen
        seen += event in changes or (event == "open" and isinstance(arguments[1], str) and bool(set("wxa+") & set(arguments[1])))
        if seen == moment and event != "os.kill":
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    plan = load(run).plan
    with editing(plan) as editor:
        editor.delete([2])
    apply_edits(plan, "labels")
    os._exit(0)

moment, status = first, None
while status != 0:
    run = f"{template}-{moment}"
    shutil.copytree(template, run)
    child = os.fork()
    if child == 0:
        corrects_until(run, moment)
    status = os.waitpid(child, 0)[1]
    print(moment, -os.waitstatus_to_exitcode(status))
    moment += step
"""
"""Correct and apply in children that kill themselves before their n-th change to the file system, until one comes to its end."""


@pytest.mark.slow
def test_corrections_and_labels_survive_a_kill_at_any_moment(finished: Finished, tmp_path: Path) -> None:
    template = tmp_path / "run"
    shutil.copytree(finished.run, template)
    plan = load(str(template)).plan
    with editing(plan) as editor:
        editor.delete([1])
    apply_edits(plan, "labels")
    own = labels_of(finished.run)
    before, after = np.where(own == 1, 0, own), np.where(np.isin(own, (1, 2)), 0, own)
    done = subprocess.run([sys.executable, "-c", CHILDREN, str(template), "1", "3"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    ended = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert ended[-1][1] == 0 and len(ended) > 10 and all(signal == 9 for _, signal in ended[:-1])
    for moment, _ in ended:
        plan = load(f"{template}-{moment}").plan
        np.testing.assert_array_equal(labels_of(plan.run), own)
        kept = EditLog(plan.run, plan.settings.convert.fingerprint).read()
        assert [edit.objects[0].label for edit in kept] in ([1], [1, 2]), "a line is whole or not there"
        if Path(corrected_labels(plan)).is_dir():
            found = open_array(f"{corrected_labels(plan)}/0", missing="fill").read_all()
            assert any(np.array_equal(found, whole) for whole in (before, after)), f"killed at {moment}: a mixture"
        apply_edits(plan, "labels")
        found = open_array(f"{corrected_labels(plan)}/0", missing="fill").read_all()
        np.testing.assert_array_equal(found, after if len(kept) == 2 else before)
        left = {path.name for path in Path(plan.labels).parent.iterdir()}
        assert left <= {"mitochondria", "mitochondria_corrected", "zarr.json"}
