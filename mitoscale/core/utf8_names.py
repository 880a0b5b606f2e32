"""Whether a name means the same to Python and to the libraries that read and write files, which take UTF-8."""

from __future__ import annotations

import os
import sys

from mitoscale.core.errors import InputError


def check_encoding(*names: str) -> None:
    """Raise where a path or another argument is not UTF-8, or the locale is not and it has letters outside ASCII.

    Raises
    ------
    InputError

    Examples
    --------
    >>> check_encoding("/data/run")
    """
    for name in names:
        try:
            same = os.fsencode(name).decode("utf-8") == name
        except UnicodeError:
            same = False
        if not same:
            raise InputError(
                f"{name!a} has letters outside ASCII that are no UTF-8 here (this locale takes {sys.getfilesystemencoding()}); "
                "set PYTHONUTF8=1 or LC_ALL=C.UTF-8, or give a name of ASCII letters"
            )
