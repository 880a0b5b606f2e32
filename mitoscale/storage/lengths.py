"""Units of length as microscopes and programs write them."""

from __future__ import annotations

_NANOMETERS = {
    "pm": 1e-3,
    "picometer": 1e-3,
    "å": 0.1,
    "a": 0.1,
    "angstrom": 0.1,
    "nm": 1.0,
    "nanometer": 1.0,
    "µm": 1e3,
    "μm": 1e3,
    "\\u00b5m": 1e3,
    "um": 1e3,
    "micron": 1e3,
    "micrometer": 1e3,
    "mm": 1e6,
    "millimeter": 1e6,
    "cm": 1e7,
    "centimeter": 1e7,
    "m": 1e9,
    "meter": 1e9,
}


def nanometers(unit: str | None) -> float | None:
    """How many nm a unit is; None where it is not known.

    Examples
    --------
    >>> nanometers("Microns"), nanometers("micrometre"), nanometers("pixel")
    (1000.0, 1000.0, None)
    """
    name = str(unit or "").strip().lower().replace("metre", "meter")
    return _NANOMETERS.get(name, _NANOMETERS.get(name.removesuffix("s")))
