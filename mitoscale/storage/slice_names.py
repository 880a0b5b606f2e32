"""The files of a stack with one slice a file: found, put in order, and checked for gaps."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from itertools import islice
from math import gcd

from mitoscale.core.errors import InputError

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
"""Endings that count as slices in a folder, in any case."""

_DIGITS = re.compile(r"(\d+)")
_LETTERS = re.compile(r"[a-z]+")
_CHANNELS = ("c", "ch", "channel", "w", "chan")
_TILES = ("r", "row", "col", "x", "y", "tile")
_SPARSE = 4
"""So many times as many numbers as files, and they may count something else."""
_NAMED = 5
"""Names or numbers that are told of many."""


def find_slices(source: str, channel: int | None = None, fill_gaps: bool = False) -> tuple[str, ...]:
    """Absolute paths of the file, of the slices in the folder, or of what the glob matches, in natural order.

    Parameters
    ----------
    source : str
        What was named.
    channel : int, optional
        Of names that vary in a channel's number those with this one.
    fill_gaps : bool
        Slices may be missing: an empty path stands for each.

    Raises
    ------
    InputError
        If there is nothing, or a numbered series has a gap, a number twice, or a file of another name among it.
    """
    path = os.path.abspath(os.path.expanduser(source))
    if os.path.isfile(path):
        return (path,)
    if os.path.isdir(path):
        found = [os.path.join(path, name) for name in os.listdir(path)]
        hint = f"folder {path} holds no slices ({', '.join(SUFFIXES)})"
    elif glob.has_magic(path):
        parent, pattern = os.path.split(path)
        found = glob.glob(os.path.join(glob.escape(parent), pattern) if os.path.isdir(parent) else path)
        hint = f"nothing matches {path} with the endings {', '.join(SUFFIXES)}"
    else:
        raise InputError(f"no such file or folder: {path}")
    # names that start with a dot are left by file managers, such as ._001.tif
    slices = [f for f in found if f.lower().endswith(SUFFIXES) and not os.path.basename(f).startswith(".")]
    slices = sorted((f for f in slices if os.path.isfile(f)), key=lambda f: natural_key(os.path.basename(f)))
    if not slices:
        raise InputError(f"{hint}; give a TIFF file, a folder of slices, or a quoted glob")
    kept = check_series([os.path.basename(f) for f in slices], channel, fill_gaps)
    if "" in kept:
        paths = {os.path.basename(f): f for f in slices}
        return tuple(paths.get(name, "") for name in kept)
    among = set(kept)
    return tuple(f for f in slices if os.path.basename(f) in among)


def natural_key(name: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts ``slice9`` before ``slice10``; names equal but for zeros or case keep a fixed order.

    Examples
    --------
    >>> sorted(["s10.tif", "s9.tif", "s1.tif"], key=natural_key)
    ['s1.tif', 's9.tif', 's10.tif']
    """
    parts = _DIGITS.split(name)
    key = [(int(part), "") if i % 2 else (0, part.lower()) for i, part in enumerate(parts)]
    return (*key, (0, name))


def check_series(names: list[str], channel: int | None = None, fill_gaps: bool = False) -> list[str]:
    """The names that are one stack; raises if a series of numbered names is not complete, or is more than one stack.

    Where several numbers vary (a slice number and a time, say), one that counts without gaps is enough; equal steps, such as
    positions in nm, are no gap, and neither are those of time stamps.

    Parameters
    ----------
    names : list of str
        File names, without folders; names without numbers are not checked.
    channel : int, optional
        The channel that is wanted, where names count channels.
    fill_gaps : bool
        Slices may be missing: in the order of their numbers, an empty name stands for each.

    Raises
    ------
    InputError
        Naming the missing or doubled slices, the names that do not belong, or what there is to choose.
    """
    parts = {name: _DIGITS.split(os.path.splitext(name)[0]) for name in names}
    patterns = Counter(tuple(p[::2]) for p in parts.values())
    pattern, members = patterns.most_common(1)[0]
    if len(names) < 2 or len(pattern) < 2 or members < 2:
        return names
    strangers = [name for name in names if tuple(parts[name][::2]) != pattern]
    if strangers:
        series = next(name for name in names if name not in strangers)
        raise InputError(
            f"{_some(strangers)} does not belong to the series of {series}; move it away, or choose slices with a glob"
        )
    columns = [[int(parts[name][i]) for name in names] for i in range(1, 2 * len(pattern) - 1, 2)]
    numbered = [(c, text) for c, text in zip(columns, pattern, strict=False) if len(set(c)) > 1] or [(columns[0], pattern[0])]
    varying = [c for c, _ in numbered]
    distinct = [c for c in varying if len(set(c)) == len(c)]
    if any(_complete(c) for c in distinct):
        return names
    if not distinct and len(varying) > 1:
        return _one_channel(names, numbered, channel, fill_gaps)
    numbers = min(distinct or varying, key=lambda c: max(c) - min(c))
    doubled = [name for name, n in zip(names, numbers, strict=True) if numbers.count(n) > 1] if not distinct else []
    if doubled:
        raise InputError(f"slice number {numbers[names.index(doubled[0])]} is there more than once: {_some(doubled)}")
    step = _step(numbers)
    if step is None:
        return names
    there = dict(zip(numbers, names, strict=True))
    whole = range(min(there), max(there) + 1, step)
    missing = len(whole) - len(there)
    said = f"{missing} of the slices {whole[0]}..{whole[-1]} missing in the series of {names[0]}"
    if not fill_gaps:
        first = islice((n for n in whole if n not in there), _NAMED)
        raise InputError(
            f"{said}: number {', '.join(map(str, first))}{_more(missing)}; restore it, renumber the files if the gap is meant, "
            "or let its neighbours stand for it with mitoscale run --fill-gaps"
        )
    if missing >= len(there):
        raise InputError(f"{said}: --fill-gaps fills fewer than are there; are the numbers those of slices?")
    return [there.get(n, "") for n in whole]


def _complete(numbers: list[int]) -> bool:
    """Whether numbers count by ones, or three and more of them in other equal steps."""
    ordered = sorted(numbers)
    steps = {b - a for a, b in zip(ordered, ordered[1:], strict=False)}
    return steps == {1} or (len(steps) == 1 and len(numbers) > 2)


def _step(numbers: list[int]) -> int | None:
    """By what numbers with gaps count: the step of at least half of them, that divides all, or the largest that divides all where
    at least a quarter of what it counts is there; None for such as time stamps.

    Examples
    --------
    >>> _step([1, 2, 3, 90]), _step([10, 12, 14, 16, 18, 20, 21]), _step([0, 5, 10, 20, 25]), _step([93011, 93542, 94107, 95003])
    (1, 1, 5, None)
    """
    ordered = sorted(numbers)
    steps = [b - a for a, b in zip(ordered, ordered[1:], strict=False)]
    if len(steps) == 1:
        return 1
    least, common = min(steps), gcd(*steps)
    if least == common and 2 * steps.count(least) >= len(steps):
        return least
    return common if sum(steps) // common + 1 <= _SPARSE * len(numbers) else None


def _one_channel(names: list[str], numbered: list[tuple[list[int], str]], channel: int | None, fill_gaps: bool) -> list[str]:
    """Of names in which no number alone counts the slices, those of one channel; raises where that is not clear."""
    keys = [(_LETTERS.findall(text.lower()) or [""])[-1] for _, text in numbered]
    values = [sorted(set(c)) for c, _ in numbered]
    counted = " and ".join(f"{key or 'a number'} ({_some(list(map(str, v)))})" for key, v in zip(keys, values, strict=True))
    said = f"the names of {names[0]} and its {len(names) - 1} neighbours count {counted}"
    tiles = any(key in _TILES for key in keys)
    at = [i for i, key in enumerate(keys) if key in _CHANNELS]
    if tiles or len(at) != 1:
        what = "tiles of a mosaic? stitch them first" if tiles else "several stacks? keep one in a folder of its own"
        raise InputError(f"{said}: {what}, or choose one with a quoted glob")
    if channel not in values[at[0]]:
        raise InputError(f"{said}: choose a channel with --channel, one of {_some(list(map(str, values[at[0]])))}, or with a glob")
    kept = [name for name, number in zip(names, numbered[at[0]][0], strict=True) if number == channel]
    return check_series(kept, fill_gaps=fill_gaps)


def _some(items: list[str]) -> str:
    return ", ".join(items[:_NAMED]) + _more(len(items))


def _more(count: int) -> str:
    return f" and {count - _NAMED} more" if count > _NAMED else ""
