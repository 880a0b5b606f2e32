"""What a run keeps, in an object store: arrays, labels, tables, ledgers, events and the lock, as on a disk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.core.event import Event
from mitoscale.core.geometry import Region
from mitoscale.core.grid import BlockGrid
from mitoscale.core.result import BlockResult
from mitoscale.core.volume import VolumeSpec
from mitoscale.storage import line_segments, owner_object
from mitoscale.storage.arrays import MissingShardError, create_array, open_array
from mitoscale.storage.block_tables import BlockTables
from mitoscale.storage.events import EventLog
from mitoscale.storage.exclusive import exclusively, is_held
from mitoscale.storage.layout import RunFolder, read_json, write_json
from mitoscale.storage.ledger import Ledger
from mitoscale.storage.object_store import look, names_below, put
from mitoscale.storage.ome import attributes_of, create_image, create_labels
from mitoscale.storage.owner_file import this_process
from mitoscale.storage.shard_listing import stored_in_row
from mitoscale.storage.stored_files import remove_tree
from mitoscale.storage.tables import appending, read_table, table_metadata, write_table
from s3_server import S3Server

pytestmark = pytest.mark.usefixtures("s3_server")
SHAPE = (6, 20, 21)
DATA = np.random.default_rng(0).integers(1, 250, SHAPE).astype(np.uint16)
RESULT = BlockResult(name="z000_y000_x000", counts={"n": 1.0})


@pytest.fixture
def place(request: pytest.FixtureRequest) -> str:
    """An address where nothing is."""
    return f"s3://em-data/{request.node.name}"


def array(path: str, **options: Any) -> None:
    create_array(path, shape=SHAPE, dtype="uint16", chunks=(2, 8, 8), shards=(4, 16, 16), **options)


def test_an_array_holds_what_a_local_one_does_bit_for_bit(place: str, tmp_path: Path) -> None:
    for path in (place, str(tmp_path / "a")):
        array(path, attributes={"made": "here"})
        found = open_array(path)
        assert (found.shape, found.dtype, found.chunks, found.shards) == (SHAPE, np.uint16, (2, 8, 8), (4, 16, 16))
        assert found.attributes == {"made": "here"}
        with pytest.raises(MissingShardError):
            found.read_all()
        found.write(Region(start=(0, 0, 0), stop=(4, 20, 21)), DATA[:4])
        found.begin_write(Region(start=(4, 0, 0), stop=SHAPE), DATA[4:])()
        np.testing.assert_array_equal(found.read(Region(start=(1, 2, 3), stop=(6, 20, 19))), DATA[1:, 2:, 3:19])
    assert stored_in_row(place, 1, 0) == stored_in_row(str(tmp_path / "a"), 1, 0) == {0, 1}
    for name in names_below(place):
        assert look(f"{place}/{name}").data == (tmp_path / "a" / name).read_bytes() or name == "zarr.json"


def test_a_broken_shard_is_replaced_whole(place: str) -> None:
    array(place)
    whole = open_array(place)
    whole.write(Region.of_shape(SHAPE), DATA)
    put(f"{place}/c/1/1/1", b"no shard")
    whole.write(Region.of_shape(SHAPE), DATA)
    np.testing.assert_array_equal(whole.read_all(), DATA)


def test_an_array_that_is_made_again_keeps_its_voxels_unless_it_is_another(place: str) -> None:
    array(place)
    open_array(place).write(Region.of_shape(SHAPE), DATA)
    array(place, attributes={"now": 1})
    assert open_array(place).attributes == {"now": 1}
    np.testing.assert_array_equal(open_array(place).read_all(), DATA)
    with pytest.raises(InputError, match="another array"):
        create_array(place, shape=SHAPE, dtype="uint8", chunks=(2, 8, 8), shards=(4, 16, 16))
    create_array(place, shape=SHAPE, dtype="uint8", chunks=(2, 8, 8), shards=(4, 16, 16), overwrite=True)
    assert open_array(place).dtype == np.uint8
    remove_tree(place)
    with pytest.raises(InputError, match="no Zarr array at s3://em-data"):
        open_array(place)


def test_images_and_labels_are_those_of_a_disk(place: str, tmp_path: Path) -> None:
    spec = VolumeSpec(
        shape=(8, 64, 64),
        dtype="uint8",
        spacing=(5.0, 5.0, 5.0),
        chunks=(8, 16, 16),
        shards=(8, 32, 32),
        factors=((1, 1, 1), (2, 2, 2)),
    )
    for path in (place, str(tmp_path / "image")):
        create_image(path, spec, name="em", attributes={"a": 1})
        create_labels(path, "old", spec)
        create_labels(path, "mine", spec, attributes={"run": "x"})
        create_labels(path, "mine", spec, attributes={"run": "y"}, overwrite=True)
        assert attributes_of(f"{path}/labels/mine") == {"run": "y"}
    for name in names_below(place):
        file = tmp_path / "there" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(look(f"{place}/{name}").data or b"")
    here, there = (zarr.open_group(str(tmp_path / name)) for name in ("image", "there"))
    assert dict(here.attrs) == dict(there.attrs) and dict(here["labels"].attrs) == dict(there["labels"].attrs)
    paths = [str(p.relative_to(tmp_path / "image")) for p in sorted((tmp_path / "image").rglob("zarr.json"))]
    assert paths == sorted(names_below(place))


def test_tables_of_blocks(place: str) -> None:
    grid = BlockGrid(region=Region.of_shape((8, 8, 16)), core_shape=(4, 4, 4), margin=(0, 0, 0))
    names = [block.name for block in grid.blocks()]
    tables = BlockTables(place, grid, stage="detect", token="t")
    for n, name in enumerate(names):
        tables.write(name, {"rows": {"n": np.arange(n)}}, {"note": name})
    assert list(tables.loose()) == [(0, 0, 0)] and not tables.lacking(names)

    def check() -> None:
        for n, name in enumerate(names):
            found = tables.read(name)
            assert found.note == {"note": name} and found.tables["rows"]["n"].tolist() == list(range(n))
        many = list(tables.read_many((0, 0, 0), names[3:6], ("rows",)))
        assert [name for name, _ in many] == names[3:6] and len(many[2][1].tables["rows"]["n"]) == 5

    check()
    tables.gather((0, 0, 0))
    assert len(names_below(place)) == 1 and not list(tables.loose()) and not tables.lacking(names)
    check()
    tables.write(names[1], {"rows": {"n": np.arange(7)}})
    assert len(tables.read(names[1]).tables["rows"]["n"]) == 7
    assert len(list(tables.read_all((0, 0, 0)))) == len(names)


def test_a_large_file_of_tables_is_read_in_parts(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitoscale.storage.table_objects._TAIL", 100)
    test_tables_of_blocks(place)


def test_tables_for_people(place: str) -> None:
    columns = {"label": np.arange(5), "name": np.array(list("abcde"))}
    write_table(f"{place}/t.parquet", columns, metadata={"by": "me"})
    with appending(f"{place}/u.parquet", csv=f"{place}/u.csv") as append:
        append(columns)
        append(columns)
    assert read_table(f"{place}/t.parquet")["name"].tolist() == list("abcde")
    assert table_metadata(f"{place}/t.parquet")["by"] == "me"
    assert len(read_table(f"{place}/u.parquet", ["label"])["label"]) == 10
    assert (look(f"{place}/u.csv").data or b"").count(b"\n") == 11
    with pytest.raises(InputError, match="cannot be read"):
        read_table(f"{place}/nothing.parquet")
    write_json(f"{place}/x.json", {"a": [1]})
    assert read_json(f"{place}/x.json") == {"a": [1]}
    with pytest.raises(InputError, match="cannot read"):
        read_json(f"{place}/y.json")


def test_a_ledger_in_segments(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_segments, "_LARGEST", 1000)
    path = RunFolder(place).ledger("detect")
    ledger, names = Ledger(path), [f"b{n}" for n in range(30)]
    assert not ledger.version() and not ledger.entries("t")
    for name in names:
        ledger.append(RESULT.model_copy(update={"name": name}), token="t")
    before = Ledger(path).version()
    assert list(Ledger(path).entries("t")) == names, "another reader of this process sees each line at once"
    ledger.close()
    segments = sorted(names_below(path))
    assert segments[:2] == ["000000.jsonl", "000001.jsonl"] and len(segments) == 5
    assert [entry.name for entry in Ledger(path).latest("t")] == names[::-1]
    assert Ledger(path).version() == before
    again = Ledger(path)
    again.append(RESULT, token="t")
    again.close()
    assert Ledger(path).version() != before and list(Ledger(path).entries("t")) == [*names, RESULT.name]
    assert Ledger(path).last(RESULT.name, "t") is not None
    again.invalidate()
    assert not Ledger(path).entries("t") and not names_below(path)


def test_lines_are_put_though_none_follows(place: str) -> None:
    path = RunFolder(place).ledger("detect")
    ledger = Ledger(path)
    for name in ("a", "b"):
        ledger.append(RESULT.model_copy(update={"name": name}), token="t")
    segments = line_segments.Segments.of(path)
    assert (look(f"{path}/000000.jsonl").data or b"").count(b"\n") == 1, "the second waits for its second to be over"
    assert segments._timer is not None
    segments._timer.join()
    assert (look(f"{path}/000000.jsonl").data or b"").count(b"\n") == 2
    ledger.close()


def test_two_who_append_do_not_write_over_each_other(place: str, s3_server: S3Server) -> None:
    path = RunFolder(place).ledger("detect")
    ledger = Ledger(path)
    ledger.append(RESULT, token="t")
    put(f"{path}/000000.jsonl", (look(f"{path}/000000.jsonl").data or b"") + b"of another process\n")
    with pytest.raises(StoppedError, match=r"^another process writes to s3://em-data/.*/ledger/detect; wait for its end"):
        ledger.append(RESULT, token="t")
        ledger.close()
    assert b"of another process" in (look(f"{path}/000000.jsonl").data or b"")
    ledger = Ledger(path)
    ledger.append(RESULT, token="t")
    ledger.append(RESULT, token="t")
    s3_server.next.append("answer lost")
    ledger.close()
    assert (look(f"{path}/000000.jsonl").data or b"").count(b"\n") == 4 and not s3_server.next


def test_events(place: str) -> None:
    log = EventLog(RunFolder(place).events)
    assert log.read() == []
    for stage in ("convert", "detect"):
        log.append(Event(kind="started", stage=stage))
    assert [event.stage for event in log.read()] == ["convert", "detect"]


def test_one_process_at_a_time(place: str) -> None:
    lock = f"{place}/.lock"
    assert not is_held(lock)
    with exclusively(lock, "busy"):
        assert is_held(lock)
        with pytest.raises(InputError, match=rf"^busy \(host .*, process {os.getpid()}\)$"), exclusively(lock, "busy"):
            pass
        assert is_held(lock), "the refused one has not taken it away"
    assert not is_held(lock) and not names_below(place)


def test_a_killed_owner_owns_nothing(place: str) -> None:
    gone = {**this_process(), "pid": 2**22 + 1, "token": "x", "renewed": 9e9}
    put(f"{place}/.lock.owner", json.dumps(gone).encode())
    assert not is_held(f"{place}/.lock")
    with exclusively(f"{place}/.lock", "busy"):
        assert is_held(f"{place}/.lock")


def test_an_owner_of_another_machine_is_believed_until_it_no_longer_renews(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(owner_object.time, "sleep", waited.append)
    there = {"host": "node7", "pid": 12, "processes": "other", "token": "x", "renewed": owner_object.time.time()}
    put(f"{place}/.lock.owner", json.dumps(there).encode())
    with pytest.raises(InputError, match=r"^busy \(host node7, process 12\)$"), exclusively(f"{place}/.lock", "busy"):
        pass
    put(f"{place}/.lock.owner", json.dumps({**there, "renewed": 5.0}).encode())
    with exclusively(f"{place}/.lock", "busy"):
        assert is_held(f"{place}/.lock")
    assert waited == [2 * owner_object.BEAT_SECONDS], "clocks may differ: a beat was waited for"


def test_an_owner_whose_answer_was_lost_still_owns(place: str, s3_server: S3Server) -> None:
    owner = owner_object._Owner(f"{place}/.lock.owner")
    owner.claim("busy")
    s3_server.next.append("answer lost")
    assert owner._write(owner.version) and not s3_server.next
    assert owner._write(owner.version)
    put(f"{place}/.lock.owner", b"{}")
    assert not owner._write(owner.version), "another has taken over"
