"""Objects of a store: whole or not there, replaced only as they were known, and one line where the store fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.storage import object_store
from mitoscale.storage.object_store import check_reached, is_there, look, names_below, pieces, put, put_if, remove
from mitoscale.storage.run_places import check_place, holds_run
from mitoscale.storage.stored_files import write
from s3_server import S3Server

CONTENT = bytes(range(256)) * 40


def test_an_object_is_put_and_read(s3_server: S3Server) -> None:
    put("s3://em-data/a/b", CONTENT)
    assert look("s3://em-data/a/b").data == CONTENT
    assert look("s3://em-data/a/b", slice(10, 30)).data == CONTENT[10:30]
    assert look("s3://em-data/a/b", slice(-30, None)).data == CONTENT[-30:]
    assert look("s3://em-data/a/b", slice(-(2**18), None)).data == CONTENT, "more of its end than there is"
    assert look("s3://em-data/a/c").data is None and look("s3://em-data/a/c", slice(-30, None)).data is None
    assert is_there("s3://em-data/a/b") and not is_there("s3://em-data/a/c") and not is_there("s3://em-data/a")


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 3000])
def test_an_object_comes_in_pieces(size: int, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "_PIECE", 1000)
    put("s3://em-data/pieces", CONTENT[:size])
    found = list(pieces("s3://em-data/pieces"))
    assert b"".join(found) == CONTENT[:size] and max(map(len, found)) <= 1000
    with pytest.raises(FileNotFoundError):
        next(pieces("s3://em-data/nothing"))


def test_names_and_removal_follow_the_slash(s3_server: S3Server) -> None:
    for name in ("t/x", "t/x/1", "t/x/y/2", "t/x.z", "t/x0"):
        put(f"s3://em-data/{name}", b"-")
    assert sorted(names_below("s3://em-data/t/x")) == ["1", "y/2"]
    remove("s3://em-data/t/x")
    assert sorted(names_below("s3://em-data/t")) == ["x.z", "x0"]
    remove("s3://em-data/t/nothing")


def test_of_many_who_replace_the_same_version_one_does(s3_server: S3Server) -> None:
    nothing = look("s3://em-data/owner").version
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda n: put_if("s3://em-data/owner", b"%d" % n, nothing), range(8)))
    assert sum(version is not None for version in made) == 1
    (winner,) = (n for n, version in enumerate(made) if version)
    data, version = look("s3://em-data/owner")
    assert data == b"%d" % winner and version == made[winner]
    assert put_if("s3://em-data/owner", b"later", version) and put_if("s3://em-data/owner", b"late", version) is None
    assert look("s3://em-data/owner").data == b"later"
    assert put_if("s3://em-data/owner", None, version) is None and look("s3://em-data/owner").data == b"later"
    assert put_if("s3://em-data/owner", None, look("s3://em-data/owner").version)
    assert look("s3://em-data/owner").data is None


def test_a_store_without_conditional_writes_is_looked_at_first(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_server, "conditions", False)
    made = put_if("s3://em-data/looked", b"1", look("s3://em-data/looked").version)
    assert made and put_if("s3://em-data/looked", b"2", look("s3://em-data/other").version) is None
    assert put_if("s3://em-data/looked", b"3", made) and look("s3://em-data/looked").data == b"3"


def test_a_store_that_is_busy_is_asked_again(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_server, "rates", {"slow down": 0.2, "broken": 0.1, "answer lost": 0.1})
    for number in range(12):
        put("s3://em-data/busy", b"%d" % number)
        assert look("s3://em-data/busy").data == b"%d" % number
    assert s3_server.counts["slow down"] and s3_server.counts["broken"] and s3_server.counts["answer lost"]


def test_where_a_run_lies(s3_server: S3Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not holds_run("s3://em-data/a-run") and not holds_run(str(tmp_path)) and not holds_run("https://127.0.0.1:9/run")
    for place in ("s3://em-data/a-run", str(tmp_path)):
        write(f"{place}/run.json", b"{}")
        assert holds_run(place)
    assert not holds_run("s3://nobodys/run")
    monkeypatch.setattr(s3_server, "next", ["denied"])
    assert not holds_run("s3://em-data/a-run"), "a volume may lie there that may not be listed"


def said(error: Any) -> str:
    message = str(error.value)
    assert "\n" not in message and len(message) < 500, message
    return message


def test_what_is_wrong_with_a_store_is_one_line(s3_server: S3Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError) as caught:
        check_reached("s3://nobodys/run")
    assert "there is no bucket nobodys" in said(caught)
    with pytest.raises(InputError) as caught:
        check_place("s3://nobodys/run")
    assert "there is no bucket nobodys" in said(caught)
    with pytest.raises(StoppedError) as stopped:
        put("s3://nobodys/run/x", b"")
    assert "there is no bucket nobodys" in said(stopped)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError) as caught:
        check_place("s3://em-data/run")
    assert "there are no credentials; give AWS_ACCESS_KEY_ID" in said(caught)
    assert not list(tmp_path.iterdir())
