"""Rows that are sorted through runs on disk: as one sort of everything, whatever is held at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mitoscale.storage.rows_sorted_on_disk import SpilledRows


@pytest.mark.parametrize("run", [3, 40, 1000])
def test_rows_come_back_in_order_and_few_at_a_time(run: int, tmp_path: Path) -> None:
    rng, scratch = np.random.default_rng(run), tmp_path / "rows"
    rows = {"a": rng.integers(0, 5, 700).astype(np.float32), "b": rng.permutation(700), "c": rng.random(700) < 0.5}
    spilled, start = SpilledRows(["a", "b"], str(scratch), run), 0
    while start < 700:
        step = int(rng.integers(0, 12))
        spilled.add({name: values[start : start + step] for name, values in rows.items()})
        start += step
    assert len(list(scratch.glob("*"))) >= 700 // (run + 12) - 1
    pieces = list(spilled.in_order())
    order = np.lexsort((rows["b"], rows["a"]))
    for name, values in rows.items():
        np.testing.assert_array_equal(np.concatenate([piece[name] for piece in pieces]), values[order])
        assert pieces[0][name].dtype == values.dtype
    assert run == 1000 or max(len(piece["a"]) for piece in pieces) < 400
    spilled.remove()
    assert not scratch.exists()


def test_nothing_comes_of_nothing(tmp_path: Path) -> None:
    assert not list(SpilledRows(["a"], str(tmp_path / "rows")).in_order())
