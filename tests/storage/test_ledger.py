"""The ledger: what was appended is found again, whatever a crash did to the end of the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mitoscale.core.errors import StoppedError
from mitoscale.core.result import BlockResult
from mitoscale.storage.ledger import Ledger

RESULT = BlockResult(name="z000_y000_x000", checksum="ab", counts={"voxels": 3}, seconds={"read": 0.5})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger" / "detect.jsonl"


def test_what_is_appended_is_found(path: Path) -> None:
    ledger = Ledger(str(path))
    assert ledger.entries("t") == {}
    ledger.append(RESULT, token="t", attempt=2)
    entry = ledger.entries("t")[RESULT.name]
    assert (entry.checksum, entry.counts, entry.seconds) == (RESULT.checksum, RESULT.counts, RESULT.seconds)
    assert (entry.attempt, entry.state, entry.error) == (2, "done", "")
    assert entry.time > 1e9
    ledger.close()
    assert Ledger(str(path)).entries("t") == {RESULT.name: entry}


def test_the_latest_entry_of_a_name_counts(path: Path) -> None:
    ledger = Ledger(str(path))
    ledger.append(RESULT, token="t", state="quarantined", error="Traceback\nof \u00e9 lines")
    assert ledger.entries("t")[RESULT.name].error == "Traceback\nof \u00e9 lines"
    ledger.append(RESULT, token="t", attempt=2)
    assert ledger.entries("t")[RESULT.name].state == "done"
    ledger.close()


def test_other_tokens_do_not_count(path: Path) -> None:
    ledger = Ledger(str(path))
    ledger.append(RESULT, token="old")
    assert ledger.entries("new") == {}
    ledger.close()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("tu"), st.sampled_from(["done", "quarantined"])), max_size=20))
def test_the_latest_lines_one_by_one_are_all_entries(path: Path, lines: list[tuple[str, str, str]]) -> None:
    path.unlink(missing_ok=True)
    ledger = Ledger(str(path))
    for number, (name, token, state) in enumerate(lines):
        ledger.append(BlockResult(name=name, counts={"number": number}), token=token, state=state)
    latest = list(ledger.latest("t"))
    assert {entry.name: entry for entry in latest} == ledger.entries("t")
    assert len({entry.name for entry in latest}) == len(latest)
    assert [e.counts["number"] for e in latest] == sorted((e.counts["number"] for e in latest), reverse=True)
    ledger.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 6), st.integers(0, 400))
def test_a_torn_end_costs_only_its_own_lines(path: Path, count: int, lost: int) -> None:
    path.unlink(missing_ok=True)
    ledger = Ledger(str(path))
    for n in range(count):
        ledger.append(RESULT.model_copy(update={"name": f"b{n}"}), token="t")
    ledger.close()
    content = path.read_bytes()
    path.write_bytes(content[: max(0, len(content) - lost)])
    whole = path.read_bytes().count(b"\n")
    after = Ledger(str(path))
    # a line whose newline alone is lost may count or not: its data was durable before it was begun
    assert {f"b{n}" for n in range(whole)} <= set(after.entries("t")) <= {f"b{n}" for n in range(whole + 1)}
    after.append(RESULT, token="t")
    after.close()
    assert {f"b{n}" for n in range(whole)} | {RESULT.name} <= set(Ledger(str(path)).entries("t"))


def test_junk_in_the_file_is_passed_over(path: Path) -> None:
    ledger = Ledger(str(path))
    ledger.append(RESULT, token="t")
    ledger.close()
    path.write_bytes(b"\0\0\0\n{}\n\xff\xfe\n" + path.read_bytes() + b"\0" * 20)
    ledger.append(RESULT.model_copy(update={"name": "next"}), token="t")
    ledger.close()
    assert set(ledger.entries("t")) == {RESULT.name, "next"}


def test_invalidate_forgets_and_can_go_on(path: Path) -> None:
    ledger = Ledger(str(path))
    ledger.invalidate()
    ledger.append(RESULT, token="t")
    ledger.invalidate()
    assert not path.exists()
    assert ledger.entries("t") == {}
    ledger.append(RESULT, token="t")
    assert set(ledger.entries("t")) == {RESULT.name}
    ledger.close()


def test_an_unwritable_place_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("a file where the folder should be")
    with pytest.raises(StoppedError, match=r"detect\.jsonl"):
        Ledger(str(tmp_path / "ledger" / "detect.jsonl")).append(RESULT, token="t")


def test_a_full_disk_stops_the_run_and_it_goes_on_later(path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "from mitoscale.core.errors import StoppedError\n"
        "from mitoscale.core.result import BlockResult\n"
        "from mitoscale.storage.ledger import Ledger\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "ledger = Ledger(sys.argv[1])\n"
        "try:\n"
        "    for n in range(100):\n"
        "        ledger.append(BlockResult(name=f'b{n}'), token='t')\n"
        "except StoppedError:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "    ledger.close()\n"
        "    ledger.append(BlockResult(name='later'), token='t')\n"
        "    ledger.close()\n"
        "    sys.exit(4)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], check=False, capture_output=True, text=True)
    assert run.returncode == 4, run.stderr
    names = list(Ledger(str(path)).entries("t"))
    assert names[-1] == "later"
    assert names[:-1] == [f"b{n}" for n in range(len(names) - 1)]
    assert len(names) > 3
