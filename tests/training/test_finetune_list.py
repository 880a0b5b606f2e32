"""Fine-tuning on a list of volumes: each at SAM's pixel size, with its share, its own scores and its own embeddings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import this_process
from hypothesis import given
from hypothesis import strategies as st

from mitoscale.cli import main
from mitoscale.cli.volume_options import with_volumes
from mitoscale.core.source_choices import Reading
from mitoscale.core.training_settings import FinetuneSettings, ListedVolume
from mitoscale.nets.checkpoint import WeightsCard, load_sam, save_weights
from mitoscale.nets.sam import Sam, SamConfig
from mitoscale.nets.sam_segmenter import SamSegmenter
from mitoscale.storage.tiff_writing import write_tiff
from mitoscale.training.annotated import read_grey
from mitoscale.training.embeddings import encoder_digest, window_key
from mitoscale.training.finetune_windows import Windowed, cut_windows
from mitoscale.training.job import finetune_job
from mitoscale.training.patches import profiles_of
from mitoscale.training.samples import UNLABELLED, Annotated
from mitoscale.training.volume_list import read_unseen, read_volume_list, read_volumes
from mitoscale.training.window_set import balanced, shared_out

CONFIG = SamConfig(image_size=64, width=32, depth=1, heads=2, embedding=32, decoder_mlp=32)

LIST = """
- {name: home, image: stack.tif, truth: truth.tif, slices: [0, 4], tune: [24, 26], test: [30, 32], share: 3}
- {name: fine, image: fine.tif, truth: fine_truth.tif, slices: [12, 14], tune: [14, 16]}
- {name: sparse, image: stack.tif, truth: sparse.tif, slices: [8, 12], unlabelled: 65535}
- {name: crumbs, image: stack.tif, truth: crumbs.tif, slices: [0, 2]}
- {name: lender, image: stack.tif, voxel_size: [10, 10, 10]}
"""


@pytest.fixture(scope="module")
def listed(annotated: Annotated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Volumes of 10 nm and of 5 nm (every pixel four times), sparse labels, crumbs, and a tiny SAM."""
    folder = tmp_path_factory.mktemp("volumes")
    truth = annotated.labels.astype(np.uint16)
    write_tiff(str(folder / "stack.tif"), annotated.image, annotated.spacing)
    write_tiff(str(folder / "truth.tif"), truth, annotated.spacing)
    for name, values in (("fine", annotated.image), ("fine_truth", truth)):
        write_tiff(str(folder / f"{name}.tif"), values.repeat(2, axis=1).repeat(2, axis=2), (10.0, 5.0, 5.0))
    sparse = np.full_like(truth, 65535)
    sparse[8:12, :, :48] = truth[8:12, :, :48]
    write_tiff(str(folder / "sparse.tif"), sparse, annotated.spacing)
    crumbs = np.zeros_like(truth)
    crumbs[0, 2:9, 2:9] = 1
    write_tiff(str(folder / "crumbs.tif"), crumbs, annotated.spacing)
    (folder / "volumes.yaml").write_text(LIST)
    torch.manual_seed(0)
    for name, pixel in (("tiny", 10.0), ("untold", None)):
        card = WeightsCard(architecture="sam", config=CONFIG.model_dump(), pixel_nm=pixel, training={"data": "nothing"})
        save_weights(folder / f"{name}.safetensors", Sam(CONFIG), card, exact=True)
    return folder / "volumes.yaml"


def settings(listed: Path, out: Path, **changes: Any) -> FinetuneSettings:
    fields: dict[str, Any] = {
        "volume": str(listed),
        "truth": "",
        "volumes": read_volume_list(str(listed)),
        "out": str(out / "tuned.safetensors"),
        "sam": str(listed.with_name("tiny.safetensors")),
        "cache": str(out / "cache"),
        "cache_bytes": 10**9,
        "epochs": 1,
        "versions": 2,
        "prompts": 2,
        "threads": 1,
        "accept_any": True,
    }
    return FinetuneSettings(**fields | changes)


@pytest.fixture(scope="module")
def windowed(listed: Path, tmp_path_factory: pytest.TempPathFactory) -> Windowed:
    wanted = settings(listed, tmp_path_factory.mktemp("out"))
    return cut_windows(wanted, load_sam(wanted.sam)[0], 10.0, read_volumes(wanted), 2)


def test_each_volume_has_its_share_of_an_epoch(windowed: Windowed) -> None:
    cut = {volume.name: volume for volume in windowed.volumes}
    assert list(cut) == ["home", "fine", "sparse", "crumbs"], "what has no truth is not cut"
    assert cut["home"].patches == 4 * 4 and cut["fine"].patches == 2 * 4
    assert cut["crumbs"].holding == 1 and cut["crumbs"].asked == cut["crumbs"].seen == 0, "49 pixels are too few to ask for"
    whole = sum(volume.asked for volume in cut.values())
    assert len(windowed.versions[0]) == len(windowed.versions[1]) == whole
    assert [cut[name].seen for name in ("home", "fine", "sparse")] == shared_out(whole, [3, 1, 1])
    assert set(windowed.held) == {"tune home", "tune fine", "test home"}


def test_each_volume_is_brought_to_sams_pixels_as_the_segmenter_does(
    windowed: Windowed, listed: Path, annotated: Annotated
) -> None:
    fine = windowed.tuning["fine"]
    image, spacing = read_grey(str(listed.with_name("fine.tif")), None)
    segmenter = SamSegmenter(load_sam(str(listed.with_name("tiny.safetensors")))[0], pixel_nm=10.0, spacing=spacing)
    assert spacing == (10.0, 5.0, 5.0) and len(fine) == 8, "two slices, four windows each"
    for i in range(8):
        z, y, x = 14 + i // 4, i // 2 % 2 * 32, i % 2 * 32
        seen = np.rint(segmenter._to_network(image[z], (0, 0)))[y : y + 64, x : x + 64]
        assert np.abs(fine.image(i) - seen).max() <= 1, "but for rounding"
        assert (fine.profiles(i) == profiles_of(annotated.labels[z, y : y + 64, x : x + 64])).all()


def test_every_embedding_is_named_by_its_own_picture(windowed: Windowed, listed: Path) -> None:
    """Also where several volumes share a cache, and a window comes more than once."""
    encoder = encoder_digest(load_sam(str(listed.with_name("tiny.safetensors")))[0])
    for one in windowed.sets:
        for i in range(len(one)):
            assert one.keys[i] == window_key(encoder, one.image(i))
            made = one.windows[one.numbers[i]]
            assert (made.profiles == one.profiles(i)).all()


def test_sparse_truth_stays_sparse(windowed: Windowed) -> None:
    plain, crops = windowed.versions
    for one in (plain, crops):
        sparse = [i for i in range(len(one)) if (one.profiles(i) == UNLABELLED).any()]
        assert sparse and len(sparse) < len(one)
    assert all((plain.profiles(i)[:, 48:] == UNLABELLED).all() for i in range(len(plain)) if (plain.profiles(i) < 0).mean() == 0.25)


@given(st.integers(1, 500), st.lists(st.floats(0.1, 10), min_size=1, max_size=8))
def test_what_is_shared_out_adds_up(total: int, shares: list[float]) -> None:
    counts = shared_out(total, shares)
    assert sum(counts) == total
    assert all(abs(count - total * share / sum(shares)) <= 1 for count, share in zip(counts, shares, strict=True))


def test_windows_of_a_small_volume_come_again_and_of_a_large_one_evenly(windowed: Windowed) -> None:
    large, small = windowed.versions[1], windowed.tuning["home"]
    assert len(large) > len(small)
    both = balanced([large, small], [1.0, 3.0])
    assert len(both) == len(large) + len(small)
    seen = Counter(both.keys)
    counts = [seen[key] for key in dict.fromkeys(small.keys)]
    assert min(counts) >= 1 and max(counts) - min(counts) <= 1 and sum(counts) == round(0.75 * len(both))
    chosen = [large.keys.index(key) for key in both.keys if key in set(large.keys)]
    assert chosen == sorted(chosen) and np.ptp(np.diff(chosen)) <= 1


def test_varied_and_drawn_windows_are_named_by_their_own_pictures(
    windowed: Windowed, listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changes a window changes its embedding's name; the plain windows stay as they are."""
    drawn = Annotated(
        image=np.full((1, 96, 96), 7, np.uint8), labels=np.full((1, 96, 96), 5, np.int32), spacing=(10.0, 10.0, 10.0), share=0.5
    )
    monkeypatch.setattr("mitoscale.training.drawn.training_phantoms", lambda *_: [drawn])
    wanted = settings(listed, tmp_path, varied=1.0, phantoms=1, phantom_share=0.5)
    model = load_sam(wanted.sam)[0]
    changed = cut_windows(wanted, model, 10.0, read_volumes(wanted), 2)
    plain, crops = changed.versions
    assert plain.keys == windowed.versions[0].keys and not set(crops.keys) & {key for one in windowed.sets for key in one.keys}
    assert all(key == window_key(encoder_digest(model), crops.image(i)) for i, key in enumerate(crops.keys))
    phantoms = sum(bool((crops.profiles(i) == 1).all()) for i in range(len(crops)))
    assert 0.2 * len(crops) < phantoms < 0.8 * len(crops) and not any((plain.profiles(i) == 1).all() for i in range(len(plain)))


def test_what_is_left_out_is_scored(listed: Path) -> None:
    fields = {"volume": str(listed), "truth": None, "reading": Reading(), "without": ("fine", "lender")}
    found = with_volumes(dict(fields), scored=True)
    assert [v.name for v in found["volumes"]] == ["home", "sparse", "crumbs"] and [v.name for v in found["unseen"]] == [
        "fine",
        "lender",
    ]
    assert "unseen" not in with_volumes(dict(fields)), "train does not score it"
    left, reasons = read_unseen(found["unseen"])
    assert [(v.name, v.image.shape) for v in left] == [("fine", (2, 192, 192))] and reasons == []


def test_a_decoder_learns_from_all_of_them(listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    encoded: list[int] = []
    encode = Sam.encode

    def counted(self: Sam, images: torch.Tensor) -> torch.Tensor:
        encoded.append(len(images))
        return encode(self, images)

    monkeypatch.setattr(Sam, "encode", counted)
    told: list[dict[str, Any]] = []
    left = [
        ListedVolume(
            name="other", image=str(listed.with_name("stack.tif")), truth=str(listed.with_name("truth.tif")), slices=(18, 20)
        ),
        ListedVolume(name="gone", image="/no/where.tif", truth="/no/where.tif"),
    ]
    finetune_job(settings(listed, tmp_path, versions=1, unseen=tuple(left)), told.append)
    notes = [event["text"] for event in told if event["what"] == "note"]
    assert any(n.startswith("patches    fine: 8 of 64 x 64 at 10 nm: ") and n.endswith(" in each epoch") for n in notes)
    assert any(n.startswith("patches    crumbs: ") and n.endswith("0 in each epoch: it only lends its grey values") for n in notes)
    last = [event for event in told if event["what"] == "embedded"][-1]
    assert sum(encoded) == last["done"] == last["total"] == len(list((tmp_path / "cache").rglob("*.npy"))), "each window once"
    (epoch,) = (event["scores"] for event in told if event["what"] == "epoch")
    assert epoch["score"] == pytest.approx((epoch["score_home"] + epoch["score_fine"]) / 2)
    assert told[-1]["slices"] == {
        "tune home": "24:26",
        "test home": "30:32",
        "tune fine": "14:16",
        "unseen other": "18:20",
        "unseen gone": "",
    }
    assert "note       gone is left out and cannot be scored either: no such file or folder: /no/where.tif" in notes
    scores = told[-1]["scores"]
    (before,) = (note for note in notes if note.startswith("before     score "))
    base = {name: sum(both["base"][f"{kind}_iou"] for kind in ("point", "box")) / 2 for name, both in scores.items()}
    mean = (base["tune home"] + base["tune fine"]) / 2
    assert before.startswith(f"before     score {mean:.4f}; tune home {base['tune home']:.4f}") and "unseen other" in before
    assert set(scores) == set(told[-1]["slices"]) - {"unseen gone"} and set(scores["unseen other"]) == {"base", "tuned"}
    assert epoch["score_fine"] == pytest.approx(sum(scores["tune fine"]["tuned"][f"{kind}_iou"] for kind in ("point", "box")) / 2)
    record = load_sam(str(tmp_path / "tuned.safetensors"))[1]
    assert record.pixel_nm == 10.0 and record.training["versions"] == 1 and record.training["volumes"][0]["every"] == 1
    assert [(v["data"], v["train_slices"], v.get("test_slices")) for v in record.training["volumes"]] == [
        ("home", "0:4", "30:32"),
        ("fine", "12:14", None),
        ("sparse", "8:12", None),
        ("crumbs", "0:2", None),
        ("lender", "", None),
    ]


@pytest.mark.parametrize(
    ("content", "options", "problem"),
    [
        (LIST, ["--without", "far"], "lists no volume of that name, but home, fine, sparse, crumbs, lender"),
        (LIST, ["--without", "home", "--without", "fine", "--without", "sparse"], "none of the 8 patches holds a mitochondrion"),
        (LIST, ["--slices", "0:3"], "slices is told for each volume by"),
        (LIST, ["--every", "2"], "every is told for each volume by"),
        (
            LIST,
            ["--varied", "0.5", "--versions", "1"],
            "--varied 0.5 is for the augmented versions of the windows, but --versions 1",
        ),
        (
            LIST,
            ["--varied", "0.5", "--cache-size", "0.0001"],
            "--varied 0.5 is for augmented windows, whose embeddings the cache has no",
        ),
        (LIST, ["--test", "0:3"], "test is told for each volume by"),
        (LIST, ["--channel", "1"], "channel is told for each volume by"),
        (LIST, ["--preset", "report"], "--preset report learns from one volume"),
        (LIST, ["--sam", "untold"], "untold.safetensors does not tell its pixel size, and the volumes of"),
        (LIST, ["--sam-pixel", "400"], "--sam-pixel 400 nm is not between"),
        (LIST.replace("fine.tif", "gone.tif"), [], "gone.tif"),
        (
            LIST.replace("sparse.tif, slices: [8, 12], unlabelled: 65535", "nothing.tif"),
            [],
            "nothing.tif is empty: it holds no mitochondrion",
        ),
        (LIST.replace("slices: [0, 2]}", "slices: [1, 2], tune: [0, 1]}"), [], "slices 1:2 holds no mitochondrion"),
        (LIST.replace("[0, 2]}\n- {name: l", "[0, 1], tune: [0, 1]}\n- {name: l"), [], "--slices 0:1 and --tune 0:1 overlap"),
        (LIST.replace("voxel_size: [10", "test: [0, 1], voxel_size: [10"), [], "has test slices, but no truth to score them by"),
        ("image: stack.tif", [], "must hold a list, one entry a volume"),
    ],
)
def test_a_wrong_list_is_refused(
    listed: Path,
    annotated: Annotated,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str,
    options: list[str],
    problem: str,
) -> None:
    monkeypatch.setattr("mitoscale.cli.learning.start", this_process)
    nothing = listed.with_name("nothing.tif")
    if not nothing.exists():
        write_tiff(str(nothing), np.zeros(annotated.labels.shape, np.uint16), annotated.spacing)
    wrong = listed.with_name("wrong.yaml")
    wrong.write_text(content)
    options = [str(listed.with_name("untold.safetensors")) if option == "untold" else option for option in options]
    sam = [] if "--sam" in options else ["--sam", str(listed.with_name("tiny.safetensors"))]
    places = ["--out", str(tmp_path / "o.safetensors"), "--cache", str(tmp_path / "cache"), "--threads", "1"]
    with pytest.raises(SystemExit) as stop:
        main(["finetune", str(wrong), *sam, *places, *options])
    message = capsys.readouterr().err
    assert stop.value.code == 1 and problem in message and message.count("\n") == 1 and message.startswith("mitoscale: ")
    assert not list(tmp_path.iterdir())
