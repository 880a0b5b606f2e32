"""Wrong models and clusters: told before anything is made, not after hours of earlier stages."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Call, Finished, Stack, check_refused, cut

from mitoscale.nets.named_weights import FOLDER as WEIGHTS


def text_as_weights(folder: Path) -> list[str]:
    (folder / "w.safetensors").write_text("no weights at all")
    return ["--detector", str(folder / "w.safetensors")]


def cut_weights(folder: Path) -> list[str]:
    shutil.copy(WEIGHTS / "unet-small.safetensors", folder / "cut.safetensors")
    return ["--detector", str(cut(folder / "cut.safetensors", 0.5))]


def cut_sam_weights(folder: Path) -> list[str]:
    shutil.copy(WEIGHTS / "sam-small.safetensors", folder / "cut.safetensors")
    return ["--sam", str(cut(folder / "cut.safetensors", 0.5))]


def broken_checkpoint(folder: Path) -> list[str]:
    (folder / "sam_vit_b.pth").write_bytes(b"PK\x03\x04" + b"\0" * 1000)
    return ["--sam", str(folder / "sam_vit_b.pth")]


def unet_named_sam(folder: Path) -> list[str]:
    return ["--sam", "unet-small"]


def sam_named_detector(folder: Path) -> list[str]:
    return ["--detector", "sam-small"]


def unknown_weights(folder: Path) -> list[str]:
    return ["--detector", "unet-gigantic"]


def unknown_sam(folder: Path) -> list[str]:
    return ["--sam", "vit_x"]


def unknown_segmenter(folder: Path) -> list[str]:
    return ["--segmenter", "magic"]


def missing_factory(folder: Path) -> list[str]:
    return ["--detector", "no_such_module:factory"]


def useless_factory(folder: Path) -> list[str]:
    return ["--detector", "known_truth:neither"]


def missing_function(folder: Path) -> list[str]:
    return ["--segmenter", "known_truth:nothing"]


def options_for_a_network(folder: Path) -> list[str]:
    return ["--detector-option", "speed=9"]


def options_for_sam(folder: Path) -> list[str]:
    return ["--segmenter-option", "speed=9"]


def tiny_sam_pixel(folder: Path) -> list[str]:
    return ["--sam-pixel", "0.001"]


def tiny_detector_pixel(folder: Path) -> list[str]:
    return ["--detector-pixel", "0.001"]


def sam_as_detector(folder: Path) -> list[str]:
    return ["--detector", "vit_b_em_organelles"]


def detector_as_sam(folder: Path) -> list[str]:
    return ["--sam", "mitonet"]


def folder_without_model(folder: Path) -> list[str]:
    return ["--detector", f"bioimageio:{folder}"]


def text_as_torchscript(folder: Path) -> list[str]:
    (folder / "net.pth").write_text("no script")
    return ["--detector", str(folder / "net.pth")]


def missing_cluster_file(folder: Path) -> list[str]:
    return ["--cluster", str(folder / "nowhere.yaml")]


def wrong_cluster_file(folder: Path) -> list[str]:
    (folder / "cluster.yaml").write_text("kind: local\nworkers: many\n")
    return ["--cluster", str(folder / "cluster.yaml")]


MODELS: dict[Callable[[Path], list[str]], str] = {
    unknown_weights: "embedded are",
    unknown_sam: "embedded are",
    text_as_weights: "w.safetensors",
    cut_weights: "cut.safetensors",
    cut_sam_weights: "cut.safetensors",
    broken_checkpoint: "sam_vit_b.pth",
    unet_named_sam: "a sam is wanted",
    sam_named_detector: "a unet is wanted",
    unknown_segmenter: "magic",
    missing_factory: "no_such_module",
    missing_function: "no function nothing",
    options_for_a_network: "takes no options",
    options_for_sam: "takes no options",
    tiny_sam_pixel: "--sam-pixel 0.001 nm is not between",
    tiny_detector_pixel: "--detector-pixel 0.001 nm is not between",
    sam_as_detector: "are for --sam, not for --detector",
    detector_as_sam: "are for --detector, not for --sam",
    folder_without_model: "it has no rdf.yaml and no bioimageio.yaml",
    text_as_torchscript: "net.pth is damaged, or no TorchScript",
    useless_factory: "no method foreground",
    missing_cluster_file: "nowhere.yaml",
    wrong_cluster_file: "cluster.yaml",
}


@pytest.mark.parametrize("make", MODELS, ids=lambda m: m.__name__)
def test_wrong_model_or_cluster(make: Callable[[Path], list[str]], mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    """Found out before anything is made, not after hours of earlier stages."""
    options = make(tmp_path)
    check_refused(mitoscale, tmp_path, ["run", stack.image, str(tmp_path / "run"), *options], MODELS[make])


def test_wrong_weights_do_not_change_a_finished_run(mitoscale: Call, stack: Stack, finished: Finished) -> None:
    arguments = ["run", stack.image, finished.run, *stack.exact(), "--detector", "sam-small", "--redo", "detect"]
    check_refused(mitoscale, Path(finished.run), arguments, "a unet is wanted")
