"""``mitoscale weights``: what is listed, and what a download leaves behind."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import shutil
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import xxhash
from commands import Call
from safetensors.numpy import save_file

from mitoscale.core.errors import InputError
from mitoscale.nets.named_weights import find_weights
from mitoscale.nets.published import PUBLISHED

BODY = b"mitoscale test 25594909"
"""Stands for published weights; its MD5 sum begins with 01ec64, as vit_b's does."""

DIGEST = f"xxh128:{xxhash.xxh128(BODY).hexdigest()}"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of a folder with files that pass for vit_b, vit_t_em_organelles and mitonet, and one that does not for vit_l."""
    monkeypatch.setenv("MITOSCALE_CACHE", str(tmp_path / "cache"))
    for name in ("vit_b", "vit_t_em_organelles"):
        monkeypatch.setitem(PUBLISHED, name, dataclasses.replace(PUBLISHED[name], digest=DIGEST))
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "sam_vit_b_01ec64.pth").write_bytes(BODY)
    (tmp_path / "mirror" / "sam_vit_l_0b3195.pth").write_bytes(BODY)
    (tmp_path / "mirror" / "vit_t_em_organelles.pt").write_bytes(BODY)
    (tmp_path / "mirror" / "lab.pth").write_bytes(BODY)
    with zipfile.ZipFile(tmp_path / "mirror" / "MitoNet_v1.pth", "w") as script:
        script.writestr("net/data", BODY)
    (tmp_path / "mirror" / "MitoNet_v1_mini.pth").write_bytes(BODY)
    handler = functools.partial(Quiet, directory=str(tmp_path / "mirror"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_embedded_weights_name_the_volume_they_were_trained_on(mitoscale: Call) -> None:
    lines = {line.split()[0]: line for line in mitoscale("weights", "list").out.splitlines() if line.strip()}
    assert "trained on epfl (EPFL CVLab" in lines["unet-small"]
    assert all("trained on epfl, mitoem_r, cardiac, fib25_1" in lines[name] for name in ("unet-varied", "sam-small"))


def test_list_before_and_after_a_download(mitoscale: Call, mirror: str, tmp_path: Path) -> None:
    ended = mitoscale("weights", "list")
    assert ended.code == 0
    for name in ("unet-small", "unet-varied", "sam-small", *PUBLISHED):
        assert sum(line.startswith(name + " ") for line in ended.out.splitlines()) == 1
    assert ended.out.count("not downloaded") == len(PUBLISHED) == 8
    with pytest.raises(InputError, match="mitoscale weights download vit_b"):
        find_weights("vit_b")
    got = mitoscale("weights", "download", "vit_b", "--from", mirror)
    path = tmp_path / "cache" / "sam_vit_b_01ec64.pth"
    assert got.code == 0 and str(path) in got.out
    assert path.read_bytes() == BODY and find_weights("vit_b") == path
    listed = {w["name"]: w for w in json.loads(mitoscale("weights", "list", "--json").out)}
    assert listed["vit_b"]["path"] == str(path) and not listed["vit_l"]["path"]
    assert Path(listed["sam-small"]["path"]).is_file()


def test_own_weights_are_listed_by_name(mitoscale: Call, mirror: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("mine", "a-name-longer-than-others", "sam-small", "vit_h"):
        shutil.copy(find_weights("sam-small"), cache / f"{name}.safetensors")
    (cache / "cut.safetensors").write_bytes((cache / "mine.safetensors").read_bytes()[:5000])
    save_file({"a": np.zeros(3)}, cache / "foreign.safetensors")
    (cache / "embeddings.safetensors").mkdir()
    listed = json.loads(mitoscale("weights", "list", "--json").out)
    names = [w["name"] for w in listed]
    own = ["a-name-longer-than-others", "cut", "foreign", "mine", "vit_h"]
    assert names == ["sam-small", "unet-small", "unet-varied", *own, *(name for name in PUBLISHED if name != "vit_h")]
    of = {w["name"]: w for w in listed}
    assert of["unet-varied"]["what"].endswith("trained on epfl, mitoem_r, cardiac, fib25_1")
    assert all(not w["path"] or find_weights(w["name"]) == Path(w["path"]) for w in listed)
    assert of["mine"]["what"].startswith("own sam, 5.0 nm, trained on epfl, mitoem_r") and of["mine"]["megabytes"] > 10
    assert "no mitoscale header" in of["foreign"]["what"] and str(cache / "cut.safetensors") in of["cut"]["what"]
    assert [name for name in names if of[name]["damaged"]] == ["cut"]
    lines = mitoscale("weights", "list").out.splitlines()
    assert [line.split()[0] for line in lines[: len(names)]] == names
    assert len({line.index(" MB") for line in lines[: len(names)]}) == 1
    assert lines[-1].startswith(f"NAME.safetensors in {cache} ")


@pytest.mark.parametrize("content", [b"", b"ab", "cut"])
def test_a_broken_download_is_listed_as_damaged(mitoscale: Call, mirror: str, tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "cache" / "sam_vit_b_01ec64.pth"
    path.parent.mkdir()
    for old in (False, True):
        torch.save({"a": torch.zeros(1000)}, path, _use_new_zipfile_serialization=not old)
        assert not {w["name"]: w for w in json.loads(mitoscale("weights", "list", "--json").out)}["vit_b"]["damaged"]
        assert "damaged" not in mitoscale("weights", "list").out
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:3000] if isinstance(content, str) else content)
    line = next(line for line in mitoscale("weights", "list").out.splitlines() if line.startswith("vit_b "))
    assert "MB, damaged" in line and f"remove {path}, then mitoscale weights download vit_b" in line
    path.unlink()
    assert mitoscale("weights", "download", "vit_b", "--from", mirror).code == 0  # as the line says


def test_micro_sams_checkpoint_by_name(mitoscale: Call, mirror: str, tmp_path: Path) -> None:
    ended = mitoscale("weights", "download", "vit_t_em_organelles", "--from", mirror)
    assert (
        ended.code == 0 and f"digest     {DIGEST}, as promised" in ended.out and "licence    CC-BY-4.0; Archit et al." in ended.out
    )
    assert find_weights("vit_t_em_organelles") == tmp_path / "cache" / "vit_t_em_organelles.pt"


def test_mitonets_hash_is_that_of_the_first_download(mitoscale: Call, mirror: str, tmp_path: Path) -> None:
    served, record = tmp_path / "mirror" / "MitoNet_v1.pth", tmp_path / "cache" / "MitoNet_v1.pth.sha256"
    digest = hashlib.sha256(served.read_bytes()).hexdigest()
    ended = mitoscale("weights", "download", "mitonet", "--from", mirror)
    assert ended.code == 0 and f"digest     sha256:{digest}, of the first download, see {record}" in ended.out
    assert record.read_text().split()[0] == digest
    find_weights("mitonet").unlink()
    with zipfile.ZipFile(served, "a") as script:
        script.writestr("net/code", b"other code")
    ended = mitoscale("weights", "download", "mitonet", "--from", mirror)
    assert ended.code == 1 and f"{digest} is promised by {record}, of the first download" in ended.err
    assert not (tmp_path / "cache" / "MitoNet_v1.pth").exists()


def test_each_published_file_is_promised_in_full_or_recorded() -> None:
    for weights in PUBLISHED.values():
        algorithm, _, digest = weights.digest.partition(":")
        assert (algorithm, len(digest), weights.record) == ("xxh128", 32, None) if weights.digest else weights.record
        assert weights.url.startswith("https://") and weights.licence and weights.use in ("sam", "detector")


def test_a_url_of_ones_own(mitoscale: Call, mirror: str, tmp_path: Path) -> None:
    assert mitoscale("weights", "download", f"{mirror}/sam_vit_b_01ec64.pth").code == 0
    assert (tmp_path / "cache" / "sam_vit_b_01ec64.pth").read_bytes() == BODY


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vit_l", "--from", "MIRROR"], "a82beb3c660661e3dd38d999cc860e9a is promised"),
        (["vit_h", "--from", "MIRROR/"], "the server says 404"),
        (
            ["vit_x"],
            f"there are {', '.join(PUBLISHED)}, or",
        ),
        (["sam-small"], "nothing to download"),
        (["MIRROR/lab.pth"], "could not be verified"),
        (["mitonet_mini", "--from", "MIRROR"], "is no whole zip file, as TorchScript is"),
    ],
)
def test_what_cannot_be_downloaded(mitoscale: Call, mirror: str, tmp_path: Path, arguments: list[str], said: str) -> None:
    ended = mitoscale("weights", "download", *(a.replace("MIRROR", mirror) for a in arguments))
    assert ended.code == 1 and said in ended.err and len(ended.err.splitlines()) == 1
    assert not list((tmp_path / "cache").glob("*"))


@pytest.mark.parametrize("source", ["garbage", "", "ftp://host/folder", "http:///folder", "http://[", "C:/weights"])
def test_a_mirror_that_is_no_url(mitoscale: Call, mirror: str, tmp_path: Path, source: str) -> None:
    ended = mitoscale("weights", "download", "vit_b", "--from", source)
    assert ended.code == 1 and f"--from {source} is no http://, https:// or file:// URL of a folder; give one such as" in ended.err
    assert len(ended.err.splitlines()) == 1 and not (tmp_path / "cache").exists()


@pytest.mark.parametrize("below", ["", "sam_vit_b_01ec64.pth"])
def test_a_local_mirror_is_told_as_url(mitoscale: Call, mirror: str, tmp_path: Path, below: str) -> None:
    folder = (tmp_path / "mirror").rename(tmp_path / "my mirror")
    ended = mitoscale("weights", "download", "vit_b", "--from", str(folder / below))
    assert ended.code == 1 and f"give {folder.as_uri()} for that folder" in ended.err and len(ended.err.splitlines()) == 1
    assert mitoscale("weights", "download", "vit_b", "--from", folder.as_uri()).code == 0
    assert (tmp_path / "cache" / "sam_vit_b_01ec64.pth").read_bytes() == BODY


def test_a_file_that_is_no_sam_is_told_when_it_is_used(mitoscale: Call, mirror: str) -> None:
    from mitoscale.nets.checkpoint import load_sam

    mitoscale("weights", "download", "vit_b", "--from", mirror)
    with pytest.raises(InputError, match="download it again"):
        load_sam("vit_b")


def test_a_cache_that_cannot_be_written(mitoscale: Call, mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MITOSCALE_CACHE", str(tmp_path / "file"))
    ended = mitoscale("weights", "download", "vit_b", "--from", mirror)
    assert ended.code == 1 and "MITOSCALE_CACHE" in ended.err
