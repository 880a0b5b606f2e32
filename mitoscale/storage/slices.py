"""Numbered slices of a folder or a glob, in order, with no number missing or twice."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence

from mitoscale.core.errors import InputError

SUFFIXES = (".tif", ".tiff", ".png")
"""What counts as a slice, in any case of letters."""

_SERIES = 4  # from so many slices on, numbers with one constant step above 1 (010, 020, ...) are a numbering, not gaps
_NAMED = 5


def find_slices(source: str) -> list[str]:
    """Files that a source names, in the order of their numbers.

    Parameters
    ----------
    source : str
        A file, a folder or a glob; what exists under that very name is not taken for a glob.

    Returns
    -------
    list of str
        Absolute paths, at least one. A single file is given as it is, whatever its name.

    Raises
    ------
    InputError
        If nothing is found, or the names are not one series without gaps and duplicates.
    """
    path = os.path.abspath(os.path.expanduser(source))
    if os.path.isfile(path):
        return [path]
    if os.path.isdir(path):
        found = [os.path.join(path, name) for name in os.listdir(path)]
        wanted = f"folder {source} holds no slices ({', '.join(SUFFIXES)}); give the folder that does"
    else:
        found = glob.glob(path, recursive=True) if glob.has_magic(path) else []
        wanted = f"source {source} does not exist or matches no slice ({', '.join(SUFFIXES)}); correct the path"
    slices = [f for f in found if _is_slice(f)]
    if not slices:
        raise InputError(wanted)
    return in_order(slices) if len(slices) > 1 else slices


def in_order(paths: Sequence[str]) -> list[str]:
    """Slices sorted by the one number that their names count in.

    Raises
    ------
    InputError
        If the names differ in more than a number, or a number is missing or there twice.

    Examples
    --------
    >>> in_order(["a_s10.tif", "a_s9.tif", "a_s8.tif"])
    ['a_s8.tif', 'a_s9.tif', 'a_s10.tif']
    """
    split = {path: _parts(path) for path in paths}
    first = min(paths)
    for path, (words, _) in split.items():
        if words != split[first][0]:
            raise InputError(
                f"slices {os.path.basename(first)} and {os.path.basename(path)} differ in more than a number; "
                "give a glob that matches one series, such as 'FOLDER/name_*.tif'"
            )
    column = _counting([numbers for _, numbers in split.values()])
    ordered = sorted(paths, key=lambda path: (int(split[path][1][column]), path))
    _check_numbers(ordered, [split[path][1][column] for path in ordered])
    return ordered


def _is_slice(path: str) -> bool:
    name = os.path.basename(path)
    return name.lower().endswith(SUFFIXES) and not name.startswith(".") and os.path.isfile(path)


def _parts(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A name's words and the numbers between them, without the suffix; the folder counts as a word."""
    stem = os.path.splitext(path)[0]
    folder, name = os.path.split(stem)
    return (folder, *re.split(r"\d+", name)), tuple(re.findall(r"\d+", name))


def _counting(rows: list[tuple[str, ...]]) -> int:
    """Which of the numbers counts the slices: of those that never repeat, the densest (others may be dates)."""
    columns = [[int(n) for n in column] for column in zip(*rows, strict=True)]
    varying = [i for i, column in enumerate(columns) if len(set(column)) > 1] or [len(columns) - 1]
    return min(varying, key=lambda i: (len(set(columns[i])) < len(rows), max(columns[i]) - min(columns[i]), -i))


def _check_numbers(paths: list[str], texts: list[str]) -> None:
    numbers = [int(text) for text in texts]
    steps = [b - a for a, b in zip(numbers, numbers[1:], strict=False)]
    if 0 in steps:
        at = steps.index(0)
        a, b = (os.path.basename(path) for path in paths[at : at + 2])
        raise InputError(
            f"slice number {numbers[at]} is there twice: {a} and {b}; remove one, or give a glob that matches one"
        )
    if set(steps) <= {1} or (len(set(steps)) == 1 and len(paths) >= _SERIES):
        return
    missing, more = [], 0
    for number, text, step in zip(numbers, texts, steps, strict=False):
        more += step - 1
        missing += [str(number + k).zfill(len(text)) for k in range(1, min(step, _NAMED + 1))]
    rest = f" and {more - _NAMED} more" if more > _NAMED else ""
    raise InputError(
        f"slice {', '.join(missing[:_NAMED])}{rest} of {os.path.dirname(paths[0])} is missing "
        f"({os.path.basename(paths[0])} to {os.path.basename(paths[-1])}); restore it, or renumber the slices"
    )
