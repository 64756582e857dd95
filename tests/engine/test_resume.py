"""An interrupted run that goes on ends with the weights and the history of one that was never interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from timm.optim import list_optimizers

import i2ikd
from i2ikd import UserError
from i2ikd.engine import checkpoint
from i2ikd.engine.loop import Interrupted

ARMS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "two stages, schedule": (
        {"recipe": "kd-mri"},
        ["training.schedule=step", "training.decay_epochs=1", "training.decay_rate=0.5", "training.warmup_epochs=1"],
    ),
    "moving average, best weights": (
        {"recipe": "kd-mri", "feature_epochs": 1},
        ["training.ema=0.6", "training.select=best", "training.validate_every=1", "training.schedule=cosine"],
    ),
    "distiller with parameters of its own": ({"recipe": "joint", "distiller": {"name": "fitnet"}}, []),
    "distiller that draws random masks": ({"recipe": "joint", "distiller": {"name": "generation"}}, []),
    "distiller that is prepared": (
        {"recipe": "kd-mri", "feature_epochs": 1, "epochs": 1, "distiller": {"name": "overhaul"}},
        [],
    ),
    "random views": ({"recipe": "imitation"}, ['training.augmentations=["flip", "shift", "mix"]']),
    "random masks": ({"recipe": "imitation"}, ["task.mask.fixed=false"]),
    "ratio": ({"recipe": "joint", "ratio": 0.7, "alpha": 0.6}, []),
    "scheduled weight": (
        {
            "recipe": "custom",
            "stages": [
                {
                    "name": "a",
                    "terms": [
                        {"distiller": "target"},
                        {"distiller": "imitation", "weight": {"start": 1, "end": 0, "until": 0.6}},
                        {"distiller": "attention", "ratio": 0.3},
                    ],
                    "epochs": 3,
                }
            ],
        },
        [],
    ),
    "relates samples": ({"recipe": "joint", "distiller": {"name": "attention", "mode": "code"}}, []),
    "stage settings of its own": (
        {
            "recipe": "custom",
            "stages": [
                {"name": "a", "terms": [{"distiller": "target"}], "training": {"optimizer": "lion", "ema": 0.5}},
                {"name": "b", "terms": [{"distiller": "imitation"}], "start": "fresh", "epochs": 1},
            ],
        },
        ["training.clip_grad=0.01"],
    ),
}


@pytest.mark.parametrize("case", ARMS)
def test_stopping_after_every_step_changes_nothing(
    case: str, laboratory: Any, stop: Any, again_and_again: Any, identical: Any
) -> None:
    options, changes = ARMS[case]
    overrides = ["teacher.training.epochs=1", *changes]
    arms = [{"name": "arm", **options}]
    whole = laboratory.train(laboratory.graph(*overrides, arms=arms, out="whole"), "arm")

    def work(callback: Any) -> None:
        laboratory.train(laboratory.graph(*overrides, arms=arms, out="parts"), "arm", callback=callback)

    interruptions = again_and_again(work, lambda: stop(steps=1))
    steps = 2 * (1 + sum(stage.epochs for stage in whole.stages))
    assert interruptions == steps, "the last steps of epochs and of stages, and the teacher's, are among them"
    parts = laboratory.graph(*overrides, arms=arms, out="parts").arm_run(laboratory.experiment(arms=arms).arms[0], 0)
    assert parts.folder.read("history") == whole.folder.read("history")
    assert identical(laboratory.weights(parts), laboratory.weights(whole))


@pytest.mark.parametrize(
    "optimizer",
    [
        "sgd",
        "adafactor",
        pytest.param("muon", marks=pytest.mark.skipif("muon" not in list_optimizers(), reason="timm 1.0.20 has muon")),
    ],
)
def test_the_state_of_an_optimiser_is_kept(optimizer: str, laboratory: Any, stop: Any, identical: Any) -> None:
    change = f"training.optimizer={optimizer}"
    whole = laboratory.train(laboratory.graph(change, out="whole"), "student")
    with pytest.raises(Interrupted):
        laboratory.train(laboratory.graph(change, out="parts"), "student", callback=stop(steps=3))
    parts = laboratory.train(laboratory.graph(change, out="parts"), "student")
    assert identical(laboratory.weights(parts), laboratory.weights(whole))


def test_a_request_during_the_end_of_an_epoch_is_not_lost(laboratory: Any, stop: Any, identical: Any) -> None:
    whole = laboratory.train(laboratory.graph(out="whole"), "student")
    for epoch in range(2):
        with pytest.raises(Interrupted):
            laboratory.train(laboratory.graph(out="parts"), "student", callback=stop(at_epoch_end=True))
        state = checkpoint.load(next((laboratory.folder / "parts" / "store").glob("*/checkpoint.pt")))
        assert (state["trainer"]["epoch"], state["trainer"]["step"]) == (epoch + 1, 0)
    parts = laboratory.train(laboratory.graph(out="parts"), "student")
    assert identical(laboratory.weights(parts), laboratory.weights(whole))


def test_a_crash_goes_on_from_the_last_checkpoint(laboratory: Any, stop: Any, identical: Any) -> None:
    class Crash(stop):
        def on_step_end(self) -> None:
            self.left -= 1
            if self.left == 0:
                raise ValueError("a crash")

    whole = laboratory.train(laboratory.graph(out="whole"), "control")
    with pytest.raises(Interrupted):
        laboratory.train(laboratory.graph(out="parts"), "control", callback=stop(steps=3))
    with pytest.raises(ValueError, match="a crash"):
        laboratory.train(laboratory.graph(out="parts"), "control", callback=Crash(steps=3))
    parts = laboratory.train(laboratory.graph(out="parts"), "control")
    assert parts.folder.read("history") == whole.folder.read("history")
    assert identical(laboratory.weights(parts), laboratory.weights(whole))


def test_random_outputs_of_a_plugin_continue_too(
    laboratory: Any, stop: Any, again_and_again: Any, identical: Any
) -> None:
    def work(out: str, callback: Any = None) -> Any:
        return laboratory.train(laboratory.graph(arms=[NOISY], out=out, plugins=(Noisy(),)), "noisy", callback=callback)

    whole = work("whole")
    assert again_and_again(lambda callback: work("parts", callback), lambda: stop(steps=1)) > 0
    assert identical(laboratory.weights(work("parts")), laboratory.weights(whole))


NOISY = {"name": "noisy", "recipe": "joint", "distiller": "noisy"}


class Noisy:
    """A distiller with noise in its knowledge, and a moving average of it in its state."""

    @i2ikd.hookimpl
    def register_distillers(self, register: Any) -> None:
        class NoisyTeacher(i2ikd.Distiller):
            uses_taps = False

            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("level", torch.zeros(()))

            def knowledge(self, teacher: Any, batch: Any) -> Any:
                return {"image": teacher.image() + 0.1 * torch.randn_like(teacher.image())}

            def forward(self, student: Any, knowledge: Any, batch: Any) -> Any:
                dropped = torch.nn.functional.dropout(student.image() - knowledge["image"], 0.3)
                return dropped.abs().mean() * (1 + self.level)

            def end_step(self) -> None:
                self.level += 0.1

        register("noisy", NoisyTeacher)


class TestCheckpoints:
    @pytest.fixture
    def interrupted(self, laboratory: Any, stop: Any) -> Iterator[Callable[[], Any]]:
        with pytest.raises(Interrupted):
            laboratory.train(laboratory.graph(), "student", callback=stop(steps=3))
        yield lambda: laboratory.train(laboratory.graph(), "student")

    def file(self, laboratory: Any) -> Any:
        return next((laboratory.folder / "out" / "store").glob("*/checkpoint.pt"))

    def test_one_that_is_cut_short_is_refused(self, interrupted: Any, laboratory: Any) -> None:
        path = self.file(laboratory)
        path.write_bytes(path.read_bytes()[:-2000])
        with pytest.raises(UserError, match=r"checkpoint\.pt is no checkpoint that can be read safely"):
            interrupted()

    def test_one_of_another_run_is_refused(self, interrupted: Any, laboratory: Any) -> None:
        path = self.file(laboratory)
        content = checkpoint.load(path)
        checkpoint.save({**content, "digest": "0" * 64}, path)
        with pytest.raises(UserError, match="is no checkpoint of this run; move it away to train students/student"):
            interrupted()

    def test_weights_in_its_place_are_refused(self, interrupted: Any, laboratory: Any) -> None:
        path = self.file(laboratory)
        digest = checkpoint.load(path)["digest"]
        checkpoint.save({"digest": digest, "state": {}}, path)
        with pytest.raises(UserError, match="is no checkpoint of this run"):
            interrupted()

    def test_one_of_another_network_names_the_difference(self, interrupted: Any, laboratory: Any) -> None:
        path = self.file(laboratory)
        content = checkpoint.load(path)
        weight = content["trainer"]["network"].pop("cascades.0.layers.0.convolution.weight")
        content["trainer"]["network"]["cascades.0.layers.0.convolution.kernel"] = weight
        checkpoint.save(content, path)
        with pytest.raises(UserError, match=r"another network's weights: it lacks .*weight; it has .*kernel besides"):
            interrupted()

    def test_a_finished_run_keeps_none(self, interrupted: Any, laboratory: Any) -> None:
        run = interrupted()
        assert run.folder.finished and not run.folder.checkpoint.exists()
