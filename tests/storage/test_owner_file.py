"""One process at a time where the file system has no locks, or each machine its own."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mitoscale.core.errors import InputError
from mitoscale.storage import owner_file
from mitoscale.storage.exclusive import exclusively, is_held
from mitoscale.storage.mounts import has_local_locks

HOLDER = """
import sys, time
from pathlib import Path
from mitoscale.storage.owner_file import owned
with owned(Path(sys.argv[1]), "busy"):
    print("owned", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=[errno.ENOSYS, errno.ENOTSUP, errno.EINVAL])
def without_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without flock."""

    def flock(file: object, operation: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


def other_machine(path: Path, seconds: float) -> str:
    """The file of an owner elsewhere, renewed so many seconds ago."""
    text = json.dumps({"host": "node7", "pid": 12, "processes": "elsewhere", "token": "1"})
    path.write_text(text)
    os.utime(path, (time.time() - seconds,) * 2)
    return text


@pytest.mark.usefixtures("without_locks")
def test_without_locks_an_owner_file_stands_in_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lock = tmp_path / "run" / ".lock"
    with caplog.at_level(logging.WARNING), exclusively(lock, "busy"):
        assert [r.getMessage() for r in caplog.records] == [
            f"the file system of {lock.parent} has no file locks: a file that tells its owner, renewed all the time, stands in"
        ]
        owner = json.loads((lock.parent / ".lock.owner").read_text())
        assert owner["pid"] == os.getpid() and owner["host"]
        assert is_held(lock)
        with pytest.raises(InputError, match=rf"^busy \(host .*, process {os.getpid()}\)$"), exclusively(lock, "busy"):
            raise AssertionError("two hold it")
        assert is_held(lock), "the refused one has not taken it away"
    assert not list(lock.parent.iterdir()) and not is_held(lock)
    with exclusively(lock, "busy"):
        assert is_held(lock)


def test_locks_that_other_machines_do_not_see_need_an_owner_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitoscale.storage.exclusive.has_local_locks", lambda path: True)
    lock = tmp_path / ".lock"
    other_machine(tmp_path / ".lock.owner", 20.0)
    with pytest.raises(InputError, match=r"^busy \(host node7, process 12\)$"), exclusively(lock, "busy"):
        raise AssertionError("two machines hold it")
    assert is_held(lock)


def test_the_file_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    path = tmp_path / "owner"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "owned\n"
        with pytest.raises(InputError, match=rf"busy \(host .*, process {process.pid}\)"), owner_file.owned(path, "busy"):
            raise AssertionError("two own it")
        process.kill()
        process.wait()
    with owner_file.owned(path, "busy"):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_an_owner_elsewhere_counts_while_it_renews_its_file(tmp_path: Path) -> None:
    path = tmp_path / "owner"
    text = other_machine(path, owner_file.STALE_SECONDS / 2)
    with pytest.raises(InputError, match="busy"), owner_file.owned(path, "busy"):
        raise AssertionError("two own it")
    assert path.read_text() == text
    other_machine(path, owner_file.STALE_SECONDS + 60)
    with owner_file.owned(path, "busy"):
        assert path.read_text() != text
    assert not list(tmp_path.iterdir())


def test_who_stood_still_while_another_took_over_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_file, "BEAT_SECONDS", 0.05)
    path = tmp_path / "owner"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # dask_jobqueue sets its own when it is imported
    try:
        with pytest.raises(KeyboardInterrupt), owner_file.owned(path, "busy"):
            theirs = other_machine(path, 0.0)
            for _ in range(300):  # a long sleep would not be interrupted
                time.sleep(0.1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert path.read_text() == theirs, "what is another's stays"


def test_an_owner_renews_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_file, "BEAT_SECONDS", 0.05)
    path = tmp_path / "owner"
    with owner_file.owned(path, "busy"):
        os.utime(path, (0, 0))
        for _ in range(100):
            time.sleep(0.05)
            if path.stat().st_mtime > 1e9:
                return
    raise AssertionError("never renewed")


@pytest.mark.parametrize(
    ("line", "local"),
    [
        ("36 35 0:50 / /data rw shared:1 - nfs4 server:/x rw,vers=4.2,local_lock=none", False),
        ("36 35 0:50 / /data rw shared:1 - nfs server:/x rw,vers=3,local_lock=all", True),
        ("36 35 0:50 / /data rw - lustre 10.0.0.1@tcp:/x rw,flock", False),
        ("36 35 0:50 / /data rw - lustre 10.0.0.1@tcp:/x rw,localflock", True),
        ("36 35 0:50 / /data rw - beegfs beegfs_nodev rw", True),
        ("36 35 8:1 / /data rw - ext4 /dev/sda1 rw", False),
        ("36 35 0:50 / /dat rw - beegfs beegfs_nodev rw", False),
        ("nonsense", False),
    ],
)
def test_file_systems_whose_locks_stay_on_one_machine(line: str, local: bool) -> None:
    mounts = f"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n{line}\n21 36 8:2 / /data/inner rw - xfs /dev/sdb rw"
    assert has_local_locks(Path("/data/run/.lock"), mounts) is local
    assert not has_local_locks(Path("/data/inner/run"), mounts)
