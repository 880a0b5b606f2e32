"""``mitoscale prompt``: what is asked is answered, drawn and told."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from commands import Call, Stack, check_refused, contents, largest_file
from PIL import Image

from mitoscale.evaluation.grey_volume import open_grey
from mitoscale.evaluation.prompt import ask_everything, ask_prompts
from mitoscale.storage.tiff_writing import write_tiff


def middle_of_one(stack: Stack) -> tuple[int, int, int]:
    """A pixel (z, y, x) inside the largest object of the phantom's middle slice."""
    plane = stack.phantom.labels[16]
    label = np.bincount(plane[plane > 0]).argmax()
    inside = np.argwhere(plane == label)
    y, x = inside[np.abs(inside - inside.mean(axis=0)).sum(axis=1).argmin()]
    return 16, int(y), int(x)


def test_a_point_and_a_box(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    z, y, x = middle_of_one(stack)
    out = tmp_path / "answer.png"
    box = f"{max(0, y - 20)},{max(0, x - 20)},{min(128, y + 20)},{min(128, x + 20)}"
    ended = mitoscale("prompt", stack.image, "--slice", str(z), "--point", f"{y},{x}", "--box", box, "--out", str(out))
    assert ended.code == 0, ended.err
    answers = re.findall(r"mask (\d+) +score (0\.\d+) +(\d+) pixels +([\d.]+) um", ended.out)
    assert [number for number, *_ in answers] == ["1", "2"]
    assert all(int(pixels) > 0 for _, _, pixels, _ in answers)
    assert np.ptp(np.asarray(Image.open(out).convert("RGB")).astype(int), axis=2).max() > 60  # something is coloured


def test_the_point_lies_in_its_mask_wherever_the_slice_is_cut(stack: Stack) -> None:
    z, y, x = middle_of_one(stack)
    answers = ask_prompts(open_grey(stack.image, None), z, [(y, x)], [], "sam-small")
    mask = answers.masks[0]
    first = answers.region.start
    assert mask.mask[y - first[1] - mask.y0, x - first[2] - mask.x0]


def test_everything(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    ended = mitoscale("prompt", stack.image, "--slice", "16", "--all", "--out", str(tmp_path / "all.png"))
    assert ended.code == 0, ended.err
    assert (tmp_path / "all.png").is_file()


def test_no_picture_is_overwritten(mitoscale: Call, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["prompt", stack.image, "--slice", "16", "--point", "64,64"]
    for name in ("prompt.png", "prompt-2.png", "prompt-3.png"):
        before = contents(tmp_path)
        ended = mitoscale(*arguments)
        assert ended.code == 0 and ended.out.splitlines()[-1] == f"picture    {name}"
        assert contents(tmp_path).items() - before.items() == {(name, contents(tmp_path)[name])}
    check_refused(mitoscale, tmp_path, [*arguments, "--out", "prompt.png"], "--out prompt.png exists already")


def test_a_full_disk_leaves_no_part_of_a_picture(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    with largest_file(1000):
        ended = mitoscale("prompt", stack.image, "--slice", "16", "--point", "64,64", "--out", str(tmp_path / "a.png"))
    assert ended.code == 4 and "mask 1" in ended.out
    assert f"cannot write {tmp_path / 'a.png'}: " in ended.err and len(ended.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ([], 2, "--point"),
        (["--all", "--point", "3,4"], 2, "or else --all"),
        (["--point", "3"], 2, "not Y,X"),
        (["--point", "128,4"], 1, "point 128,4 is not in the slice"),
        (["--box", "9,9,9,20"], 1, "box 9,9,9,20 is empty"),
        (["--point", "3,4", "--slice", "32"], 1, "slice 32 is not in the volume"),
        (["--point", "3,4", "--sam", "unet-small"], 1, "but a sam is wanted"),
        (["--point", "3,4", "--out", "answer.jpg"], 1, "must end in .png"),
    ],
)
def test_what_cannot_be_asked(mitoscale: Call, stack: Stack, tmp_path: Path, more: list[str], code: int, said: str) -> None:
    ended = mitoscale("prompt", stack.image, "--slice", "16", "--out", str(tmp_path / "no.png"), *more)
    assert ended.code == code and said in ended.err
    assert not list(tmp_path.iterdir())


def test_nothing_is_found_in_padding(mitoscale: Call, stack: Stack, tmp_path: Path) -> None:
    z, y, x = middle_of_one(stack)
    image = np.pad(stack.phantom.image, ((0, 0), (64, 0), (0, 96)))
    padded = str(tmp_path / "padded.tif")
    write_tiff(padded, image, open_grey(stack.image, None).spacing)
    grey = open_grey(padded, None)
    nothing = np.ones(image.shape[1:], bool)
    nothing[64:, :-96] = False
    box = (y + 40, max(0, x - 24), min(len(nothing), y + 88), x + 24)
    for answers in (ask_everything(grey, z, "sam-small"), ask_prompts(grey, z, [], [box], "sam-small")):
        where = answers.region.slices[1:]
        assert answers.labels.any() and not answers.labels[nothing[where]].any()
        assert np.array_equal(answers.image, grey.read(answers.region)[0]), "it is shown as it is"
    for prompt, said in (("--point", f"{y + 64},200"), ("--box", "3,3,40,40")):
        asked = ["prompt", padded, "--slice", str(z), prompt, said, "--out", str(tmp_path / "padding.png")]
        check_refused(mitoscale, tmp_path, asked, f"{said} lies in padding, where there is no tissue")
