"""The files of a stack with one slice a file: found, put in order, and checked for gaps."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter

from mitoscale.core.errors import InputError

SUFFIXES = (".tif", ".tiff", ".png")
"""Endings that count as slices in a folder, in any case."""

_DIGITS = re.compile(r"(\d+)")


def find_slices(source: str) -> tuple[str, ...]:
    """Absolute paths of the file, of the slices in the folder, or of what the glob matches, in natural order.

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
        found = glob.glob(path)
        hint = f"nothing matches {path} with the endings {', '.join(SUFFIXES)}"
    else:
        raise InputError(f"no such file or folder: {path}")
    # names that start with a dot are left by file managers, such as ._001.tif
    slices = [f for f in found if f.lower().endswith(SUFFIXES) and not os.path.basename(f).startswith(".")]
    slices = sorted((f for f in slices if os.path.isfile(f)), key=lambda f: natural_key(os.path.basename(f)))
    if not slices:
        raise InputError(f"{hint}; give a TIFF file, a folder of slices, or a quoted glob")
    check_series([os.path.basename(f) for f in slices])
    return tuple(slices)


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


def check_series(names: list[str]) -> None:
    """Raise if a series of numbered names is not complete; names without numbers are not checked.

    Where several numbers vary (a slice number and a time, say), one without gaps is enough.

    Parameters
    ----------
    names : list of str
        File names, without folders.

    Raises
    ------
    InputError
        Naming the missing or doubled slices, or the names that do not belong.
    """
    parts = {name: _DIGITS.split(os.path.splitext(name)[0]) for name in names}
    patterns = Counter(tuple(p[::2]) for p in parts.values())
    pattern, members = patterns.most_common(1)[0]
    if len(names) < 2 or len(pattern) < 2 or members < 2:
        return
    strangers = [name for name in names if tuple(parts[name][::2]) != pattern]
    if strangers:
        series = next(name for name in names if name not in strangers)
        raise InputError(
            f"{_some(strangers)} does not belong to the series of {series}; move it away, or choose slices with a glob"
        )
    columns = [[int(parts[name][i]) for name in names] for i in range(1, 2 * len(pattern) - 1, 2)]
    varying = [c for c in columns if len(set(c)) > 1] or columns[:1]
    if any(len(set(c)) == len(c) == max(c) - min(c) + 1 for c in varying):
        return
    distinct = [c for c in varying if len(set(c)) == len(c)]
    if not distinct and len(varying) > 1:
        return  # no single number counts these slices, such as in tiles named by row and column
    numbers = min(distinct or varying, key=lambda c: max(c) - min(c))
    doubled = [name for name, n in zip(names, numbers, strict=True) if numbers.count(n) > 1] if not distinct else []
    if doubled:
        raise InputError(f"slice number {numbers[names.index(doubled[0])]} is there more than once: {_some(doubled)}")
    present = set(numbers)
    missing = [str(n) for n in range(min(numbers), max(numbers) + 1) if n not in present]
    raise InputError(
        f"{len(missing)} of the slices {min(numbers)}..{max(numbers)} missing in the series of {names[0]}:"
        f" number {_some(missing)}; restore it, or renumber the files if the gap is meant"
    )


def _some(items: list[str]) -> str:
    return ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")
