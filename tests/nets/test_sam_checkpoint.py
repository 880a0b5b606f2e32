"""SAM checkpoints of others: a trainer's, and what is told of those that are no SAM's."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mitoscale.core.errors import InputError
from mitoscale.nets.sam_checkpoint import read_sam_checkpoint

POSITION = "image_encoder.pos_embed"
STATE = {POSITION: torch.arange(64.0 * 64 * 768).reshape(1, 64, 64, 768), "mask_decoder.a": torch.ones(2)}

TRAINER = """
import os

class Loss:
    def __init__(self, channelwise=True):
        self.channelwise = channelwise

class Loader:
    def __init__(self, *parts, shuffle):
        self.parts, self.shuffle = parts, shuffle
    def __reduce__(self):
        return made, (self.parts, self.shuffle), {"rate": 3}
    def __setstate__(self, state):
        raise AssertionError("code of the checkpoint's package was run")

def made(parts, shuffle):
    if os.environ.get("READING"):
        raise AssertionError("code of the checkpoint's package was run")
    return Loader(*parts, shuffle=shuffle)
"""


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package with a trainer's classes."""
    (tmp_path / "trainer_of_a_test.py").write_text(TRAINER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("trainer_of_a_test")
    sys.modules.pop("trainer_of_a_test", None)


@pytest.mark.parametrize("prefix", ["sam.", "_orig_mod.sam.", ""])
@pytest.mark.parametrize("installed", [True, False])
def test_what_a_trainer_saves(trainer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, installed: bool) -> None:
    """The parameters are found, the rest is named, and nothing of the trainer's package is run."""
    model = torch.nn.Linear(2, 2)
    content = {
        "model_state": {prefix + name: value for name, value in STATE.items()},
        "optimizer_state": torch.optim.AdamW(model.parameters()).state_dict(),
        "best_metric": np.float64(0.3),
        "decoder_state": {"a": torch.zeros(1)},
        "init": {"loss": trainer.Loss(), "loader": trainer.Loader(trainer.Loss, shuffle=True), "size": np.arange(3)},
    }
    path = tmp_path / "best.pt"
    torch.save(content, path)
    monkeypatch.setenv("READING", "1")
    if not installed:
        sys.modules.pop("trainer_of_a_test")
        (tmp_path / "trainer_of_a_test.py").unlink()
    found = read_sam_checkpoint(path)
    assert found.kind == "vit_b" and found.ignored == ("best_metric", "decoder_state", "init", "optimizer_state")
    assert found.state.keys() == STATE.keys() and all(torch.equal(found.state[name], value) for name, value in STATE.items())


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, ("harm",)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state": STATE, "init": Harm()}, tmp_path / "best.pt")
    with pytest.raises(InputError, match="cannot be read"):
        read_sam_checkpoint(tmp_path / "best.pt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            {"model_state": {"sam.a": torch.zeros(1)}},
            "no SAM of type vit_t, vit_b, vit_l or vit_h: it lacks their encoder",
        ),
        ({"model_state": {"sam.a": 3}}, "not a table of tensors like the official ones, or torch-em's model_state"),
        ({"model_state": torch.zeros(1)}, "no SAM of type"),
        ({"state_dict": {POSITION: STATE[POSITION]}}, "not a table of tensors"),
        ([STATE], "not a table of tensors"),
    ],
)
def test_what_is_no_sam_is_told_in_one_line(tmp_path: Path, content: Any, problem: str) -> None:
    torch.save(content, tmp_path / "best.pt")
    with pytest.raises(InputError, match=problem) as caught:
        read_sam_checkpoint(tmp_path / "best.pt")
    assert "\n" not in str(caught.value) and str(tmp_path / "best.pt") in str(caught.value)


def test_tiny_vit_named_as_another_is_refused(tmp_path: Path) -> None:
    torch.save({"image_encoder.patch_embed.seq.0.c.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "vit_b.pt")
    with pytest.raises(InputError, match="is named vit_b, but its tensors are of a vit_t"):
        read_sam_checkpoint(tmp_path / "vit_b.pt")
