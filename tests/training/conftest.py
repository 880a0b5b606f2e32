"""A small phantom to train on, and one thread, with which sums are always the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from mitoscale.ops.phantom import make_phantom
from mitoscale.training.samples import Annotated


@pytest.fixture(scope="session")
def annotated() -> Annotated:
    found = make_phantom((32, 96, 96), objects=6, seed=3)
    return Annotated(image=found.image, labels=found.labels.astype(np.int32), spacing=found.spacing)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
