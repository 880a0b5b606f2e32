"""What a comparison leaves: a CSV and a JSON table, and pictures of the worst, the median and the best slice."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mitoscale.core.errors import InputError
from mitoscale.evaluation.compare import Comparison
from mitoscale.report.colours import HERE, SHARED, THERE, rgb_of
from mitoscale.report.pictures import isotropic, montage, save_png
from mitoscale.report.scale import FONT, scale_bar
from mitoscale.storage.layout import remove_if_empty, write_json
from mitoscale.storage.stored_files import remove_tree
from mitoscale.storage.tables import write_csv

_OPACITY = 0.45

_NARROWEST = 384
"""A panel is enlarged by whole steps up to about so many pixels, so that its title fits."""

_TITLE = 26
"""Height of a panel's title in pixels."""

_TABLES, _PICTURES = ("compare.csv", "compare.json"), ("worst", "median", "best")
"""Files of a comparison, and its pictures; the slices of a short one have fewer names."""


def agreement(image: np.ndarray, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A slice tinted green where prediction and truth agree, orange where it invents, blue where it misses.

    Parameters
    ----------
    image : (Y, X) uint8
        Grey values.
    prediction, truth : (Y, X)
        Not 0 is mitochondrion.

    Returns
    -------
    (Y, X, 3) uint8
    """
    rgb = np.repeat(image[..., None].astype(np.float32), 3, axis=2)
    p, t = prediction != 0, truth != 0
    for where, colour in ((p & t, SHARED), (p & ~t, HERE), (~p & t, THERE)):
        rgb[where] = (1 - _OPACITY) * rgb[where] + _OPACITY * np.array(rgb_of(colour), np.float32)
    return np.rint(rgb).astype(np.uint8)


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    """A picture with a title above it, (H + 26, W, 3) uint8.

    Parameters
    ----------
    picture : (H, W, 3) uint8
        A picture.
    title : str
        One line of text.
    """
    canvas = Image.new("RGB", (picture.shape[1], picture.shape[0] + _TITLE), "white")
    canvas.paste(Image.fromarray(picture), (0, _TITLE))
    ImageDraw.Draw(canvas).text((4, 4), title, fill="#101418", font=ImageFont.truetype(str(FONT), 16))
    return np.asarray(canvas)


def chosen_slices(comparison: Comparison) -> dict[str, int]:
    """The worst, median and best slice by the mean of all methods' foreground IoU; one slice has one name."""
    order = np.argsort(np.mean([m.slice_iou for m in comparison.methods], axis=0), kind="stable")
    wanted = dict(zip(_PICTURES, (order[0], order[len(order) // 2], order[-1]), strict=True))
    return {name: int(z) for i, (name, z) in enumerate(wanted.items()) if z not in list(wanted.values())[:i]}


def slice_picture(comparison: Comparison, z: int) -> np.ndarray:
    """The image, and each method's agreement with the truth, side by side, with a key; (H, W, 3) uint8.

    Parameters
    ----------
    comparison : Comparison
        What was found.
    z : int
        Slice of the compared region, from 0.
    """
    image, truth, size = comparison.image[z], comparison.truth[z], comparison.spacing[1:]
    pixel = min(size) / max(1, _NARROWEST // image.shape[1])

    def panel(tinted: np.ndarray, title: str) -> np.ndarray:
        return titled(isotropic(tinted, *size, pixel_nm=pixel, smooth=True), title)

    plain = isotropic(np.repeat(image[..., None], 3, axis=2), *size, pixel_nm=pixel, smooth=True)
    panels = [titled(scale_bar(plain, pixel), f"slice {comparison.region.start[0] + z}")]
    for method in comparison.methods:
        title = f"{method.name}   IoU {method.slice_iou[z]:.3f}"
        panels.append(panel(agreement(image, method.labels[z], truth), title))
    pictures = montage(panels, columns=3)
    return np.concatenate([pictures, _key(pictures.shape[1])])


def _key(width: int) -> np.ndarray:
    """(26, W, 3) uint8: what the colours mean."""
    canvas = Image.new("RGB", (width, _TITLE), "white")
    draw, font, x = ImageDraw.Draw(canvas), ImageFont.truetype(str(FONT), 16), 4
    for colour, text in ((SHARED, "in both"), (HERE, "invented"), (THERE, "missed")):
        draw.rectangle((x, 7, x + 13, 20), fill=colour)
        draw.text((x + 20, 4), text, fill="#101418", font=font)
        x += 44 + round(draw.textlength(text, font=font))
    return np.asarray(canvas)


def check_uncompared(folder: str) -> None:
    """Raise where a folder has files of a comparison: those that the next one did not replace would seem to be its own.

    Raises
    ------
    InputError
        If there is one.
    """
    for name in (*_TABLES, *(f"{picture}.png" for picture in _PICTURES)):
        if os.path.lexists(f"{folder}/{name}"):
            raise InputError(f"--out {folder} holds {name} already; give another folder, or remove the earlier comparison first")


def write_comparison(comparison: Comparison, folder: str) -> list[str]:
    """Write ``compare.csv``, ``compare.json`` and ``worst.png``, ``median.png``, ``best.png``, or none; returns their paths.

    Parameters
    ----------
    comparison : Comparison
        What was found.
    folder : str
        It is made where it is not there.

    Raises
    ------
    StoppedError
        If they cannot be written.
    """
    rows = comparison.rows()
    first = comparison.region.start[0]
    chosen = chosen_slices(comparison)
    content = {
        "region": str(comparison.region),
        "voxel_size_nm": comparison.spacing,
        "rows": rows,
        "slices": [{"z": first + z, **{m.name: m.slice_iou[z] for m in comparison.methods}} for z in range(len(comparison.image))],
        "pictures": {name: first + z for name, z in chosen.items()},
    }
    csv, json = (f"{folder}/{name}" for name in _TABLES)
    written: list[str] = []
    made = not os.path.exists(folder)
    try:
        write_csv(csv, {name: np.array([row[name] for row in rows]) for name in rows[0]})
        written.append(csv)
        write_json(json, content)
        written.append(json)
        for name, z in chosen.items():
            path = os.path.join(folder, f"{name}.png")
            save_png(path, slice_picture(comparison, z))
            written.append(path)
    except BaseException:  # a part of a comparison would be taken for a whole one, and the next be refused for it
        for done in written:
            remove_tree(done)
        if made:
            remove_if_empty(folder)
        raise
    return written
