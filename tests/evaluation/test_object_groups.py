"""Objects of two volumes as groups: each kind, each object once, and sums that hold for any labels."""

from __future__ import annotations

import numpy as np
import pytest

from mitoscale.evaluation.object_groups import KINDS, group_objects
from mitoscale.evaluation.object_metrics import match, object_scores
from mitoscale.ops.contingency import contingency


@pytest.mark.parametrize(
    ("here", "there", "kinds", "differ"),
    [
        ([1, 1, 1, 0], [5, 5, 5, 0], ["matched"], [0]),
        ([1, 1, 1, 1], [5, 0, 0, 0], ["changed"], [3]),
        ([1, 1, 2, 0], [5, 5, 5, 0], ["split"], [1]),
        ([1, 1, 1, 0], [5, 5, 6, 0], ["merged"], [1]),
        ([1, 1, 1, 1, 2], [5, 5, 6, 6, 6], ["mixed"], [3]),
        ([1, 0, 0, 0], [0, 0, 5, 5], ["new", "missing"], [1, 2]),
        ([0, 0], [0, 0], [], []),
    ],
)
def test_each_kind(here: list[int], there: list[int], kinds: list[str], differ: list[int]) -> None:
    found = group_objects(contingency(np.array(here, np.uint32), np.array(there, np.uint64)))
    assert [KINDS[kind] for kind in found.kind] == kinds
    assert found.differ.tolist() == differ


def test_each_object_is_in_one_group_and_matches_agree_with_the_scores() -> None:
    rng = np.random.default_rng(4)
    here = np.repeat(rng.integers(0, 40, 900), 7)
    there = np.where(rng.random(len(here)) < 0.9, np.roll(here, 2), np.repeat(rng.integers(0, 40, 700), 9))
    table = contingency(here, there)
    found = group_objects(table)
    for labels, counts, voxels, side in (
        (found.labels_here, found.count_here, found.voxels_here, here),
        (found.labels_there, found.count_there, found.voxels_there, there),
    ):
        assert sorted(labels) == np.unique(side[side > 0]).tolist()
        assert counts.sum() == len(labels) and voxels.sum() == np.count_nonzero(side)
    scores = object_scores([match(table)])
    assert np.count_nonzero(found.iou >= 0.5) == scores["tp50"] > 5
    for group in range(len(found.kind)):
        ids = found.members(group)
        assert [len(one) for one in ids] == [found.count_here[group], found.count_there[group]]
        own, other = np.isin(here, ids[0]), np.isin(there, ids[1])
        best = (here == found.best_here[group]) & (there == found.best_there[group]) & own & other
        assert found.differ[group] == np.count_nonzero((own | other) & ~best)
