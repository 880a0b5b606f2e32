"""Sources in object stores: a real S3 server on loopback, and plain HTTP; what is wrong with an address is one line."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written import WRITERS, upload

from mitoscale.core.errors import BlockError, InputError
from mitoscale.core.geometry import Region
from mitoscale.storage.sources.kinds import open_reader

DATA = np.random.default_rng(0).integers(0, 250, (6, 20, 24)).astype(np.uint8)
NM = (40.0, 4.0, 4.0)
KINDS = ("ome_zarr", "zarr2", "zarr3", "n5", "precomputed")


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def http(tmp_path: Path) -> Iterator[str]:
    """The address of a server of ``tmp_path``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", KINDS)
def test_s3_reads_the_same(kind: str, s3: Any, tmp_path: Path) -> None:
    path, reading = WRITERS[kind](tmp_path, DATA, (2, 8, 8), NM)
    local = open_reader(path, reading)
    upload(Path(path.removeprefix("precomputed://")), s3, "em-data", f"lab/{kind}")
    reader = open_reader(f"s3://em-data/lab/{kind}/", reading)
    np.testing.assert_array_equal(reader.read(Region.of_shape(DATA.shape)), DATA)
    assert (reader.spacing, reader.origin, reader.fingerprint) == (local.spacing, local.origin, local.fingerprint)


@pytest.mark.parametrize("kind", KINDS)
def test_http_reads_the_same(kind: str, http: str, tmp_path: Path) -> None:
    path, reading = WRITERS[kind](tmp_path, DATA, (2, 8, 8), NM)
    place = Path(path.removeprefix("precomputed://")).relative_to(tmp_path)
    reader = open_reader(f"{http}/{place}", reading)
    np.testing.assert_array_equal(reader.read(Region.of_shape(DATA.shape)), DATA)


def test_public_data_in_google_cloud_storage(http: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Google's credentials it is asked as anybody may."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", http)
    (tmp_path / "em-data").mkdir()
    path, _ = WRITERS["zarr3"](tmp_path / "em-data", DATA, (2, 8, 8), NM)
    reader = open_reader(f"gs://em-data/{Path(path).name}")
    np.testing.assert_array_equal(reader.read(Region.of_shape(DATA.shape)), DATA)


def refused(path: str, *words: str) -> None:
    began = time.monotonic()
    with pytest.raises(InputError) as caught:
        open_reader(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    for word in words:
        assert word in message, message
    assert time.monotonic() - began < 60


def test_what_is_not_there(s3: Any, http: str) -> None:
    refused("s3://nobodys-bucket/volume.zarr", "there is no bucket nobodys-bucket")
    refused("s3://em-data/nothing.zarr", "there is nothing to read at s3://em-data/nothing.zarr", "zarr.json")
    refused(f"{http}/nothing.zarr", "there is nothing to read at")


def test_no_credentials(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    s3.put_object(Bucket="em-data", Key="volume.zarr/zarr.json", Body=b"{}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    refused("s3://em-data/volume.zarr", "may not be read: there are no credentials; give AWS_ACCESS_KEY_ID")
    assert not capfd.readouterr().err, "the libraries below have nothing to add"


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    refused("s3://em-data/volume.zarr", "cannot be reached", "check address and network")


def test_a_store_that_goes_away_is_a_failed_block(http: str, tmp_path: Path) -> None:
    path, _ = WRITERS["zarr2"](tmp_path, DATA, (2, 8, 8), NM)
    reader = open_reader(f"{http}/v2.zarr")
    for chunk in Path(path).iterdir():
        if chunk.name[0].isdigit():
            os.truncate(chunk, 5)
    with pytest.raises(BlockError, match=r"v2\.zarr"):
        reader.read(Region.of_shape(DATA.shape))
