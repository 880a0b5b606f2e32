"""What tables and pictures call SAMs that may have the same file name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mitoscale.core.errors import InputError
from mitoscale.nets.named_weights import find_weights


def sam_names(sams: Sequence[str]) -> list[str]:
    """A name for each SAM: its own or its file's, with as many folders before it as tell it from the others.

    Parameters
    ----------
    sams : sequence of str
        Weights by name or path.

    Returns
    -------
    list of str
        In the same order, all different.

    Raises
    ------
    InputError
        If there are no such weights, or one file is given twice.
    """
    files: dict[Path, str] = {}
    for sam in sams:
        real = find_weights(sam).resolve()
        if real in files:
            raise InputError(f"--sam {files[real]} and --sam {sam} are the same file, {real}; give it once")
        files[real] = sam
    return distinct([[Path(sam).stem, *_endings(find_weights(sam))] for sam in sams])


def distinct(choices: Sequence[Sequence[str]]) -> list[str]:
    """One of each sequence's names, the first that no other has.

    Parameters
    ----------
    choices : sequence of sequence of str
        Names from the shortest to the longest; the longest ones differ.

    Examples
    --------
    >>> distinct([["x", "A/x"], ["x", "B/x"], ["y", "A/y"]])
    ['A/x', 'B/x', 'y']
    """
    chosen = [0] * len(choices)
    while True:
        names = [names[i] for names, i in zip(choices, chosen, strict=True)]
        count = Counter(names)
        longer = [min(i + 1, len(c) - 1) if count[n] > 1 else i for c, i, n in zip(choices, chosen, names, strict=True)]
        if longer == chosen:
            return names
        chosen = longer


def _endings(path: Path) -> list[str]:
    """``b/x``, ``b/x.pth``, ``a/b/x`` ... of ``/a/b/x.pth``, up to the whole path."""
    parts = path.parent.parts
    folders = ["", *("/".join(parts[-n:]) + "/" for n in range(1, len(parts)))]
    return [folder + name for folder in folders for name in (path.stem, path.name)] + [str(path)]
