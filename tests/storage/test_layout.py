"""The run folder: paths, JSON files that are there whole or not at all, and checks that leave nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.storage.layout import RunFolder, check_new, check_writable, free_bytes, free_name, read_json, write_json
from mitoscale.storage.stored_files import remove_tree


def test_every_path_lies_in_the_run_folder(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    names = [n for n in dir(RunFolder) if isinstance(getattr(RunFolder, n), property)]
    paths = {getattr(run, name) for name in names} | {run.ledger("detect"), run.ledger("segment")}
    assert len(paths) == len(names) + 2
    assert all(p.startswith(f"{tmp_path}/") for p in paths)
    assert run.labels == f"{run.volume}/labels/mitochondria"
    assert not list(tmp_path.iterdir())


def test_json_comes_back(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "run.json")
    for content in ({"a": [1, 2.5, None, "µ"]}, {"b": True}):
        write_json(path, content)
        assert read_json(path) == content
    assert os.listdir(tmp_path / "new") == ["run.json"]


def test_a_free_name_and_a_taken_one(tmp_path: Path) -> None:
    path = str(tmp_path / "a.b.png")
    check_new(path, "--out")
    assert free_name(path) == path
    Path(path).symlink_to("nowhere")  # what it led to may come back
    with pytest.raises(InputError, match=r"^--out .*a\.b\.png exists already; give another name"):
        check_new(path, "--out")
    assert free_name(path) == str(tmp_path / "a.b-2.png")
    (tmp_path / "a.b-2.png").mkdir()
    assert free_name(path) == str(tmp_path / "a.b-3.png")
    assert not os.path.lexists(tmp_path / "a.b-3.png")


def test_bad_json(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    with pytest.raises(InputError, match=r"run\.json"):
        read_json(str(path))
    for content in (b"", b'{"a": ', b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"run\.json"):
            read_json(str(path))
    (tmp_path / "file").write_text("")
    with pytest.raises(StoppedError, match="file"):
        write_json(str(tmp_path / "file" / "run.json"), {})


def test_what_json_cannot_hold_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = str(tmp_path / "run.json")
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["run.json"]


def test_checking_a_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(str(tmp_path))
    check_writable(str(tmp_path / "a" / "b"))
    with pytest.raises(InputError, match=r"^s3://bucket/x is an address; give a folder"):
        check_writable("s3://bucket/x")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InputError, match="file"):
            check_writable(str(path))
    with pytest.raises(InputError):
        check_writable("/proc/mitoscale-run")


def test_removing(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    remove_tree(str(tmp_path / "link"))
    assert (tmp_path / "a" / "b" / "file").exists()
    remove_tree(str(tmp_path / "a" / "b" / "file"))
    remove_tree(str(tmp_path / "a"))
    remove_tree(str(tmp_path / "a"))
    assert not list(tmp_path.iterdir())


def test_free_space_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_bytes(str(tmp_path / "a" / "b")) > 0
