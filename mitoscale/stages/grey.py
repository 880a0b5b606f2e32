"""Grey values of a volume: their histogram, and the normalisation that follows from it."""

from __future__ import annotations

import numpy as np

from mitoscale.core.errors import InputError
from mitoscale.core.plan import RunPlan
from mitoscale.core.volume import Normalisation
from mitoscale.storage.arrays import open_array
from mitoscale.storage.layout import RunFolder

_FLOAT_BINS = 65_536


def histogram_values(dtype: str, value_range: tuple[float, float] | None) -> np.ndarray:
    """(bins,) float64: the grey value each bin of a histogram stands for."""
    if value_range is not None:
        return np.linspace(*value_range, _FLOAT_BINS)
    info = np.iinfo(dtype)
    return np.arange(info.min, info.max + 1, dtype=np.float64)


def normalisation(plan: RunPlan, value_range: tuple[float, float] | None) -> Normalisation:
    """The volume's normalisation, from the histograms of all its blocks.

    Raises
    ------
    InputError
        If the volume is constant.
    """
    settings = plan.settings.convert
    counts = open_array(RunFolder(plan.run).histograms, missing="fill").read_all().sum(axis=(0, 1, 2))
    values = histogram_values(plan.spec.dtype, value_range)
    try:
        return Normalisation.from_histogram(counts, values, settings.percentiles, settings.invert)
    except ValueError as error:
        raise InputError(
            f"convert: {settings.source} has no contrast ({error}): nothing can be found in it; is it the right file?"
        ) from error
