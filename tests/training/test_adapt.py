"""Adapting in rounds: what is better is taken, what is worse is not, and a stop loses nothing.

Answers are given, and networks are tiny.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mitoscale.core.adapt_settings import AdaptSettings
from mitoscale.core.errors import InputError
from mitoscale.core.geometry import Region
from mitoscale.evaluation.tissue_windows import Window
from mitoscale.nets.unet import UNet, UNetConfig
from mitoscale.training.adapt import Adaptation
from mitoscale.training.adapt_answers import Answer
from mitoscale.training.adapt_state import AdaptState, Stage, state_path
from mitoscale.training.checkpoint import Progress

SPACING = (10.0, 10.0, 10.0)
TRUTH = np.pad(np.ones((24, 24), bool), 20)


class Given:
    """In the asker's place: how well its answers agree, 0..1, one number for all that is asked for the same purpose.

    Asked are: before; twice after the statistics; then of each round the windows to learn from, and three times those held out.
    """

    def __init__(self, *agreements: float, asked: Sequence[int] = (1, 2, *(1, 3) * 5)) -> None:
        self.agreements = [agreement for agreement, times in zip(agreements, asked, strict=False) for _ in range(times)]
        self.asked = 0

    def answers(self, model: UNet, windows: Sequence[Window]) -> list[Answer]:
        agreement = self.agreements[self.asked]
        self.asked += 1
        inside = TRUTH & (np.arange(64) < 20 + 24 * agreement)  # the views that do not agree have lost a part
        views = np.stack([TRUTH, TRUTH, TRUTH, inside]).astype(np.float32) * np.float32(0.95)
        found = TRUTH.astype(np.int32)
        whole = Answer(views=views, changed=views[3], profiles=found, wide=found, judged=found, outline=agreement * found.sum())
        return [whole for _ in windows]


@pytest.fixture
def network() -> UNet:
    torch.manual_seed(0)
    return UNet(UNetConfig(widths=(4, 8), context_nm=(0.0,))).eval().requires_grad_(False)


def adaptation(folder: Path, given: Given, told: list[Stage] | None = None, **settings: Any) -> Adaptation:
    """An adaptation to four windows, each with the same square."""
    rng = np.random.default_rng(0)
    windows = [
        Window(
            image=np.where(TRUTH, 90, 180).astype(np.uint8)[None] + rng.integers(0, 30, (1, 64, 64)).astype(np.uint8),
            own=0,
            region=Region(start=(z, 0, 0), stop=(z + 1, 64, 64)),
        )
        for z in range(4)
    ]
    steps: list[Progress] = []
    return Adaptation(
        settings=AdaptSettings(
            volume="v", out=str(folder / "w.safetensors"), **{"steps": 2, "batch": 2, "crop": 64, "threads": 1, **settings}
        ),
        token='{"token": 1}',
        asker=given,  # type: ignore[arg-type]
        windows=windows,
        spacing=SPACING,
        truths=[],
        tell=(told if told is not None else []).append,
        report=steps.append,
    )


def names(state: AdaptState) -> list[tuple[str, bool]]:
    """Each stage, and whether it was taken."""
    return [(stage.name, stage.taken) for stage in state.stages]


def test_what_is_better_is_taken_and_the_rounds_end_with_the_first_that_is_not(tmp_path: Path, network: UNet) -> None:
    # before, statistics, round 1: windows to learn from and those held out, round 2 alike
    given, told = Given(0.7, 0.8, 0.8, 0.9, 0.9, 0.85), []
    state = adaptation(tmp_path, given, told, rounds=5).run(network)
    assert names(state) == [("before", True), ("statistics", True), ("round 1", True), ("round 2", False)]
    assert state.best.name == "round 1" and state.refused == "" and told == list(state.stages)
    learnt = dict(state.model.named_parameters())["down.0.0.weight"]
    assert not torch.equal(learnt, dict(network.named_parameters())["down.0.0.weight"])
    assert {p.name for p in tmp_path.iterdir()} == {"w.checkpoint"}, "the checkpoints of rounds that ended are gone"


@pytest.mark.parametrize("best", [0, 1, 2])
def test_of_each_part_of_the_volumes_statistics_the_best_is_taken(best: int, tmp_path: Path, network: UNet) -> None:
    agreements = [0.85, 0.82, 0.8]
    agreements[best] = 0.9
    state = adaptation(tmp_path, Given(0.7, 0.6, 0.5, 0.8, *agreements, asked=(1,) * 7), rounds=1).run(network)
    statistics, last = state.stages[1:]
    assert (statistics.statistics, statistics.taken) == (0.5, False), "of two that are worse the better one is told"
    assert last.taken and last.statistics == (0.0, 0.5, 1.0)[best] and last.record()["statistics"] == last.statistics
    again = adaptation(tmp_path, Given(), rounds=1).run(network)
    assert again.stages == state.stages, "it is kept with the state"


def test_nothing_better_is_refused_and_the_network_stays(tmp_path: Path, network: UNet) -> None:
    state = adaptation(tmp_path, Given(0.9, 0.8, 0.9, 0.9)).run(network)
    assert names(state) == [("before", True), ("statistics", False), ("round 1", False)]
    assert "nothing was gained: the agreement was 0." in state.refused
    for one, other in zip(state.model.state_dict().values(), network.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_without_ground_to_learn_from_no_step_is_made(tmp_path: Path, network: UNet) -> None:
    given = Given(0.1, 0.15)
    state = adaptation(tmp_path, given).run(network)
    assert names(state) == [("before", True), ("statistics", False)] and given.asked == 3
    assert "no ground to learn from" in state.refused and "turned round" in state.refused


def test_where_all_is_lost_it_is_refused(tmp_path: Path, network: UNet) -> None:
    class Collapsed(Given):
        def answers(self, model: UNet, windows: Sequence[Window]) -> list[Answer]:
            found = super().answers(model, windows)
            nothing = np.zeros((4, 64, 64), np.float32)
            empty = np.zeros((64, 64), np.int32)
            lost = Answer(views=nothing, changed=nothing[0], profiles=empty, wide=empty, judged=empty, outline=0.0)
            return found if self.asked in (1, 4) else [lost for _ in windows]

    state = adaptation(tmp_path, Collapsed(0.9, 0.9, 0.9, 0.9)).run(network)
    assert names(state) == [("before", True), ("statistics", False), ("round 1", False)]
    assert "next to nothing" in state.refused


def test_no_pseudo_label_ends_the_rounds(tmp_path: Path, network: UNet) -> None:
    class Unjudged(Given):
        def answers(self, model: UNet, windows: Sequence[Window]) -> list[Answer]:
            found = super().answers(model, windows)
            none = np.zeros((64, 64), np.int32)
            return [Answer(**{**vars(a), "judged": none}) for a in found]

    state = adaptation(tmp_path, Unjudged(0.7, 0.9, 0.9)).run(network)
    assert names(state)[-1] == ("round 1", False) and "no window holds a profile" in state.stages[-1].doubts
    assert state.refused == "", "the statistics were better"


def test_killed_in_a_round_it_ends_as_if_it_had_not_been(tmp_path: Path, network: UNet, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = adaptation(tmp_path / "whole", Given(0.7, 0.8, 0.8, 0.9), rounds=1, steps=4).run(network)

    class KilledError(Exception):
        pass

    def killed(step: Progress) -> None:
        if step.step == 2:
            raise KilledError

    first = adaptation(tmp_path / "cut", Given(0.7, 0.8, 0.8), rounds=1, steps=4)
    with pytest.raises(KilledError):
        Adaptation(**{**vars(first), "report": killed}).run(network)
    given = Given(0.8, 0.9, asked=(1, 3))
    rest = adaptation(tmp_path / "cut", given, rounds=1, steps=4)
    steps: list[int] = []
    state = Adaptation(**{**vars(rest), "report": lambda p: steps.append(p.step)}).run(network)
    assert given.asked == 4 and steps == [3, 4], "neither a stage nor a step was done again"
    assert names(state) == names(whole)
    for name, value in state.model.state_dict().items():
        torch.testing.assert_close(value, whole.model.state_dict()[name], msg=name)


def test_a_state_of_other_settings_or_a_broken_one_is_refused(tmp_path: Path, network: UNet) -> None:
    begun = adaptation(tmp_path, Given(0.9, 0.8, 0.9, 0.9))
    begun.run(network)
    with pytest.raises(InputError, match=r"other settings or data .*token is 1 there, 2 here"):
        Adaptation(**{**vars(begun), "token": '{"token": 2}'}).run(network)
    path = state_path(tmp_path / "w.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="is damaged"):
        begun.run(network)


def test_other_truths_and_phantoms_get_their_share(tmp_path: Path) -> None:
    from dataclasses import replace

    from mitoscale.training.samples import Annotated

    one = Annotated(image=np.zeros((1, 64, 64), np.uint8), labels=TRUTH.astype(np.int32)[None], spacing=SPACING)
    with_truth = replace(adaptation(tmp_path, Given(), volume_share=0.4), truths=[one, replace(one, share=3.0)])
    shares = [v.share for v in with_truth._mixed([one, one, one])]
    np.testing.assert_allclose(shares, [0.2, 0.2, 0.2, 0.1, 0.3])
