"""Phantoms: EM-like volumes with known mitochondria, made from a seed.

A phantom has what makes real volumes hard: cell membranes, vesicles, dark bodies that are no mitochondria, cristae, tubes that
bend and branch, neighbours that touch, uneven slices and noise. Its truth is exact, so that anyone can score a run without data.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy import ndimage

from mitoscale.core.geometry import Region, Spacing, Triple

_GAP = 3
"""Voxels kept free between objects that are not meant to touch."""


class Phantom(BaseModel):
    """An EM-like volume and its truth."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    image: np.ndarray
    """(Z, Y, X) uint8 grey values; mitochondria and membranes are dark."""
    labels: np.ndarray
    """(Z, Y, X) uint32 truth: 0 is background, each mitochondrion has its own label."""
    touching: frozenset[int]
    """Labels of the mitochondria that touch another one (26-neighbourhood)."""
    spacing: Spacing
    """Voxel size (z, y, x) in nm."""


def make_phantom(
    shape: Triple, seed: int, *, objects: int, touching: float = 0.25, spacing: Spacing = (10.0, 10.0, 10.0)
) -> Phantom:
    """Make a phantom.

    Parameters
    ----------
    shape : (z, y, x)
        Shape in voxels, at least 32 on each axis.
    seed : int
        The same seed gives the same phantom.
    objects : int
        Number of mitochondria wanted; fewer where they do not fit.
    touching : float
        Part of the mitochondria, 0..1, that is placed against another one.
    spacing : (z, y, x)
        Voxel size in nm, isotropic.

    Returns
    -------
    Phantom

    Examples
    --------
    >>> phantom = make_phantom((32, 64, 64), objects=4, seed=1)
    >>> phantom.image.dtype, phantom.labels.shape, int(phantom.labels.max()) >= 2
    (dtype('uint8'), (32, 64, 64), True)
    """
    rng = np.random.default_rng(seed)
    nm = spacing[2]
    labels = np.zeros(shape, np.uint32)
    blocked = np.zeros(shape, bool)
    partners: set[int] = set()
    boxes: list[tuple[slice, ...]] = []
    pairs = round(objects * touching / 2)
    label = 0
    for attempt in range(objects * 30):
        if label >= objects:
            break
        mask = _mitochondrion(rng, nm)
        if len(partners) < 2 * pairs and label and attempt % 2:
            partner = int(rng.integers(1, label + 1))
            place = None if partner in partners else _against(mask, labels, blocked, partner, boxes[partner - 1], rng)
            if place is not None:
                partners |= {partner, label + 1}
        else:
            place = _free_place(mask, blocked, rng)
        if place is None:
            continue
        label += 1
        boxes.append(_put(mask, place, label, labels, blocked))
    image = _cytoplasm(shape, labels, nm, rng)
    _draw_mitochondria(image, labels, nm, rng)
    return Phantom(image=_expose(image, rng), labels=labels, touching=frozenset(partners), spacing=spacing)


def _mitochondrion(rng: np.random.Generator, nm: float) -> np.ndarray:
    """A cropped (Z, Y, X) bool mask: an ellipsoid, a bent tube or a branching tube."""
    kind = rng.choice(["ellipsoid", "tube", "branching"], p=[0.35, 0.5, 0.15])
    radius = rng.uniform(90, 170) / nm
    if kind == "ellipsoid":
        axes = radius * rng.uniform(0.9, 1.9, 3)
        lines = [np.zeros((1, 3))]
        reach = int(np.ceil(axes.max())) + 2
        grid = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), -1).astype(np.float32)
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        mask = (((grid @ rotation.astype(np.float32)) / axes.astype(np.float32)) ** 2).sum(-1) < 1
    else:
        length = rng.uniform(300, 900) / nm
        trunk = _curve(rng, np.zeros(3), rng.normal(size=3), length)
        lines = [trunk]
        if kind == "branching":
            start = trunk[len(trunk) // 2]
            lines.append(_curve(rng, start, rng.normal(size=3), length * 0.6))
        points = np.concatenate(lines)
        low = np.floor(points.min(0) - radius - 2).astype(int)
        size = np.ceil(points.max(0) + radius + 2).astype(int) - low + 1
        seeds = np.ones(size, bool)
        seeds[tuple(np.rint(points - low).astype(int).T)] = False
        thickness = radius * (1 + 0.12 * _smooth_noise(rng, tuple(size), max(radius, 3.0)))
        mask = ndimage.distance_transform_edt(seeds) < thickness
    region = ndimage.find_objects(mask.astype(np.uint8))[0]
    return mask[region]


def _curve(rng: np.random.Generator, start: np.ndarray, direction: np.ndarray, length: float) -> np.ndarray:
    """(N, 3) points half a voxel apart along a gently turning line."""
    direction = direction / np.linalg.norm(direction)
    turn = rng.normal(size=3) * rng.uniform(0.0, 2.0) / length
    points = [start]
    for _ in range(int(length * 2)):
        direction = direction + 0.5 * turn
        direction = direction / np.linalg.norm(direction)
        points.append(points[-1] + 0.5 * direction)
    return np.array(points)


def _free_place(mask: np.ndarray, blocked: np.ndarray, rng: np.random.Generator) -> Triple | None:
    """An origin where the mask, possibly cut by the border, meets nothing; None if ten tries find none."""
    for _ in range(10):
        place = tuple(int(rng.integers(-m // 3, max(n - 2 * m // 3, 1))) for m, n in zip(mask.shape, blocked.shape, strict=True))
        inner, outer = _overlap(mask.shape, place, blocked.shape)  # type: ignore[arg-type]
        part = mask[inner]
        if part.sum() > 0.6 * mask.sum() and not (part & blocked[outer]).any():
            return place  # type: ignore[return-value]
    return None


def _against(
    mask: np.ndarray,
    labels: np.ndarray,
    blocked: np.ndarray,
    partner: int,
    box: tuple[slice, ...],
    rng: np.random.Generator,
) -> Triple | None:
    """An origin where the mask touches ``partner``, which lies in ``box``, and meets nothing else."""
    other = labels[box] == partner
    where = np.argwhere(other) + [s.start for s in box]
    centre = where.mean(0)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    own = ndimage.binary_dilation(np.pad(other, _GAP + 1), iterations=_GAP)
    others = blocked.copy()
    low = np.array([s.start for s in box]) - _GAP - 1
    inner, outer = _overlap(own.shape, tuple(low), blocked.shape)
    others[outer] &= ~own[inner]
    half = np.array(mask.shape) / 2
    for step in np.arange(0.0, max(labels.shape), 1.0):
        place = tuple(int(v) for v in np.rint(centre + direction * step - half))
        inner, outer = _overlap(mask.shape, place, labels.shape)  # type: ignore[arg-type]
        part = mask[inner]
        if part.size == 0 or part.sum() < 0.6 * mask.sum():
            return None
        if not (part & (labels[outer] == partner)).any():
            near = ndimage.binary_dilation(part, np.ones((3, 3, 3)))
            contact = int((near & (labels[outer] == partner)).sum())
            free = not (part & (others[outer] | ((labels[outer] > 0) & (labels[outer] != partner)))).any()
            return place if free and contact >= 30 else None  # type: ignore[return-value]
    return None


def _overlap(size: Triple, place: Triple, shape: Triple) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices into a crop of ``size`` at ``place`` and into a volume of ``shape`` for what they share."""
    inner, outer = [], []
    for s, p, n in zip(size, place, shape, strict=True):
        a, b = max(0, -p), max(0, min(s, n - p))
        b = max(a, b)
        inner.append(slice(a, b))
        outer.append(slice(p + a, p + b))
    return tuple(inner), tuple(outer)


def _put(mask: np.ndarray, place: Triple, label: int, labels: np.ndarray, blocked: np.ndarray) -> tuple[slice, ...]:
    """Draw an object; returns the box it lies in."""
    inner, box = _overlap(mask.shape, place, labels.shape)
    labels[box][mask[inner]] = label
    grown = ndimage.binary_dilation(np.pad(mask, _GAP), iterations=_GAP)
    inner, outer = _overlap(grown.shape, tuple(p - _GAP for p in place), labels.shape)  # type: ignore[arg-type]
    blocked[outer] |= grown[inner]
    return box


def _smooth_noise(rng: np.random.Generator, shape: Triple, scale: float) -> np.ndarray:
    """(Z, Y, X) float32 noise of mean 0 and deviation 1, smooth over ``scale`` voxels."""
    step = max(int(scale / 2), 1)
    coarse = rng.normal(size=[n // step + 4 for n in shape]).astype(np.float32)
    coarse = ndimage.gaussian_filter(coarse, scale / step / 2)
    coarse = (coarse - coarse.mean()) / coarse.std()
    if step == 1:
        return coarse[tuple(slice(0, n) for n in shape)]
    for axis, n in enumerate(shape):  # linear between the coarse points, axis by axis
        position = np.arange(n) * ((coarse.shape[axis] - 1) / (coarse.shape[axis] * step - 1))
        low = position.astype(int)
        part = (position - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        before, after = np.take(coarse, low, axis), np.take(coarse, low + 1, axis)
        coarse = before + part * (after - before)
    return coarse


def _cytoplasm(shape: Triple, labels: np.ndarray, nm: float, rng: np.random.Generator) -> np.ndarray:
    """(Z, Y, X) float32 background: grain, cell membranes, vesicles and dark bodies outside the mitochondria."""
    image = np.full(shape, 150.0, np.float32)
    image += 9.0 * _smooth_noise(rng, shape, 30 / nm) + 10.0 * _smooth_noise(rng, shape, 400 / nm)
    for scale in (900.0, 500.0):
        field = _smooth_noise(rng, shape, scale / nm)
        slope = np.sqrt(sum(np.square(g) for g in np.gradient(field)))
        distance_nm = np.abs(field) / np.maximum(slope, 1e-4) * nm
        image -= 75.0 * np.exp(-np.square(distance_nm / 12.0))
    for _ in range(int(np.prod(shape) * (nm / 1000) ** 3 * 25)):
        _body(image, rng, rng.uniform(20, 45) / nm, shell=70.0, core=-5.0)
    for _ in range(int(np.prod(shape) * (nm / 1000) ** 3 * 2)):
        _body(image, rng, rng.uniform(90, 200) / nm, shell=60.0, core=rng.uniform(0, 55), dots=rng.random() < 0.7)
    return image


def _body(image: np.ndarray, rng: np.random.Generator, radius: float, shell: float, core: float, dots: bool = False) -> None:
    """Draw one round vesicle: a dark shell, a core, and small inner vesicles."""
    centre = [rng.uniform(0, n) for n in image.shape]
    low = [max(int(c - radius - 2), 0) for c in centre]
    high = [min(int(c + radius + 3), n) for c, n in zip(centre, image.shape, strict=True)]
    region = Region(start=tuple(low), stop=tuple(high))
    if 0 in region.shape:
        return
    grid = np.ogrid[region.slices]
    distance = np.sqrt(sum(np.square(g - c) for g, c in zip(grid, centre, strict=True)))
    crop = image[region.slices]
    inside = distance < radius - 1
    crop[inside] = 150.0 - core + rng.normal(0, 8, int(inside.sum()))
    if dots:
        speckle = ndimage.gaussian_filter(rng.normal(size=crop.shape), 1.0)
        crop[inside & (speckle > 0.15)] -= 35.0
    crop -= shell * np.exp(-np.square(distance - radius)).astype(np.float32)


def _draw_mitochondria(image: np.ndarray, labels: np.ndarray, nm: float, rng: np.random.Generator) -> None:
    """Draw matrix, cristae and double membrane into the image in place."""
    for label, region in enumerate(ndimage.find_objects(labels.astype(np.int32)), start=1):
        if region is None:
            continue
        mask = labels[region] == label
        # A voxel at the volume's border is not at the object's: pad by copying, so that no membrane is drawn there.
        depth = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1, 1:-1] * nm
        crop = image[region]
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        grid = np.ogrid[tuple(slice(0, n) for n in mask.shape)]
        along = sum(g * d for g, d in zip(grid, direction, strict=True)) * nm
        warp = _smooth_noise(rng, mask.shape, 150 / nm)
        wave = np.sin(2 * np.pi * along / rng.uniform(60, 95) + 1.8 * warp)
        matrix = rng.uniform(95, 125) + 6.0 * _smooth_noise(rng, mask.shape, 20 / nm)
        matrix -= rng.uniform(20, 40) * np.clip(wave * 2.0 - 0.6, 0, 1) * (depth > 30)
        matrix = np.where(depth <= 14, rng.uniform(55, 75), matrix)
        crop[mask] = matrix[mask]


def _expose(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The (Z, Y, X) uint8 picture a microscope would give: point spread, uneven slices and noise."""
    image = ndimage.gaussian_filter(image, 0.6)
    slices = rng.normal(0, 1.5, (image.shape[0], 1, 1)).astype(np.float32)
    image = image + slices + rng.normal(0, rng.uniform(6, 12), image.shape).astype(np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
