"""Scenes: labels of objects that touch, branch and turn back, which is what linking and stitching must get right.

A scene is a truth without a picture, hundreds of times quicker to make than a phantom of its size.
"""

from __future__ import annotations

import cc3d
import numpy as np

from mitoscale.core.geometry import Triple

KINDS = ("tube", "branching", "U", "W")
"""What an object may be: a bent tube, one with a side branch, and tubes that turn back once or three times."""

_MOST_SHARED = 0.05
"""An object whose place is taken by more than this part is put elsewhere."""


def make_scene(
    shape: Triple,
    *,
    objects: int,
    seed: int,
    touching: float = 0.5,
    radius: tuple[float, float] = (5.0, 12.0),
    length: tuple[float, float] = (40.0, 140.0),
) -> np.ndarray:
    """Make a scene.

    Parameters
    ----------
    shape : (z, y, x)
        In voxels.
    objects : int
        Number wanted; fewer where they do not fit.
    seed : int
        The same seed gives the same scene.
    touching : float
        Part of the objects, 0..1, that runs along another one, so that both touch.
    radius, length : (least, most)
        Of the tubes, in voxels.

    Returns
    -------
    (Z, Y, X) uint32
        Labels 1..N, 0 is background; each label is one 26-connected object, possibly cut by the scene's border.

    Examples
    --------
    >>> scene = make_scene((48, 48, 48), objects=5, seed=1, radius=(3, 4), length=(20, 30))
    >>> scene.dtype, int(scene.max()) >= 3
    (dtype('uint32'), True)
    """
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    placed: list[tuple[np.ndarray, float]] = []
    for _ in range(objects * 20):
        if len(placed) == objects:
            break
        thick = rng.uniform(*radius)
        if placed and rng.random() < touching:
            other, other_thick = placed[int(rng.integers(len(placed)))]
            points = _along(other, thick + 0.95 * other_thick, rng)
        else:
            kind = KINDS[int(rng.integers(len(KINDS)))]
            points = _points(kind, rng.uniform(*length), thick, rng) + rng.uniform(0, shape)
        if _draw(labels, points, thick, len(placed) + 1):
            placed.append((points, thick))
    parts: np.ndarray = cc3d.connected_components(labels, connectivity=26)
    return parts.astype(np.uint32)


def _points(kind: str, length: float, thick: float, rng: np.random.Generator) -> np.ndarray:
    """(N, 3) points along the object's middle lines, about the origin, turned at random."""
    if kind == "tube":
        lines = [_bent(length, rng)]
    elif kind == "branching":
        trunk, branch = _bent(length, rng), _bent(length / 2, rng)
        lines = [trunk, branch + trunk[len(trunk) // 2]]
    else:
        arms = 2 if kind == "U" else 4
        gap = 2 * thick + rng.uniform(3, 2 * thick)
        height = max(length / arms, 3 * thick)
        corners = [(0.0, gap * arm, height * (side if arm % 2 == 0 else 1 - side)) for arm in range(arms) for side in (0, 1)]
        lines = [_straight(np.array(a), np.array(b)) for a, b in zip(corners, corners[1:], strict=False)]
    points = np.concatenate(lines)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return (points - points.mean(axis=0)) @ turn


def _straight(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    steps = max(int(np.linalg.norm(b - a)), 1)
    return a + (b - a) * np.linspace(0, 1, steps + 1)[:, None]


def _bent(length: float, rng: np.random.Generator) -> np.ndarray:
    """(N, 3) points one voxel apart along a gently turning line."""
    direction, turn = rng.normal(size=3), rng.normal(size=3) * rng.uniform(0, 1.5) / length
    direction /= np.linalg.norm(direction)
    steps = []
    for _ in range(max(int(length), 1)):
        direction = direction + turn
        direction /= np.linalg.norm(direction)
        steps.append(direction)
    return np.cumsum(steps, axis=0)


def _along(other: np.ndarray, distance: float, rng: np.random.Generator) -> np.ndarray:
    """(N, 3) points beside a stretch of another object's line."""
    start = int(rng.integers(max(len(other) // 2, 1)))
    stretch = other[start : start + max(len(other) // 2, 2)]
    side = rng.normal(size=3)
    axis = stretch[-1] - stretch[0]
    axis = axis / max(float(np.linalg.norm(axis)), 1e-9)
    side -= axis * (side @ axis)
    moved: np.ndarray = stretch + side / np.linalg.norm(side) * distance
    return moved


def _draw(labels: np.ndarray, points: np.ndarray, thick: float, label: int) -> bool:
    """Draw balls along the points where nothing is yet; False, and nothing drawn, where too much is taken."""
    reach = int(np.ceil(thick))
    low = np.floor(points.min(axis=0)).astype(int) - reach
    size = np.ceil(points.max(axis=0)).astype(int) + reach + 1 - low
    mask = np.zeros(size, bool)
    offsets = np.arange(-reach, reach + 1)
    for point in points[:: max(int(thick / 3), 1)]:
        middle = np.rint(point).astype(int)
        z, y, x = np.meshgrid(*(offsets + middle[i] - point[i] for i in range(3)), indexing="ij", sparse=True)
        box = tuple(slice(m - reach - o, m + reach + 1 - o) for m, o in zip(middle, low, strict=True))
        mask[box] |= z * z + y * y + x * x < thick * thick
    inner = tuple(slice(max(-o, 0), max(n - o, 0)) for o, n in zip(low, labels.shape, strict=True))
    outer = tuple(slice(max(o, 0), max(o + s, 0)) for o, s in zip(low, size, strict=True))
    part, place = mask[inner], labels[outer]
    if part.sum() < mask.sum() / 2 or (part & (place > 0)).sum() > _MOST_SHARED * part.sum():
        return False
    free = part & (place == 0)
    parts = cc3d.connected_components(free.astype(np.uint8), connectivity=26)
    place[parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))] = label
    return True
