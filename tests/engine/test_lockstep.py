"""Arms that share one pass over data and teacher end as if each had been trained alone."""

from __future__ import annotations

from typing import Any

import pytest

from i2ikd.callback import NullCallback
from i2ikd.engine.loop import Interrupted
from i2ikd.experiment.schedule import train_arms

ARMS = [
    {"name": "student"},
    {"name": "control", "stages": 2, "epochs": 3},
    {"name": "kd-mri", "recipe": "kd-mri", "feature_epochs": 1},
    {"name": "code", "recipe": "joint", "distiller": {"name": "attention", "mode": "code"}, "ratio": 0.5},
    {"name": "masked", "recipe": "joint", "distiller": "generation"},
    {"name": "small", "recipe": "imitation", "student": {"depth": 2}},
    {"name": "twin", "recipe": "imitation", "student": {"depth": 2}},
]


def together(laboratory: Any, out: str, *overrides: str, callback: Any = None) -> list[Any]:
    graph = laboratory.graph(*overrides, arms=ARMS, out=out)
    return train_arms(
        graph, graph.context.experiment.arms, 0, callback or NullCallback(), lambda _: None, lockstep=True
    )


@pytest.fixture
def alone(laboratory: Any) -> list[Any]:
    graph = laboratory.graph(arms=ARMS, out="alone")
    return [laboratory.train(graph, str(arm["name"])) for arm in ARMS]


def test_the_numbers_are_the_same(laboratory: Any, alone: list[Any], identical: Any) -> None:
    for run, other in zip(together(laboratory, "together"), alone, strict=True):
        assert run.specification == other.specification
        assert run.folder.read("history") == other.folder.read("history"), run.name
        assert identical(laboratory.weights(run), laboratory.weights(other)), run.name


def test_an_interrupted_lockstep_goes_on(laboratory: Any, alone: list[Any], stop: Any, identical: Any) -> None:
    """Also where one arm was trained further before by itself."""
    first = laboratory.graph(arms=ARMS, out="together")
    with pytest.raises(Interrupted):
        laboratory.train(first, "kd-mri", callback=stop(steps=4 + 3))
    with pytest.raises(Interrupted):
        together(laboratory, "together", callback=stop(steps=2))
    with pytest.raises(Interrupted):
        together(laboratory, "together", callback=stop(steps=5))
    for run, other in zip(together(laboratory, "together"), alone, strict=True):
        assert run.folder.read("history") == other.folder.read("history"), run.name
        assert identical(laboratory.weights(run), laboratory.weights(other)), run.name


def test_one_pass_over_the_data_serves_all(laboratory: Any) -> None:
    class Batches(NullCallback):
        seen = 0

        def on_step_end(self) -> None:
            self.seen += 1

    callback = Batches()
    together(laboratory, "together", callback=callback)
    assert callback.seen == 2 * 2 + 2 * 6, "the teacher's 2 epochs, and the 6 of the longest arm"


def test_equal_specifications_are_one_run(laboratory: Any, optimiser_steps: Any) -> None:
    runs = together(laboratory, "together")
    assert runs[-1].folder == runs[-2].folder
    assert optimiser_steps.count == 2 * (2 + 2 + 6 + 3 + 2 + 2 + 2)
