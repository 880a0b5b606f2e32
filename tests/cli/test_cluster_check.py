"""``mitoscale cluster check``: every worker looks around, nothing stays behind, and what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Ended, begin, call, contents, finish

from mitoscale.pipeline.cluster_diagnostics import Probe


def check(tmp_path: Path, text: str, *options: str) -> Ended:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    return finish(begin("cluster", "check", str(path), *options))


def test_each_worker_is_shown_and_nothing_stays(tmp_path: Path) -> None:
    text = "groups: {io: {workers: 1, memory: 1 GiB}, gpu: {workers: 1, threads: 2, memory: 2 GiB}}\ndashboard: 127.0.0.1:0"
    ended = check(tmp_path, text, "--store", str(tmp_path / "runs"), "--json")
    assert ended.code == 0, ended.err
    io, gpu = sorted(json.loads(ended.out), key=lambda w: w["name"], reverse=True)
    assert (io["name"], io["group"], io["tasks"], io["memory"]) == ("io-0", "io", 1, 2**30)
    assert (gpu["name"], gpu["group"], gpu["tasks"], gpu["memory"]) == ("gpu-0", "gpu", 2, 2**31)
    for worker in (io, gpu):
        assert worker["problems"] == []
        assert worker["found"]["device"] and worker["found"]["versions"]["torch"]
        assert all(len(digest) == 64 for digest in worker["found"]["weights"].values())
    assert io["found"]["process"] != gpu["found"]["process"]
    assert list(contents(tmp_path)) == ["cluster.yaml"]


def test_what_is_wrong_with_a_worker_is_said(tmp_path: Path) -> None:
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(b"mine")
    probe = Probe(folder=str(tmp_path / "shared" / "probe"), weights=(str(weights),))
    probe.prepare()
    own = probe.look()
    assert probe.problems(own, own, gpu=False) == []
    weights.write_bytes(b"other")
    other = probe.look().model_copy(update={"versions": {**own.versions, "torch": "1.0"}, "process": 1, "device": "CPU (float32)"})
    said = "\n".join(probe.problems(own, other, gpu=True))
    for words in ("torch is 1.0 there", f"weights {weights}: ", "is not seen here: the folder is not shared", "should have a GPU"):
        assert words in said
    elsewhere = Probe(folder=str(tmp_path / "another" / "probe"), weights=("none.pt",)).look()
    assert "is not seen there: the folder is not shared" in elsewhere.store
    assert "neither a file nor embedded" in elsewhere.weights["none.pt"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["{folder}/none.yaml"], "cannot be read"),
        (["{folder}/cluster.yaml", "--weights", "nonesuch"], "'nonesuch' are neither a file nor embedded"),
        (["{folder}/cluster.yaml", "--store", "{folder}/cluster.yaml/runs"], "is a file; give another folder"),
    ],
)
def test_wrong_input_is_told_before_anything_starts(tmp_path: Path, options: list[str], said: str) -> None:
    (tmp_path / "cluster.yaml").write_text("kind: local\n")
    before = contents(tmp_path)
    ended = call("cluster", "check", *(o.format(folder=tmp_path) for o in options))
    assert ended.code == 1 and said in ended.err and len(ended.err.splitlines()) == 1
    assert contents(tmp_path) == before
