"""What is mitochondrion and what is not in the two windows of the FlyEM medulla, which come without a truth.

    python benchmarks/annotate_fib25.py DATA OUT       # writes OUT/fib25_1.tif and OUT/fib25_2.tif; about two minutes

Dark bodies are found by a rule: smoothed, below a grey value, opened by a ball, and parted where they are narrow. Each was then
judged by eye, in slices along three axes, and is told here by its number to be a mitochondrion, or left undecided; no expert has
checked it. Boundaries go out to the half level against pale cytoplasm. 0 is background, 1 mitochondrion (touching ones are not
told apart), 255 undecided: grey mitochondria that the rule misses, what may be a lysosome or a dark glial process, and edges
against what is dark, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage
from skimage.segmentation import watershed

DARK, SIGMA, BALL, LEAST = 100, 1.5, 5, 1500
"""Grey value of bodies, and the smoothing before it; radius of the ball that opens them, and their fewest voxels."""

HALF_LEVEL, MEMBRANE, PALE = 118, 2.0, 125
"""Grey value half-way to pale cytoplasm; how far a body grows below it, for its membrane; and what is surely pale."""

SLIT = 112
"""Below this grey value a slit between two bodies is one of theirs."""

UNDECIDED = 255

Ellipsoid = tuple[tuple[int, int, int], tuple[int, int, int]]
"""Centre and half axes (z, y, x) in voxels."""


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What was seen in one window; all bodies that are not named are background."""

    mitochondria: Sequence[int]
    """Numbers of bodies, by falling size."""
    undecided: Sequence[int]
    """The same."""
    places: Sequence[Ellipsoid]
    """Where something that is no such body is undecided."""
    wrong: Sequence[Ellipsoid] = ()
    """Where a mitochondrion's outline cannot be trusted."""


# fmt: off
WINDOWS = {
    "fib25_1": Decisions(
        mitochondria=(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 30, 31, 42, 50),
        undecided=(15, 24, 28, 39, 40, 41, 43, 44, 47, 48),
        places=(((79, 168, 8), (16, 20, 24)), ((131, 12, 66), (16, 24, 14))),
    ),
    "fib25_2": Decisions(
        mitochondria=(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 23, 25, 26, 27, 36, 39),
        undecided=(21, 22, 28, 29, 30, 32, 33, 34, 35, 38, 43, 46, 47, 49, 51, 53, 56, 57, 58, 59, 60),
        places=(
            ((195, 195, 12), (42, 30, 30)), ((236, 178, 10), (18, 28, 22)),
            ((168, 240, 44), (24, 20, 22)), ((240, 18, 222), (44, 52, 40)),
        ),
        wrong=(((240, 120, 197), (8, 20, 12)), ((66, 172, 80), (7, 12, 10))),
    ),
}
# fmt: on


def annotated(image: np.ndarray, decisions: Decisions) -> np.ndarray:
    """(Z, Y, X) uint8 truth of a window.

    Parameters
    ----------
    image : (Z, Y, X) uint8
        Grey values.
    decisions : Decisions
        What was seen in it.
    """
    bodies, soft = _bodies(image), _smooth(image, 1.0)
    core, slits = _filled(np.isin(bodies, decisions.mitochondria), soft)
    grown = core | ((_outside(core) <= MEMBRANE) & (soft < HALF_LEVEL))
    found = ndimage.binary_opening(grown, iterations=1) | core
    away = _outside(found)
    edge = (away > 0) & ((away <= 1.5) | ((away <= 4) & (soft < HALF_LEVEL)))
    unsure = _outside(np.isin(bodies, decisions.undecided)) <= 4
    for place in decisions.places:
        unsure |= _ellipsoid(image.shape, place)
    truth = np.zeros(image.shape, np.uint8)
    truth[unsure | edge | slits] = UNDECIDED
    truth[found] = 1
    for place in decisions.wrong:
        truth[_ellipsoid(image.shape, place)] = UNDECIDED
    rim = found & (_inside(found) <= 1.0)
    pale_near = ndimage.maximum_filter((~found & (soft >= PALE)).astype(np.uint8), 7) > 0
    truth[rim & ~pale_near] = UNDECIDED
    for value, least in ((1, 400), (0, 60)):
        truth[_specks(truth == value, least)] = UNDECIDED
    return truth


def _smooth(image: np.ndarray, sigma: float) -> np.ndarray:
    smooth: np.ndarray = ndimage.gaussian_filter(image.astype(np.float32), sigma, mode="nearest")
    return smooth


def _inside(mask: np.ndarray) -> np.ndarray:
    """Distance of what is inside to what is not."""
    distance: np.ndarray = ndimage.distance_transform_edt(mask).astype(np.float32)
    return distance


def _outside(mask: np.ndarray) -> np.ndarray:
    """Distance of what is outside to what is not."""
    return _inside(~mask)


def _bodies(image: np.ndarray) -> np.ndarray:
    """(Z, Y, X) int32 dark bodies, numbered from 1 by falling size."""
    smooth, pad = _smooth(image, SIGMA), BALL + 2
    dark = np.pad(smooth < DARK, pad, mode="edge")  # the window's faces are no edges of bodies
    core = _inside(dark) > BALL
    opened = (_outside(core) <= BALL) & dark
    within = (slice(pad, -pad),) * 3
    parts, count = ndimage.label(core[within])
    parts = watershed(smooth, parts, mask=opened[within])
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    large = np.flatnonzero(sizes >= LEAST)
    numbers = np.zeros(count + 1, np.int32)
    numbers[large[np.argsort(-sizes[large], kind="stable")]] = np.arange(1, len(large) + 1)
    return numbers[parts]


def _filled(mask: np.ndarray, soft: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mitochondria with dark slits and small holes filled, and bright slits and larger holes, which are undecided."""
    cross = ndimage.generate_binary_structure(3, 1)
    closed = ndimage.binary_closing(np.pad(mask, 6, mode="edge"), cross, iterations=4)[(slice(6, -6),) * 3]
    filled, large = mask | (closed & (soft < SLIT)), np.zeros_like(mask)
    for axis in range(3):
        for plane, left_out in zip(np.moveaxis(filled, axis, 0), np.moveaxis(large, axis, 0), strict=True):
            holes = ndimage.binary_fill_holes(plane) & ~plane
            if holes.any():
                numbers, _ = ndimage.label(holes)
                sizes = np.bincount(numbers.ravel())
                small = sizes < 120
                small[0] = False
                left_out |= (~small & (sizes < 400))[numbers] & holes
                plane |= small[numbers]
    return filled, (closed | large) & ~filled


def _ellipsoid(shape: tuple[int, ...], place: Ellipsoid) -> np.ndarray:
    centre, radii = place
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    squares = [((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii, strict=True)]
    return np.asarray(squares[0] + squares[1] + squares[2] <= 1)


def _specks(mask: np.ndarray, least: int) -> np.ndarray:
    """Parts of fewer voxels."""
    numbers, _ = ndimage.label(mask)
    small = np.bincount(numbers.ravel()) < least
    small[0] = False
    specks: np.ndarray = small[numbers]
    return specks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with fib25_1/raw.tif and fib25_2/raw.tif")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, decisions in WINDOWS.items():
        truth = annotated(tifffile.imread(arguments.data / name / "raw.tif"), decisions)
        tifffile.imwrite(arguments.out / f"{name}.tif", truth, compression="zlib", photometric="minisblack")
        parts = {value: f"{(truth == value).mean():.1%}" for value in (0, 1, UNDECIDED)}
        print(f"{name}: background {parts[0]}, mitochondria {parts[1]}, undecided {parts[UNDECIDED]}")


if __name__ == "__main__":
    main()
