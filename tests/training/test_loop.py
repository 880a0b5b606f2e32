"""The training loop: stopped and resumed is the same as never stopped, and a bad loss keeps the last good state."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from mitoscale.core.errors import InputError, StoppedError
from mitoscale.nets.unet import UNet, UNetConfig
from mitoscale.training.checkpoint import Progress, steps_in
from mitoscale.training.loop import LossError, Schedule, train
from mitoscale.training.samples import Annotated
from mitoscale.training.unet import UNetTask

CONFIG = UNetConfig(widths=(4, 8), context_nm=(-20.0, 0.0, 20.0))


def schedule(steps: int = 6) -> Schedule:
    return Schedule(steps=steps, score_every=3, learning_rate=1e-2)


def make_task(annotated: Annotated, seed: int = 0) -> UNetTask:
    torch.manual_seed(seed)
    return UNetTask(UNet(CONFIG), [annotated], [annotated], batch=2, size=32, bodies=0.0, seed=seed)


class Killed(BaseException):
    """What stops a run from outside."""


class Log:
    """Remembers what the loop reports; stops it at a step like a kill would."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.seen: list[Progress] = []
        self.stop_at = stop_at

    def __call__(self, progress: Progress) -> None:
        self.seen.append(progress)
        if progress.step == self.stop_at:
            raise Killed


def test_resumed_is_bitwise_the_same_as_uninterrupted(annotated: Annotated, tmp_path: Path, one_thread: None) -> None:
    whole = Log()
    expected = train(make_task(annotated), schedule(), tmp_path / "whole", whole)
    with pytest.raises(Killed):
        train(make_task(annotated), schedule(), tmp_path / "stopped", Log(stop_at=3))
    assert torch.load(tmp_path / "stopped", weights_only=False)["standing"]["step"] == 3
    torch.manual_seed(123)  # another process has another random state and other first weights
    rest = Log()
    task = make_task(annotated)
    for parameter in task.model.parameters():
        nn.init.normal_(parameter)
    resumed = train(task, schedule(), tmp_path / "stopped", rest)
    assert [p.step for p in rest.seen] == [6]
    for name, value in expected.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert [replace(p, seconds=0) for p in resumed.history] == [replace(p, seconds=0) for p in expected.history]
    assert rest.seen[-1].loss == whole.seen[-1].loss and rest.seen[-1].score == whole.seen[-1].score
    assert rest.seen[-1].best == max(p.score for p in whole.seen)
    a, b = (torch.load(tmp_path / n, weights_only=False) for n in ("whole", "stopped"))
    assert all(torch.equal(a["model"][n], b["model"][n]) for n in a["model"])


def test_stopped_between_two_scores_is_the_same_as_uninterrupted(annotated: Annotated, tmp_path: Path, one_thread: None) -> None:
    """Whoever stops a training before its first score loses no more than the seconds between two checkpoints."""
    often = replace(schedule(), keep_every=0.0)
    whole = Log()
    expected = train(make_task(annotated), often, tmp_path / "whole", whole)
    task = make_task(annotated)
    made = task.loss

    def loss(step: int) -> torch.Tensor:
        if step == 2:
            raise Killed
        return made(step)

    task.loss = loss  # type: ignore[method-assign]
    with pytest.raises(Killed):
        train(task, often, tmp_path / "stopped", Log())
    assert torch.load(tmp_path / "stopped", weights_only=False)["standing"]["step"] == 2
    rest = Log()
    resumed = train(make_task(annotated, seed=0), often, tmp_path / "stopped", rest)
    assert [p.step for p in rest.seen] == [3, 6]
    for name, value in expected.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert [replace(p, seconds=0) for p in resumed.history] == [replace(p, seconds=0) for p in expected.history]


def test_weights_that_are_not_finite_are_not_kept(tmp_path: Path) -> None:
    """The step before a loss that is not finite may have spoilt the weights already."""
    path = tmp_path / "c"
    task = Broken(bad_step=99)
    assert isinstance(task.model, nn.Linear)
    with pytest.raises(LossError, match="nothing was kept"):
        train(task, replace(schedule(), keep_every=0.0, learning_rate=float("inf")), path, Log())
    assert not path.exists()


def test_a_finished_checkpoint_trains_no_further(annotated: Annotated, tmp_path: Path, one_thread: None) -> None:
    first = train(make_task(annotated), schedule(3), tmp_path / "c", Log())
    log = Log()
    again = train(make_task(annotated), schedule(3), tmp_path / "c", log)
    assert log.seen == []
    assert all(torch.equal(v, again.model.state_dict()[n]) for n, v in first.model.state_dict().items())


class Broken:
    """A task whose loss stops being finite."""

    def __init__(self, bad_step: int, value: float = float("nan"), size: int = 2) -> None:
        self.model: nn.Module = nn.Linear(size, 1)
        self.size = size
        self.calls, self.bad_step, self.value = 0, bad_step, value

    def loss(self, step: int) -> torch.Tensor:
        self.calls = step + 1
        loss = self.model(torch.ones(1, self.size)).square().sum()
        return loss * self.value if self.calls == self.bad_step else loss

    def score(self, model: nn.Module) -> dict[str, float]:
        return {"score": 1.0 / self.calls}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_with_the_last_good_state(tmp_path: Path, value: float) -> None:
    path = tmp_path / "c"
    with pytest.raises(LossError, match=r"loss became (nan|inf) at step 4 of 6") as caught:
        train(Broken(bad_step=5, value=value), schedule(), path, Log())
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert caught.value.trained is not None and [p.step for p in caught.value.trained.history] == [3]
    assert all(torch.isfinite(v).all() for v in caught.value.trained.model.state_dict().values())
    state = torch.load(path, weights_only=False)
    assert state["standing"]["step"] == 3 and all(torch.isfinite(v).all() for v in state["model"].values())
    log = Log()
    train(Broken(bad_step=99), schedule(), path, log)
    assert [p.step for p in log.seen] == [6]


def test_the_best_scored_weights_are_returned(tmp_path: Path) -> None:
    """Scores of this task fall, so the first scored weights are the ones to keep."""
    log = Log()
    best = train(Broken(bad_step=99), schedule(9), tmp_path / "c", log).model
    assert [p.score for p in log.seen] == sorted((p.score for p in log.seen), reverse=True)
    first = train(Broken(bad_step=99), schedule(9), tmp_path / "c", Log()).model
    state = torch.load(tmp_path / "c", weights_only=False)
    assert all(torch.equal(v, first.state_dict()[n]) for n, v in best.state_dict().items())
    assert any(not torch.equal(v, state["averaged"][n]) for n, v in best.state_dict().items())


def test_the_learning_rate_warms_up_and_falls() -> None:
    plan = Schedule(steps=100, learning_rate=1.0)
    rates = [plan.rate(s) for s in range(100)]
    assert rates[0] == pytest.approx(0.2) and max(rates) == 1.0 and rates[-1] < 0.01
    top = rates.index(1.0)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert Schedule(steps=1, learning_rate=1.0).rate(0) == 1.0


def test_training_lowers_the_loss(annotated: Annotated, tmp_path: Path, one_thread: None) -> None:
    log = Log()
    train(make_task(annotated), Schedule(steps=60, score_every=10, learning_rate=1e-2), tmp_path / "c", log)
    assert log.seen[-1].loss < 0.9 * log.seen[0].loss
    assert log.seen[-1].seconds >= log.seen[0].seconds > 0


def test_training_stops_early_where_scores_rise_no_more(tmp_path: Path) -> None:
    """Scores of this task fall from the first one on."""
    log = Log()
    patient = replace(schedule(30), patience=2)
    train(Broken(bad_step=99), patient, tmp_path / "c", log)
    assert [p.step for p in log.seen] == [3, 6, 9]
    again = Log()
    train(Broken(bad_step=99), patient, tmp_path / "c", again)
    assert again.seen == [], "a resumed training knows that it had stopped"


def test_without_scores_training_never_stops_early(tmp_path: Path) -> None:
    task = Broken(bad_step=99)
    task.score = lambda model: {}  # type: ignore[method-assign]
    log = Log()
    last = train(task, replace(schedule(12), patience=1, average=0.0), tmp_path / "c", log).model
    assert [p.step for p in log.seen] == [3, 6, 9, 12]
    assert all(torch.equal(v, task.model.state_dict()[n]) for n, v in last.state_dict().items()), "the last weights are kept"


def test_a_checkpoint_that_the_disk_has_no_room_for_stops_with_the_systems_reason(tmp_path: Path) -> None:
    """The older one stays; torch's own words for it would help nobody."""
    path = tmp_path / "c"
    train(Broken(bad_step=99), schedule(3), path, Log())
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StoppedError, match=r"^cannot write .*: File too large; free or repair the disk"):
            train(Broken(bad_step=99), schedule(6), path, Log())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("where", [0.3, 0.6, 0.9])
def test_a_checkpoint_with_a_broken_byte_is_refused(tmp_path: Path, where: float) -> None:
    path = tmp_path / "c"
    train(Broken(bad_step=99, size=4000), schedule(3), path, Log())
    content = bytearray(path.read_bytes())
    assert len(content) > 40000, "most of it are weights"
    content[int(where * len(content))] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is damaged .*; delete it to start anew"):
        train(Broken(bad_step=99, size=4000), schedule(6), path, Log())


def test_what_differs_from_a_checkpoint_is_named(tmp_path: Path) -> None:
    was = {"steps": 4, "learning_rate": None, "volume and truth": "ab"}
    train(Broken(bad_step=99), schedule(3), tmp_path / "c", Log(), token=json.dumps(was))
    for now, said in (
        (was | {"steps": 8}, r"\(steps is 4 there, 8 here\)"),
        (was | {"learning_rate": 0.1}, r"\(learning-rate is None there, 0.1 here\)"),
        (was | {"volume and truth": "cd"}, r"\(volume and truth are others\)"),
    ):
        with pytest.raises(InputError, match=f"of other settings or data {said}; delete it"):
            train(Broken(bad_step=99), schedule(6), tmp_path / "c", Log(), token=json.dumps(now))


def test_steps_behind_a_checkpoint(tmp_path: Path) -> None:
    assert steps_in(tmp_path / "c", "these") == 0
    train(Broken(bad_step=99), schedule(3), tmp_path / "c", Log(), token="these")
    assert steps_in(tmp_path / "c", "these") == 3
    assert steps_in(tmp_path / "c", "those") == 0, "it is not gone on from"
    (tmp_path / "c").write_bytes(b"no checkpoint")
    assert steps_in(tmp_path / "c", "these") == 0


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    train(Broken(bad_step=99), schedule(3), tmp_path / "c", Log(), token="these")
    before = (tmp_path / "c").read_bytes()
    with pytest.raises(InputError, match="of other settings or data; delete it"):
        train(Broken(bad_step=99), schedule(6), tmp_path / "c", Log(), token="those")
    assert (tmp_path / "c").read_bytes() == before


def test_only_what_is_not_frozen_moves(tmp_path: Path) -> None:
    task = Broken(bad_step=99)
    assert isinstance(task.model, nn.Linear)
    task.model.bias.requires_grad_(False)
    bias, weight = task.model.bias.clone(), task.model.weight.clone()
    train(task, schedule(), tmp_path / "c", Log())
    assert torch.equal(task.model.bias, bias) and not torch.equal(task.model.weight, weight)


def test_the_plain_schedule_is_adam_at_a_constant_rate() -> None:
    plan = Schedule(steps=100, learning_rate=1e-5, plain=True)
    assert {plan.rate(s) for s in range(100)} == {1e-5}
    optimiser = plan.optimiser(nn.Linear(2, 1))
    assert type(optimiser) is torch.optim.Adam and optimiser.defaults["weight_decay"] == 0
