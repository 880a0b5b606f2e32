"""Pictures: labels keep their colour, nothing is drawn where there is no label, and lengths are true."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from commands import contents, largest_file
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mitoscale.core.errors import StoppedError
from mitoscale.report.colours import hex_colour, label_colours
from mitoscale.report.history import save_history
from mitoscale.report.pictures import encode, isotropic, montage, overlay, save_png, view, volume_histogram
from mitoscale.report.scale import _round_length, scale_bar

GREY = np.full((40, 60), 128, np.uint8)


def two_labels() -> np.ndarray:
    labels = np.zeros((40, 60), np.uint32)
    labels[10:30, 10:30] = 7
    labels[10:30, 30:50] = 8
    return labels


@given(st.lists(st.integers(1, 2**63), min_size=1, max_size=20))
def test_a_label_has_one_colour_wherever_it_is(labels: list[int]) -> None:
    together = label_colours(np.array(labels, np.uint64))
    assert together.shape == (len(labels), 3)
    assert together.min() >= 0 and together.max() <= 1
    for label, colour in zip(labels, together, strict=True):
        assert np.array_equal(label_colours(np.array(label, np.uint64)), colour)


def test_labels_that_follow_each_other_differ_clearly() -> None:
    colours = label_colours(np.arange(1, 500))
    assert np.abs(np.diff(colours, axis=0)).max(axis=1).min() > 0.1


def test_hex_colour_is_that_of_the_pictures() -> None:
    outline = overlay(GREY, two_labels())[10, 15]
    assert hex_colour(7) == "#" + bytes(outline.tolist()).hex()


def test_overlay_leaves_the_background_and_marks_each_label() -> None:
    labels = two_labels()
    picture = overlay(GREY, labels)
    assert picture.shape == (40, 60, 3) and picture.dtype == np.uint8
    assert (picture[labels == 0] == 128).all()
    assert (picture[labels > 0] != 128).any(axis=-1).all()
    assert not np.array_equal(picture[20, 29], picture[20, 30]), "touching labels have a line of their own each"
    assert np.array_equal(overlay(GREY, labels, outlines=False)[20, 29], overlay(GREY, labels, outlines=False)[20, 20])


def test_overlay_without_labels_is_the_image() -> None:
    assert (overlay(GREY, None) == 128).all()
    assert (overlay(GREY, np.zeros_like(GREY)) == 128).all()


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.array([[-5.0, 3.0], [39.0, 59.0], [20.5, 20.5]])])
def test_points_are_drawn_inside_the_picture_alone(points: np.ndarray) -> None:
    picture = overlay(GREY, None, points)
    assert picture.shape == (40, 60, 3)
    assert bool((picture == 255).any()) == bool(len(points))


def test_overlay_refuses_what_is_no_picture() -> None:
    with pytest.raises(ValueError, match="uint8, not uint16"):
        overlay(GREY.astype(np.uint16), None)
    with pytest.raises(ValueError, match=r"\(40, 60\) and labels \(2, 2\)"):
        overlay(GREY, np.zeros((2, 2), np.uint32))


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1.0, 2.5, 4.0]), st.sampled_from([1.0, 3.0]))
def test_isotropic_keeps_lengths_and_invents_no_label(rows: int, columns: int, height: float, width: float) -> None:
    labels = np.arange(rows * columns, dtype=np.uint32).reshape(rows, columns) + 1
    square = isotropic(labels, height, width)
    pixel = min(height, width)
    assert square.dtype == labels.dtype
    assert square.shape == (round(rows * height / pixel), round(columns * width / pixel))
    assert np.array_equal(np.unique(square), np.unique(labels)), "every label stays, none is new"


def test_cuts_have_square_pixels() -> None:
    # 300 voxels fit three times into the comfortable size, 200 five times; ten slices of 50 nm span 100 pixels of 5 nm.
    for shape, size, expected in (
        ((200, 300), (5.0, 5.0), (600, 900)),
        ((10, 300), (50.0, 5.0), (300, 900)),
        ((10, 200), (50.0, 5.0), (500, 1000)),
    ):
        assert view(np.zeros(shape, np.uint8), np.zeros(shape, np.uint32), size).shape[:2] == expected


def test_view_puts_points_on_what_they_mark() -> None:
    image, labels = np.zeros((100, 50), np.uint8), np.zeros((100, 50), np.uint32)
    labels[60:63, 20:23] = 5
    picture = view(image, labels, (10.0, 20.0), np.array([[61.0, 21.0]]))
    ys, xs = np.nonzero((picture[:900] == 255).all(axis=-1))  # above the scale bar
    inside = np.nonzero((view(image, labels, (10.0, 20.0))[:900] > 0).any(axis=-1))
    assert abs(ys.mean() - inside[0].mean()) < 1 and abs(xs.mean() - inside[1].mean()) < 1


@given(st.floats(0.5, 1e7))
def test_the_bar_is_a_round_length(most: float) -> None:
    length = _round_length(most)
    assert most * 0.39 < length <= most * 1.001
    assert f"{length:.0e}"[0] in "125"


@pytest.mark.parametrize(("pixel_nm", "bar"), [(5.0, 200), (8.0, 125), (0.4, 125), (40.0, 125)])
def test_the_bar_is_as_long_as_it_says(pixel_nm: float, bar: int) -> None:
    picture = scale_bar(np.zeros((700, 1000, 3), np.uint8), pixel_nm)
    white = (picture == 255).all(axis=-1)
    assert white.sum(axis=1).max() == bar


def test_a_tiny_picture_stays_without_bar() -> None:
    tiny = np.zeros((20, 30, 3), np.uint8)
    assert np.array_equal(scale_bar(tiny, 5.0), tiny)


def test_montage_places_pictures_in_rows() -> None:
    red, blue = np.full((4, 6, 3), (255, 0, 0), np.uint8), np.full((5, 3, 3), (0, 0, 255), np.uint8)
    sheet = montage([red, blue, red], columns=2, gap=1)
    assert sheet.shape == (11, 13, 3)
    assert (sheet[:4, :6] == red).all() and (sheet[:5, 7:10] == blue).all() and (sheet[6:10, :6] == red).all()
    assert (sheet[5] == 255).all()
    for pictures, columns in (([], 2), ([red], 0)):
        with pytest.raises(ValueError, match="a montage needs"):
            montage(pictures, columns)


@settings(max_examples=5)
@given(st.lists(st.floats(1e3, 1e12), min_size=1, max_size=30))
def test_histogram_draws_any_volumes(volumes: list[float]) -> None:
    svg = volume_histogram(np.array(volumes)).decode()
    assert "<svg" in svg and "median" in svg
    assert "var(--accent)" in svg and "#040506" not in svg


def test_histogram_is_the_same_each_time_and_empty_without_objects() -> None:
    volumes = np.array([1e6, 2e6, 5e8])
    assert volume_histogram(volumes) == volume_histogram(volumes)
    assert volume_histogram(np.zeros(0)) == volume_histogram(np.zeros(3)) == b""


def test_pictures_are_written_as_they_are(tmp_path: Path) -> None:
    picture = overlay(GREY, two_labels())
    save_png(tmp_path / "new" / "a.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / "a.png")), picture)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode(picture)))), picture)


def test_a_full_disk_leaves_the_older_picture(tmp_path: Path) -> None:
    def history() -> None:
        save_history(tmp_path / "history.png", {"step": [1, 2], "loss": [0.5, 0.4], "iou": [0.1, 0.2]})

    def picture() -> None:
        save_png(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))

    for write, name in ((history, "history.png"), (picture, "a.png")):
        write()
        assert Image.open(tmp_path / name).format == "PNG"
        before = contents(tmp_path)
        with largest_file(1000), pytest.raises(StoppedError, match=f"^cannot write {tmp_path / name}: File too large; free"):
            write()
        assert contents(tmp_path) == before


@pytest.mark.skipif("MITOSCALE_TEST_DATA" not in os.environ, reason="MITOSCALE_TEST_DATA is not set")
def test_a_real_slice_is_embedded_small_and_true() -> None:
    folder = Path(os.environ["MITOSCALE_TEST_DATA"], "epfl")
    with Image.open(folder / "training.tif") as stack, Image.open(folder / "training_groundtruth.tif") as truth:
        stack.seek(80)
        truth.seek(80)
        image, labels = np.asarray(stack.convert("L")), (np.asarray(truth.convert("L")) > 0).astype(np.uint32)
    picture = overlay(image, labels)
    data = encode(picture)
    assert len(data) < 600_000
    again = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert np.abs(again - picture).mean() < 6
