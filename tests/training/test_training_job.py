"""The jobs from files to weights that the pipeline loads, and what they refuse."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from mitoscale.core.errors import InputError, NoGainError
from mitoscale.core.geometry import Region
from mitoscale.core.settings import DetectSettings, SegmentSettings
from mitoscale.core.training_settings import FinetuneSettings, TrainSettings
from mitoscale.nets.checkpoint import WeightsCard, load_sam, load_unet, save_weights
from mitoscale.nets.factories import make_detector, make_segmenter
from mitoscale.nets.sam import Sam, SamConfig
from mitoscale.nets.unet import PRESETS, UNet, UNetConfig
from mitoscale.ops.phantom import make_phantom
from mitoscale.storage.exclusive import exclusively
from mitoscale.storage.tiff_writing import write_tiff
from mitoscale.training import job as training_job
from mitoscale.training.annotated import AnnotatedVolume, read_annotated
from mitoscale.training.job import finetune_job, train_job
from mitoscale.training.origin_report_unet import ReportTask
from mitoscale.training.sam_decoder import Decoder, DecoderTask

SPACING = (10.0, 10.0, 10.0)
CONFIG = SamConfig(image_size=64, width=32, depth=1, heads=2, embedding=32, decoder_mlp=32)

Events = list[dict[str, Any]]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """With one thread sums are always the same."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom, its truth, and a tiny SAM with random weights."""
    folder = tmp_path_factory.mktemp("learning")
    found = make_phantom((32, 96, 96), objects=6, seed=3)
    write_tiff(str(folder / "stack.tif"), found.image, SPACING)
    write_tiff(str(folder / "truth.tif"), found.labels.astype(np.uint16), SPACING)
    torch.manual_seed(0)
    card = WeightsCard(architecture="sam", config=CONFIG.model_dump(), pixel_nm=10.0, training={"data": "nothing"})
    model = Sam(CONFIG)
    with torch.no_grad():  # values that float16 would round
        model.image_encoder.pos_embed.add_(torch.randn_like(model.image_encoder.pos_embed) / 3)
    save_weights(folder / "tiny.safetensors", model, card, exact=True)
    return folder


def finetuning(files: Path, out: Path, name: str = "tuned.safetensors", **changes: Any) -> FinetuneSettings:
    fields: dict[str, Any] = {
        "volume": str(files / "stack.tif"),
        "truth": str(files / "truth.tif"),
        "out": str(out / name),
        "sam": str(files / "tiny.safetensors"),
        "slices": (0, 6),
        "tune": (26, 28),
        "test": (30, 32),
        "cache": str(out / "cache"),
        "cache_bytes": 10**9,
        "epochs": 2,
        "versions": 2,
        "prompts": 2,
        "threads": 1,
        "accept_any": True,
    }
    return FinetuneSettings(**fields | changes)


def test_a_decoder_is_tuned_killed_resumed_and_used(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    told: Events = []
    finetune_job(finetuning(files, tmp_path), told.append)
    notes = [e["text"] for e in told if e["what"] == "note"]
    patches = [e for e in notes if e.startswith("patches    24 of 64 x 64 at 10 nm: ")]
    assert len(patches) == 1 and any(" GB in" in n and "; 0 are there already" in n for n in notes)
    embedded = [e for e in told if e["what"] == "embedded"]
    assert embedded[0]["done"] == 0 and embedded[-1]["done"] == embedded[-1]["total"]
    assert any(n.startswith("truth      ") and " instances in " in n for n in notes)
    (end,) = (e for e in told if e["what"] == "scores")
    assert end is told[-1] and end["slices"] == {"tune": "26:28", "test": "30:32"} and "box" in end["prompts"]
    scores = end["scores"]
    assert set(scores) == {"tune", "test"} and set(scores["test"]) == {"base", "tuned"}
    base, _ = load_sam(str(files / "tiny.safetensors"))
    tuned, card = load_sam(str(tmp_path / "tuned.safetensors"))
    for name, value in base.state_dict().items():
        assert torch.equal(value, tuned.state_dict()[name]) or name.startswith("mask_decoder."), name
    assert not torch.equal(base.mask_decoder.iou_token.weight, tuned.mask_decoder.iou_token.weight)
    training = card.training
    assert card.pixel_nm == 10.0 and training["scores"] == scores and training["base"]["data"] == "nothing"
    assert len(training["base"]["sha256"]) == len(training["data_sha256"]) == 64 and training["software"]["torch"]
    assert (training["train_slices"], training["tuning_slices"], training["test_slices"]) == ("0:6", "26:28", "30:32")
    assert make_segmenter(SegmentSettings(sam=str(tmp_path / "tuned.safetensors")), SPACING) is not None

    # Killed after the first epoch and begun again, it makes the same bytes, and encodes nothing that it had encoded.
    monkeypatch.setattr(Sam, "encode", lambda *_: pytest.fail("embeddings are in the cache"))
    again = finetuning(files, tmp_path, "again.safetensors")

    def kill(event: dict[str, Any]) -> None:
        if event["what"] == "epoch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune_job(again, kill)
    steps: Events = []
    finetune_job(again, steps.append)
    assert len([e for e in steps if e["what"] == "epoch"]) == 1
    resumed, _ = load_sam(str(tmp_path / "again.safetensors"))
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in tuned.state_dict().items())
    assert not list(tmp_path.glob("*.checkpoint"))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"cache_bytes": 1000}, "the cache's limit is 1e-06 GB: raise --cache-size"),
        ({"slices": (28, 99), "test": None}, "slices 28:99 leave the volume"),
        ({"sam_pixel_nm": 300.0}, "none of the 6 patches holds a mitochondrion of at least 150 pixels at 300 nm"),
        ({"sam_pixel_nm": 0.001}, "--sam-pixel 0.001 nm is not between 1.25 and 320 nm, 1/8 and 32 times the volume's pixels"),
        ({"sam_pixel_nm": 1e9}, "--sam-pixel 1e+09 nm is not between 1.25 and 320 nm"),
        ({"sam": "unet-small"}, "are of a unet, but a sam is wanted here"),
    ],
)
def test_what_cannot_be_tuned_is_refused(files: Path, tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        finetune_job(finetuning(files, tmp_path, **changes), lambda event: None)
    assert problem in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_no_better_are_not_written(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DecoderTask, "loss", lambda self, step: self.model.mask_decoder.iou_token.weight.sum() * 0)
    refused = finetuning(files, tmp_path, accept_any=False, epochs=1, versions=1, learning_rate=1e-12)
    told: Events = []
    with pytest.raises(NoGainError, match=r"no better on the tuning slices \(mean IoU 0\.\d+ before, 0\.\d+ after\)") as caught:
        finetune_job(refused, told.append)
    assert not (tmp_path / "tuned.safetensors").exists()
    assert told[-1]["what"] == "scores" and set(told[-1]["scores"]["test"]) == {"base", "tuned"}, "seen before it is refused"
    carried = pickle.loads(pickle.dumps(caught.value))
    assert str(carried) == str(caught.value) and str(tmp_path / "tuned.checkpoint") in str(carried), "the cluster brings it here"
    told.clear()
    finetune_job(refused.model_copy(update={"accept_any": True}), told.append)
    assert (tmp_path / "tuned.safetensors").exists()
    assert not [e for e in told if e["what"] == "epoch"], "it was trained already"
    assert any("goes on from step" in e.get("text", "") for e in told)


def test_a_loss_that_is_not_finite_is_named_where_nothing_was_gained_before(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(self: DecoderTask, step: int) -> torch.Tensor:
        assert isinstance(self.model, Decoder)
        return self.model.mask_decoder.iou_token.weight.sum() * (float("nan") if step >= self.epoch_steps else 0.0)

    monkeypatch.setattr(DecoderTask, "loss", loss)
    useless = finetuning(files, tmp_path, accept_any=False, versions=1, learning_rate=1e-12)
    with pytest.raises(
        InputError, match=r"the loss became nan at step \d+ .* no better on the tuning slices .* lower --learning-rate"
    ):
        finetune_job(useless, lambda event: None)
    assert not (tmp_path / "tuned.safetensors").exists() and (tmp_path / "tuned.checkpoint").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((0, 1, 2, 3), "3 instances in 3 separate pieces"),
        ((0, 1, 1, 1), "a mask of 3 separate pieces"),
    ],
)
def test_what_the_truth_is_taken_for_is_said(tmp_path: Path, values: tuple[int, ...], said: str) -> None:
    assert read_three(tmp_path, np.array(values, np.uint8)[THREE]).truth_told == said


def test_grey_truth_that_may_be_instances_is_doubted(tmp_path: Path) -> None:
    """A mask that was stored with loss has a few values more, each in many pieces."""
    spoilt = np.array((0, 200, 200, 200), np.uint8)[THREE]
    spoilt[:, ::2, ::2] += 1
    assert read_three(tmp_path, spoilt).truth_told.endswith(": if its values are grey values or classes, give --truth-threshold")


THREE = np.zeros((3, 16, 16), np.intp)
THREE[:, 1:4, 1:9], THREE[:, 6:9, 1:9], THREE[:, 11:15, 1:9] = 1, 2, 3


def read_three(folder: Path, truth: np.ndarray) -> AnnotatedVolume:
    image = np.random.default_rng(0).integers(0, 255, truth.shape).astype(np.uint8)
    write_tiff(str(folder / "image.tif"), image, SPACING)
    write_tiff(str(folder / "labels.tif"), truth, SPACING)
    return read_annotated(str(folder / "image.tif"), str(folder / "labels.tif"), None)


def training(files: Path, out: Path, **changes: Any) -> TrainSettings:
    fields: dict[str, Any] = {
        "volume": str(files / "stack.tif"),
        "truth": str(files / "truth.tif"),
        "out": str(out / "mine.safetensors"),
        "slices": (0, 6),
        "tune": (26, 30),
        "phantoms": 0,
        "threads": 1,
    }
    return TrainSettings(**fields | changes)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The presets with few channels: the same code, much faster."""
    monkeypatch.setitem(PRESETS, "small", UNetConfig(widths=(4, 8)))
    monkeypatch.setitem(PRESETS, "report", UNetConfig(widths=(4, 8), context_nm=(0.0,), normalise=False))


def test_the_first_reports_recipe(files: Path, tmp_path: Path, narrow: None, one_thread: None) -> None:
    told: Events = []
    result = train_job(training(files, tmp_path, preset="report", batch=4), told.append)
    epochs = [e for e in told if e["what"] == "epoch"]
    assert len(epochs) == len(result["history"]) == 20 and epochs[-1]["step"] == 40, "20 epochs of 6 slices, 4 a step"
    assert {e["rate"] for e in epochs} == {1e-3}
    assert epochs[-1]["loss"] < epochs[0]["loss"] and set(epochs[0]["scores"]) == {"accuracy", "iou", "val_loss"}
    (layers,) = (e for e in told if e["what"] == "layers")
    model, card = load_unet(str(tmp_path / "mine.safetensors"))
    assert layers["input"] == [1, 128, 128] and layers["rows"][0][1] == "4 x 128 x 128"
    assert sum(row[2] for row in layers["rows"]) == sum(p.numel() for p in model.parameters())
    assert card.pixel_nm == (7.5, 7.5), "96 pixels of 10 nm became 128"
    detector = make_detector(DetectSettings(detector=str(tmp_path / "mine.safetensors")), SPACING)
    image = np.zeros((2, 96, 96), np.uint8)
    assert detector.foreground(image, Region.of_shape(image.shape)).shape == image.shape


def test_slices_that_are_not_square_keep_their_two_pixel_sizes(files: Path, tmp_path: Path, narrow: None, one_thread: None) -> None:
    for name in ("stack", "truth"):
        write_tiff(str(tmp_path / f"{name}.tif"), tifffile.imread(files / f"{name}.tif")[:, :64], SPACING)
    train_job(training(tmp_path, tmp_path, preset="report", steps=1), lambda event: None)
    _, card = load_unet(str(tmp_path / "mine.safetensors"))
    assert card.pixel_nm == (5.0, 7.5)


def test_a_loss_that_is_not_finite_keeps_the_best_weights_and_says_where(
    files: Path, tmp_path: Path, narrow: None, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    loss = ReportTask.loss
    monkeypatch.setattr(ReportTask, "loss", lambda self, step: loss(self, step) * (float("nan") if step >= 5 else 1.0))
    with pytest.raises(InputError) as caught:
        train_job(training(files, tmp_path, preset="report", batch=4), lambda event: None)
    message = str(caught.value)
    assert "the loss became nan at step 5 of 40" in message and "\n" not in message
    assert "mine.safetensors" in message and "--learning-rate" in message
    _, card = load_unet(str(tmp_path / "mine.safetensors"))
    assert card.training["steps"] == 4 and "nan at step 5" in card.training["stopped"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), "out of GPU memory with --batch 4"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory with --batch 4"),
    ],
)
def test_too_little_memory_says_what_to_lower(
    files: Path, tmp_path: Path, narrow: None, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def forward(self: UNet, image: torch.Tensor) -> torch.Tensor:
        if self.training:
            raise error
        return image[:, :1]

    monkeypatch.setattr(UNet, "forward", forward)
    monkeypatch.setattr(training_job, "summary", lambda *_: [])
    with pytest.raises(InputError, match=said) as caught:
        train_job(training(files, tmp_path, preset="report", batch=4), lambda event: None)
    assert "lower --batch" in str(caught.value)


def test_truth_of_another_voxel_size_is_refused(files: Path, tmp_path: Path, narrow: None) -> None:
    write_tiff(str(tmp_path / "truth.tif"), tifffile.imread(files / "truth.tif"), (20.0, 10.0, 10.0))
    wrong = training(files, tmp_path, truth=str(tmp_path / "truth.tif"), preset="report", steps=1)
    with pytest.raises(InputError, match=r"has voxels of 20 x 10 x 10 nm, .* of 10 x 10 x 10 nm: they must be the same"):
        train_job(wrong, lambda event: None)
    assert not (tmp_path / "mine.safetensors").exists()
    train_job(wrong.model_copy(update={"voxel_size": SPACING}), lambda event: None)
    assert (tmp_path / "mine.safetensors").exists(), "--voxel-size decides"


def test_two_trainings_do_not_write_the_same_weights(files: Path, tmp_path: Path) -> None:
    settings = finetuning(files, tmp_path)
    writes = r"another training is writing .*tuned.safetensors; wait for it"
    with exclusively(tmp_path / "tuned.lock", "busy"), pytest.raises(InputError, match=writes):
        finetune_job(settings, lambda event: None)
    (tmp_path / "tuned.safetensors").write_bytes(b"finished meanwhile")
    with pytest.raises(InputError, match=r"tuned.safetensors exists already"):
        finetune_job(settings, lambda event: None)
    assert [path.name for path in tmp_path.iterdir()] == ["tuned.safetensors"]
