"""Which fragments touch: what a plain search finds, in blocks of any shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mitoscale.ops.touching_in_block import touching_pairs

LABELS = arrays.arrays(
    np.uint32, arrays.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.sampled_from([0, 0, 0, 1, 2, 9])
)


@settings(max_examples=100)
@given(LABELS)
def test_touching_pairs_are_those_of_a_plain_search(fragments: np.ndarray) -> None:
    expected = set()
    for z, y, x in np.argwhere(fragments):
        around = fragments[max(z - 1, 0) : z + 2, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        mine = int(fragments[z, y, x])
        expected |= {(mine, int(other)) for other in np.unique(around) if other > mine}
    found = touching_pairs(fragments)
    assert found.dtype == np.uint32
    assert [tuple(pair) for pair in found.tolist()] == sorted(expected)


@pytest.mark.parametrize("step", [(1, 1, 1), (1, -1, 1), (1, 1, -1), (1, -1, -1), (0, 1, -1), (1, 0, 0), (0, 0, 1)])
def test_one_contact_in_a_corner_of_an_empty_block_is_found(step: tuple[int, int, int]) -> None:
    fragments = np.zeros((5, 6, 7), np.uint32)
    fragments[tuple(0 if s >= 0 else n - 1 for s, n in zip(step, fragments.shape, strict=True))] = 2**32 - 1
    fragments[tuple(s if s >= 0 else n - 2 for s, n in zip(step, fragments.shape, strict=True))] = 1
    assert touching_pairs(fragments).tolist() == [[1, 2**32 - 1]]


def test_fragments_apart_and_empty_blocks_touch_nothing() -> None:
    fragments = np.zeros((3, 5, 5), np.uint32)
    assert touching_pairs(fragments).shape == (0, 2)
    fragments[:, 0], fragments[:, 2], fragments[:, 4] = 1, 2, 3
    assert touching_pairs(fragments).shape == (0, 2)
