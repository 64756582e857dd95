"""Life-cycle hooks receive every event, in order, also where a run fails or is interrupted."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import i2ikd
from i2ikd import UserError
from i2ikd.engine.loop import Interrupted
from i2ikd.experiment.schedule import train_arms
from i2ikd.experiment.tracking import HookCallback


class Diary:
    """A plugin that records the events of students."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.last: Any = None

    def note(self, run: Any, line: str) -> None:
        if run.name.startswith("students/"):
            self.lines.append(line)
            self.last = run

    @i2ikd.hookimpl
    def run_started(self, context: Any) -> None:
        self.note(context, f"run {context.name} seed {context.seed} in {context.folder.name}")

    @i2ikd.hookimpl
    def run_ended(self, context: Any) -> None:
        self.note(context, f"end {type(context.error).__name__}")

    @i2ikd.hookimpl
    def stage_started(self, context: Any) -> None:
        self.note(context.run, f"stage {context.index} {context.stage.name}")

    @i2ikd.hookimpl
    def stage_ended(self, context: Any) -> None:
        self.note(context.run, f"stage {context.index} ended")

    @i2ikd.hookimpl
    def epoch_started(self, context: Any) -> None:
        assert context.losses == {}
        self.note(context.stage.run, f"epoch {context.epoch}")

    @i2ikd.hookimpl
    def epoch_ended(self, context: Any) -> None:
        assert context.learning_rate > 0
        self.note(context.stage.run, f"epoch {context.epoch} ended: {', '.join(context.losses)}")


def test_every_hook_is_called_in_order(laboratory: Any) -> None:
    diary = Diary()
    arms = [{"name": "kd", "recipe": "kd-mri", "feature_epochs": 1}]
    run = laboratory.train(laboratory.graph(arms=arms, plugins=(diary,)), "kd")
    assert diary.lines == [
        f"run students/kd/seed0 seed 0 in {run.folder.path.name}",
        "stage 0 features",
        "epoch 0",
        "epoch 0 ended: total, attention",
        "stage 0 ended",
        "stage 1 output",
        "epoch 0",
        "epoch 0 ended: total, target, imitation",
        "epoch 1",
        "epoch 1 ended: total, target, imitation",
        "stage 1 ended",
        "end NoneType",
    ]
    state = diary.last.network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in laboratory.weights(run).items())


def test_an_interruption_is_an_end_and_going_on_is_a_start(laboratory: Any, stop: Any) -> None:
    arms = [{"name": "kd", "recipe": "kd-mri"}]
    teacher = 4
    diary = Diary()
    with pytest.raises(Interrupted):
        laboratory.train(laboratory.graph(arms=arms, plugins=(diary,)), "kd", callback=stop(steps=teacher + 3))
    assert diary.lines[-2:] == ["epoch 1", "end Interrupted"]
    diary.lines.clear()
    laboratory.train(laboratory.graph(arms=arms, plugins=(diary,)), "kd")
    assert diary.lines[0].startswith("run students/kd/seed0")
    assert diary.lines[1] == "epoch 1 ended: total, attention", "an epoch that goes on is not started twice"
    assert diary.lines[-1] == "end NoneType"


class Explosive:
    """A distiller whose loss is what a test wants."""

    @i2ikd.hookimpl
    def register_distillers(self, register: Any) -> None:
        class Bomb(i2ikd.Distiller):
            uses_taps = False
            uses_teacher = False

            def __init__(self, after: int, how: str) -> None:
                super().__init__()
                self.left, self.how = after, how

            def knowledge(self, teacher: Any, batch: Any) -> Any:
                return {}

            def forward(self, student: Any, knowledge: Any, batch: Any) -> Any:
                self.left -= 1
                if self.left < 0 and self.how == "raise":
                    raise ZeroDivisionError("boom")
                return student.image().mean() * (float("nan") if self.left < 0 else 1)

        register("bomb", Bomb)


@pytest.mark.parametrize("how", ["raise", "nan"])
def test_a_failure_is_reported_with_its_error(how: str, laboratory: Any) -> None:
    diary = Diary()
    arms = [{"name": "arm", "recipe": "joint", "distiller": {"name": "bomb", "after": 3, "how": how}}]
    with pytest.raises(UserError):
        laboratory.train(laboratory.graph(arms=arms, plugins=(diary, Explosive())), "arm")
    assert diary.lines[-2:] == ["epoch 1", "end UserError"]
    assert isinstance(diary.last.error, UserError)


def test_in_lockstep_every_run_reports_its_end(laboratory: Any) -> None:
    diary = Diary()
    bomb = {"recipe": "joint", "distiller": {"name": "bomb", "after": 1, "how": "raise"}}
    graph = laboratory.graph(arms=[{"name": "plain"}, {"name": "bomb", **bomb}], plugins=(diary, Explosive()))
    with pytest.raises(UserError):
        train_arms(
            graph,
            graph.context.experiment.arms,
            0,
            HookCallback(graph.context.registry),
            log=lambda _: None,
            lockstep=True,
        )
    assert diary.lines.count("end UserError") == 2


def test_a_distiller_that_raises_is_named_with_the_place_in_its_code(
    laboratory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = [{"name": "arm", "recipe": "joint", "distiller": {"name": "bomb", "after": 0, "how": "raise"}}]
    message = r"^the term 'bomb': the distiller Bomb failed in .*test_callbacks\.py, line \d+: ZeroDivisionError: "
    with pytest.raises(UserError, match=message) as caught:
        laboratory.train(laboratory.graph(arms=arms, out="out", plugins=(Explosive(),)), "arm")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    monkeypatch.setenv("I2IKD_STRICT_PLUGINS", "1")
    with pytest.raises(ZeroDivisionError):
        laboratory.train(laboratory.graph(arms=arms, out="strict", plugins=(Explosive(),)), "arm")


def test_a_loss_that_is_not_finite_names_the_term_and_the_step(laboratory: Any) -> None:
    arms = [{"name": "arm", "recipe": "joint", "distiller": {"name": "bomb", "after": 3, "how": "nan"}}]
    with pytest.raises(UserError, match=r"students/arm/seed0: the term 'bomb' became nan in epoch 1, step 1; lower "):
        laboratory.train(laboratory.graph(arms=arms, plugins=(Explosive(),)), "arm")


def test_a_hook_that_raises_costs_a_line_and_nothing_else(
    laboratory: Any, capsys: pytest.CaptureFixture[str], identical: Any
) -> None:
    class Broken:
        @i2ikd.hookimpl
        def epoch_ended(self, context: Any) -> None:
            raise RuntimeError("no tracker there")

    disturbed = laboratory.train(laboratory.graph(out="disturbed", plugins=(Broken(),)), "student")
    assert "epoch_ended of the plugin probe-0 failed: RuntimeError: no tracker there" in capsys.readouterr().err
    quiet = laboratory.train(laboratory.graph(out="quiet"), "student")
    assert identical(laboratory.weights(disturbed), laboratory.weights(quiet))
