"""SAMs whose files have the same name are told apart by the least that does it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mitoscale.core.errors import InputError
from mitoscale.evaluation.sam_names import sam_names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MITOSCALE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in (
        "A/x.safetensors",
        "B/x.safetensors",
        "A/c/x.safetensors",
        "B/c/x.safetensors",
        "A/x.pth",
        "y.pth",
        "cache/mine.safetensors",
        "A/mine.safetensors",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("sams", "names"),
    [
        (["sam-small"], ["sam-small"]),
        (["A/x.safetensors"], ["x"]),
        (["A/x.safetensors", "B/x.safetensors", "y.pth"], ["A/x", "B/x", "y"]),
        (["A/c/x.safetensors", "B/c/x.safetensors"], ["A/c/x", "B/c/x"]),
        (["A/x.safetensors", "A/x.pth"], ["x.safetensors", "x.pth"]),
        (["A/x.safetensors", "A/x.pth", "B/x.safetensors"], ["A/x", "x.pth", "B/x"]),
        (["mine", "A/mine.safetensors"], ["cache/mine", "A/mine"]),
    ],
)
def test_the_shortest_names_that_differ(folder: Path, sams: list[str], names: list[str]) -> None:
    assert sam_names(sams) == names


def test_a_file_is_known_again(folder: Path) -> None:
    os.symlink("A/x.safetensors", "link.safetensors")
    for again in ("./A/x.safetensors", str(folder / "A/x.safetensors"), "B/../A/x.safetensors", "link.safetensors"):
        with pytest.raises(InputError, match="are the same file"):
            sam_names(["A/x.safetensors", "y.pth", again])
