"""A small phantom, normalised as inference does, with a seed no weights were trained on."""

from __future__ import annotations

import numpy as np
import pytest

from mitoscale.core.normalisation import Normalisation
from mitoscale.ops.phantom import Phantom, make_phantom


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    found = make_phantom((32, 192, 192), objects=14, seed=9)
    counts = np.bincount(found.image.ravel(), minlength=256)
    norm = Normalisation.from_histogram(counts, np.arange(256.0), (0.2, 99.8))
    return found.model_copy(update={"image": norm.apply(found.image)})
