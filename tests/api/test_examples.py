"""The examples that people copy: the notebook runs from top to bottom, and the README's lines mean what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import mitoscale
from mitoscale.core.request import RunRequest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "jobs" / "notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "clear the outputs before it is committed"
    client: Any = nbclient.NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2
    assert any("report: " in output.get("text", "") or "measure: " in output.get("text", "") for output in shown)


def test_the_readme_names_what_there_is() -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert code
    for block in code:
        compile(block, "README.md", "exec")
        for name in re.findall(r"mitoscale\.(\w+)", block):
            assert name in mitoscale.__all__
        for name in re.findall(r"(\w+)=", block):
            assert name in RunRequest.model_fields or name in ("workers", "progress")
        for name in re.findall(r"\brun\.(\w+)", block):
            assert hasattr(mitoscale.OpenedRun, name)
