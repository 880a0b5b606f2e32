"""Quantities as people read them."""

from __future__ import annotations


def volume_text(nm3: float, *, plain: bool = False) -> str:
    """A volume with its unit, never rounded to nothing.

    Parameters
    ----------
    nm3 : float
        Volume in nm^3.
    plain : bool
        For a terminal: ASCII alone.

    Examples
    --------
    >>> volume_text(1.853e8), volume_text(1.25e10), volume_text(4.2e5), volume_text(0.0, plain=True)
    ('0.185 µm³', '12.50 µm³', '420,000 nm³', '0 um^3')
    """
    cubic = nm3 / 1e9
    if 0 < cubic < 1e-3:
        number, unit = f"{nm3:,.0f}" if nm3 >= 100 else f"{nm3:.3g}", "nm"
    else:
        number, unit = (f"{cubic:,.2f}" if cubic >= 1 else f"{cubic:.3g}"), "µm"
    return f"{number} {unit.replace('µ', 'u')}^3" if plain else f"{number} {unit}³"
