"""Downloads from a real local server: resumed, verified, and told apart from broken ones."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import xxhash

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.storage.download import download

CONTENT = np.random.default_rng(0).bytes(3_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
DIGEST = f"md5:{MD5}"


class Server(ThreadingHTTPServer):
    """Serves CONTENT under every path, with the faults a test wants."""

    ranges = True
    """Whether it honours Range."""
    break_after: int | None = None
    """Bytes after which each answer breaks off."""
    answers: list[int]
    """Status codes to give first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = []
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/sam_{MD5[:6]}.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        if server.answers:
            self.send_error(server.answers.pop(0))
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.break_after])

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_file_arrives_once(server: Server, tmp_path: Path) -> None:
    heard: list[tuple[int, int | None]] = []
    target = tmp_path / "new" / "weights.pth"
    promised = f"md5:{MD5[:6]}"
    assert download(server.url, target, digest=promised, progress=lambda here, total: heard.append((here, total))) == promised
    assert target.read_bytes() == CONTENT
    assert heard[0] == (0, len(CONTENT)) and heard[-1] == (len(CONTENT), len(CONTENT)) and len(heard) > 2
    download(server.url, target, digest=DIGEST)
    assert server.asked == [None]
    assert [p.name for p in target.parent.iterdir()] == ["weights.pth"]


def test_a_transfer_that_breaks_goes_on_by_itself(server: Server, tmp_path: Path) -> None:
    server.break_after = 1_200_000
    download(server.url, tmp_path / "w.pth", digest=DIGEST)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1200000-", "bytes=2400000-"]


def test_a_server_that_sends_nothing_more_is_given_up_and_resumed_later(server: Server, tmp_path: Path) -> None:
    server.break_after = 1_200_000
    server.answers = []
    target = tmp_path / "w.pth"
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(StoppedError, match=r"broke off at 1200000 bytes .* goes on from there"),
    ):
        patch.setattr(Handler, "do_GET", _once_then_nothing(Handler.do_GET))
        download(server.url, target, digest=DIGEST)
    assert not target.exists() and (tmp_path / "w.pth.part").stat().st_size == 1_200_000
    server.asked.clear()
    server.break_after = None
    download(server.url, target, digest=DIGEST)
    assert target.read_bytes() == CONTENT and server.asked == ["bytes=1200000-"]


def _once_then_nothing(first: object) -> object:
    calls = iter((True,))

    def answer(self: Handler) -> None:
        if next(calls, False):
            first(self)  # type: ignore[operator]

    return answer


def test_a_server_without_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "w.pth.part").write_bytes(CONTENT[:1000])
    server.ranges = False
    download(server.url, tmp_path / "w.pth", digest=DIGEST)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_a_part_that_is_all_there(server: Server, tmp_path: Path) -> None:
    (tmp_path / "w.pth.part").write_bytes(CONTENT)
    download(server.url, tmp_path / "w.pth", digest=DIGEST)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


@pytest.mark.parametrize("algorithm", ["md5", "sha256", "xxh128"])
def test_a_wrong_digest_leaves_nothing(server: Server, tmp_path: Path, algorithm: str) -> None:
    with pytest.raises(
        InputError, match=rf"w.pth from http.* has the {algorithm.upper()} digest [0-9a-f]{{32,64}}, 000000 is promised"
    ):
        download(server.url, tmp_path / "w.pth", digest=f"{algorithm}:000000")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "digest",
    [f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", f"xxh128:{xxhash.xxh128(CONTENT).hexdigest()}", DIGEST],
    ids=lambda d: d.partition(":")[0],
)
def test_each_kind_of_digest_is_held_against_the_whole_file(server: Server, tmp_path: Path, digest: str) -> None:
    assert download(server.url, tmp_path / "w.pth", digest=digest) == digest
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


@pytest.mark.parametrize("start", [b"x" * 1000, CONTENT + b"more"], ids=["part is wrong", "part is longer"])
def test_a_part_of_another_file_is_fetched_anew(server: Server, tmp_path: Path, start: bytes) -> None:
    (tmp_path / "w.pth.part").write_bytes(start)
    download(server.url, tmp_path / "w.pth", digest=DIGEST)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(start)}-", None]
    assert [p.name for p in tmp_path.iterdir()] == ["w.pth"]


def test_a_damaged_file_in_the_cache_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(CONTENT[:-1])
    download(server.url, tmp_path / "w.pth", digest=DIGEST)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A zip, as TorchScript is, for which nobody promises a digest."""
    path = tmp_path / "served" / "net.pth"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("net/data", CONTENT)
    return path


def test_the_first_download_is_recorded_where_nothing_is_promised(archive: Path, tmp_path: Path) -> None:
    target, record = tmp_path / "net.pth", tmp_path / "net.pth.sha256"
    sha = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert download(archive.as_uri(), target, digest="", record=record) == f"sha256:{sha}"
    assert record.read_text() == f"{sha}  net.pth\n"
    target.unlink()
    download(archive.as_uri(), target, digest="", record=record)
    with zipfile.ZipFile(archive, "a") as file:  # whoever keeps the server has another file now
        file.writestr("net/more", b"code")
    assert download(archive.as_uri(), target, digest="", record=record) == f"sha256:{sha}"
    target.unlink()
    with pytest.raises(InputError, match=rf"{sha} is promised by {record}, of the first download: it was removed"):
        download(archive.as_uri(), target, digest="", record=record)
    assert not target.exists() and record.is_file()


@pytest.mark.parametrize("cut", [0, 1, 2_000_000])
def test_what_nobody_promises_must_be_a_whole_zip(archive: Path, tmp_path: Path, cut: int) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[:cut] if cut else content.replace(CONTENT[:8], b"changed!"))
    with pytest.raises(InputError, match="is no whole zip file"):
        download(archive.as_uri(), tmp_path / "net.pth", digest="", record=tmp_path / "record")
    assert [p.name for p in tmp_path.iterdir()] == ["served"]


def test_what_the_server_says(server: Server, tmp_path: Path) -> None:
    server.answers = [404]
    with pytest.raises(InputError, match="the server says 404"):
        download(server.url, tmp_path / "w.pth", digest=DIGEST)
    server.answers = [503, 500]
    download(server.url, tmp_path / "w.pth", digest=DIGEST)
    server.answers = [503] * 3
    with pytest.raises(StoppedError, match="broke off at 0 bytes"):
        download(server.url, tmp_path / "v.pth", digest=DIGEST)
    assert [p.name for p in tmp_path.iterdir()] == ["w.pth"]


def test_no_server_and_no_file(tmp_path: Path) -> None:
    with Server() as closed:
        url = closed.url
    with pytest.raises(StoppedError, match="refused"):
        download(url, tmp_path / "w.pth", digest=DIGEST)
    with pytest.raises(InputError, match="no such file"):
        download((tmp_path / "none_abcdef.pth").as_uri(), tmp_path / "w.pth", digest="md5:abcdef")
    (tmp_path / "source.pth").write_bytes(CONTENT)
    download((tmp_path / "source.pth").as_uri(), tmp_path / "w.pth", digest=DIGEST)


def test_two_at_once(server: Server, tmp_path: Path) -> None:
    def again(here: int, total: int | None) -> None:
        with pytest.raises(InputError, match="another process is downloading"):
            download(server.url, tmp_path / "w.pth", digest=DIGEST)

    download(server.url, tmp_path / "w.pth", digest=DIGEST, progress=again)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_a_disk_that_is_too_small(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitoscale.storage.download.free_bytes", lambda path: 2_999_999)
    with pytest.raises(InputError, match="needs 3 MB more"):
        download(server.url, tmp_path / "w.pth", digest=DIGEST)
    assert not list(tmp_path.iterdir())


def test_a_file_system_without_locks(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file with its owner's name stands in, as it does for a run."""

    def none(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("mitoscale.storage.exclusive.fcntl.flock", none)
    download(server.url, tmp_path / "w.pth", digest=DIGEST)
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


def test_a_target_that_cannot_be_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "w.pth").mkdir()
    with pytest.raises(StoppedError, match="cannot write"):
        download(server.url, tmp_path / "w.pth", digest=DIGEST)
