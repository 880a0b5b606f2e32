"""Several volumes to train on at once: what a list says, what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mitoscale.core.errors import InputError
from mitoscale.core.source_choices import Reading
from mitoscale.core.training_settings import TrainSettings
from mitoscale.nets.checkpoint import load_unet
from mitoscale.nets.sam import PRESETS as SAM_PRESETS
from mitoscale.nets.sam import Sam, SamConfig
from mitoscale.nets.unet import PRESETS, UNetConfig
from mitoscale.storage.tiff_writing import write_tiff
from mitoscale.training.crop import UNLABELLED
from mitoscale.training.job import train_job
from mitoscale.training.sam import SamTask
from mitoscale.training.samples import Annotated
from mitoscale.training.volume_list import left_out, read_volume_list, read_volumes, volumes_of

LIST = """
- {name: home, image: stack.tif, truth: $MITOSCALE_TEST_TRUTH, slices: [0, 20], tune: [22, 26], share: 3}
- {name: away, image: stack.tif, truth: truth.tif, voxel_size: [1000, 4, 4], slices: [26, 32], tune: [0, 4], border: 12}
- {name: lender, image: stack.tif, voxel_size: [10, 10, 10]}
"""


@pytest.fixture
def listed(annotated: Annotated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_tiff(str(tmp_path / "stack.tif"), annotated.image, annotated.spacing)
    write_tiff(str(tmp_path / "truth.tif"), annotated.labels.astype(np.uint16), annotated.spacing)
    monkeypatch.setenv("MITOSCALE_TEST_TRUTH", str(tmp_path / "truth.tif"))
    (tmp_path / "volumes.yaml").write_text(LIST)
    return tmp_path / "volumes.yaml"


def settings(listed: Path, **changes: object) -> TrainSettings:
    fields = {"volume": str(listed), "truth": "", "out": str(listed.with_name("mine.safetensors")), "threads": 1, "phantoms": 0}
    return TrainSettings(**fields | {"volumes": read_volume_list(str(listed))} | changes)  # type: ignore[arg-type]


def test_each_volume_is_read_as_the_list_says(listed: Path, annotated: Annotated) -> None:
    volumes = read_volumes(settings(listed))
    home, away, lender = volumes.learnt
    assert (home.name, away.name, lender.name) == ("home", "away", "lender")
    assert (home.share, away.share, lender.share) == (3.0, 1.0, 0.0)
    assert (home.labels == annotated.labels[:20]).all() and home.spacing == (10.0, 10.0, 10.0)
    assert away.spacing == (1000.0, 4.0, 4.0) and len(away.image) == 6
    inner = away.labels[:, 12:-12, 12:-12]
    assert (inner == annotated.labels[26:, 12:-12, 12:-12]).all()
    assert (away.labels != UNLABELLED).sum() == inner.size
    assert (lender.labels == UNLABELLED).all() and lender.image.shape == annotated.image.shape
    assert [(t.name, len(t.image)) for t in volumes.tuning] == [("home", 4), ("away", 4)]


def test_a_single_volume_is_read_as_the_options_say() -> None:
    wanted = {"reading": Reading(channel=1), "truth_threshold": 127, "invert": True, "slices": (0, 4), "tune": (5, 6)}
    (named,) = volumes_of(TrainSettings(volume="v.tif", truth="t.tif", out="w.safetensors", **wanted))  # type: ignore[arg-type]
    assert {name: getattr(named, name) for name in wanted} == wanted and (named.image, named.truth) == ("v.tif", "t.tif")


def test_a_unet_learns_from_all_of_them(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "small", UNetConfig(widths=(4, 8)))
    before = torch.get_num_threads()
    told: list[dict[str, object]] = []
    wanted = settings(listed, steps=2, batch=2, crop=64, varied=0.7)
    train_job(wanted, told.append)
    torch.set_num_threads(before)
    (epoch,) = (e for e in told if e["what"] == "epoch")
    scores = epoch["scores"]
    assert isinstance(scores, dict) and {"iou", "iou_home", "iou_away"} <= set(scores)
    assert scores["iou"] == pytest.approx((scores["iou_home"] + scores["iou_away"]) / 2)
    _, card = load_unet(str(listed.with_name("mine.safetensors")))
    told_of = card.training["volumes"]
    assert [(v["data"], v["train_slices"], v.get("tuning_slices"), v["share"]) for v in told_of] == [
        ("home", "0:20", "22:26", 3.0),
        ("away", "26:32", "0:4", 1.0),
        ("lender", "", None, 0),
    ]
    assert card.training["varied"] == 0.7


def test_a_sam_learns_from_all_of_them_and_is_scored_on_each(
    listed: Path, annotated: Annotated, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    tiny = SamConfig(image_size=64, width=32, depth=1, heads=2, embedding=32, decoder_mlp=32)
    monkeypatch.setitem(SAM_PRESETS, "small", tiny)
    told: list[dict[str, Any]] = []
    train_job(settings(listed, model="sam", steps=1, batch=2, varied=0.7), told.append)
    (epoch,) = (e["scores"] for e in told if e["what"] == "epoch")
    assert list(epoch)[:3] == ["score", "box_iou", "point_iou"] and {"score_home", "score_away"} <= set(epoch)
    assert epoch["score"] == pytest.approx((epoch["score_home"] + epoch["score_away"]) / 2)

    task = SamTask(Sam(tiny), [annotated], [], batch=4, varied=1.0)
    plain = SamTask(Sam(tiny), [annotated], [], batch=4)
    assert [w[0].tobytes() for w in task.windows.of(0) if w] != [w[0].tobytes() for w in plain.windows.of(0) if w]
    assert not task.score(task.model)


def test_a_checkpoint_goes_on_only_with_the_same_volumes(listed: Path) -> None:
    token = settings(listed).token("data")
    listed.write_text(LIST.replace("share: 3", "share: 2"))
    assert settings(listed).token("data") != token
    moved = LIST.replace("image: stack.tif", "image: elsewhere/stack.tif")
    listed.write_text(moved)
    assert settings(listed).token("data") == token, "where the files lie does not matter"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("image: stack.tif", "must hold a list, one entry a volume"),
        ("[]", "must hold a list"),
        ("- {image: a.tif", "cannot be read as a list of volumes"),
        ("- {truth: a.tif}", "volume 1: image: field required"),
        ("- {image: a.tif}", "has a truth to learn from"),
        (
            "- {image: a.tif, truth: b.tif}\n- {image: a.tif, truth: b.tif, shares: 3}",
            "volume 2: shares: extra inputs are not permitted",
        ),
        ("- {image: a.tif, truth: b.tif, share: 0}", "volume 1: share: input should be greater than 0"),
        ("- {image: a.tif, truth: b.tif, slices: [0, 9], tune: [8, 12]}", "volume 1: --slices 0:9 and --tune 8:12 overlap"),
        ("- {image: a.tif, tune: [8, 12]}", "has tuning slices, but no truth"),
        ("- {name: x, image: a.tif, truth: b.tif}\n- {name: x, image: c.tif}", "two volumes of"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "volumes.yaml"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_volume_list(str(path))
    assert problem in str(caught.value) and "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_volumes_are_left_out_by_name(listed: Path) -> None:
    whole = read_volume_list(str(listed))
    assert left_out(whole, (), "list") == whole
    assert [v.name for v in left_out(whole, ("away",), "list")] == ["home", "lender"]
    with pytest.raises(InputError, match="--without far: list lists no volume of that name, but home, away, lender"):
        left_out(whole, ("home", "far"), "list")
    with pytest.raises(InputError, match="leaves no volume of list with a truth"):
        left_out(whole, ("home", "away"), "list")


def test_the_volumes_of_shipped_weights_are_as_their_licences_allow() -> None:
    listed = read_volume_list(str(Path(__file__).parents[2] / "benchmarks" / "training_volumes.yaml"))
    assert {v.name for v in listed} == {"epfl", "mitoem_r", "cardiac", "fib25_1", "fib25_2"}, "never vnc, never hela"
    home = listed[0]
    assert home.slices == (0, 104) and home.tune == (108, 124), "132:165 are for figures"


def test_a_border_without_a_mitochondrion_inside_is_refused(listed: Path) -> None:
    listed.write_text(LIST.replace("border: 12", "border: 48"))
    with pytest.raises(InputError, match="within its border of 48 pixels"):
        read_volumes(settings(listed))
