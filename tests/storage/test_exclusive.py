"""One process at a time."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.storage.exclusive import exclusively

HOLDER = """
import sys, time
from pathlib import Path
from mitoscale.storage.exclusive import exclusively
with exclusively(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_one_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    lock = tmp_path / "new" / "mine.lock"
    with exclusively(lock, "busy"):
        assert lock.exists()
        with pytest.raises(InputError, match=r"^busy$"), exclusively(lock, "busy"):
            raise AssertionError("two hold it")
        assert lock.exists(), "the refused one has not taken it away"
    assert not lock.exists()
    with exclusively(lock, "busy"):
        assert lock.exists()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "mine.lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="busy"), exclusively(lock, "busy"):
            raise AssertionError("two hold it")
        process.kill()
        process.wait()
    for _ in range(50):
        try:
            with exclusively(lock, "busy"):
                return
        except InputError:
            time.sleep(0.1)
    raise AssertionError("the dead one still holds it")


def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    lock = tmp_path / "file" / "mine.lock"
    with pytest.raises(StoppedError, match=r"^cannot write .*mine.lock: File exists; free"), exclusively(lock, "busy"):
        raise AssertionError("it cannot be there")
