"""The small sister of benchmarks/chaos.py: a run whose workers, data and client are destroyed comes out bit for bit."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mitoscale.ops.phantom import make_phantom
from mitoscale.storage.tiff_writing import write_tiff

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_chaos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import chaos

    monkeypatch.setattr(chaos, "YOUNG_SECONDS", 4.0)
    phantom = make_phantom((16, 64, 640), objects=14, seed=5, touching=0.0)
    write_tiff(str(tmp_path / "row.tif"), phantom.image, phantom.spacing)
    (tmp_path / "scratch").mkdir()
    shaken = chaos.Chaos(str(tmp_path / "row.tif"), ["--block", "16,64,64"], tmp_path / "scratch", seed=3)
    result = shaken.go({"raise": 3, "store": 1, "die": 1, "memory": 1}, {"kill": 1, "client": 1})
    for name in ("chaos", "chaos_faults"):
        sys.modules.pop(name, None)
    assert result["labels_bit_identical"] and result["objects"] > 3
    assert result["exit_code_with_poison"] == 3 and result["quarantined"]["detect"] == ["z000_y000_x000"]
    assert result["objects_away_from_it"] > 1 and result["objects_away_from_it_unchanged"]
    assert result["exit_code_of_retry"] == 0 and result["quarantined_after_retry"] == {}
    assert result["faults"] >= 3 + 1 + 1 + 1 + 1 + 1 + 1
    assert all(row["told"] + row["client_killed_before"] == row["times"] for row in result["table"]), result["untold"]
    reports = {path.name for path in (tmp_path / "scratch" / "reports").iterdir()}
    assert "detect.html" in reports and "Dask Performance Report" in (tmp_path / "scratch" / "reports" / "detect.html").read_text()
