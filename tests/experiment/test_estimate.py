"""The estimate counts steps exactly, measures each stage once for all seeds, and writes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from i2ikd.experiment.estimate import STEPS, estimate
from i2ikd.experiment.plan import plan


@pytest.fixture
def estimated(laboratory: Any, monkeypatch: pytest.MonkeyPatch, optimiser_steps: Any) -> Any:
    """Estimate of the tiny experiment with two seeds, in which a step takes one second and all else no time."""
    graph = laboratory.graph("training.epochs=50", "seeds=[0,1]", "training.precision=auto")
    monkeypatch.setattr("i2ikd.experiment.estimate.time.monotonic", lambda: float(optimiser_steps.count))
    arms = graph.context.experiment.arms
    state = torch.get_rng_state()
    found = estimate(graph, plan(graph, arms, [0, 1]), arms, [0, 1])
    assert torch.equal(torch.get_rng_state(), state)
    return graph, found


def test_a_run_takes_its_steps_at_the_measured_speed(estimated: Any, optimiser_steps: Any) -> None:
    graph, found = estimated
    steps = {run.name.rpartition("/")[0]: run.steps for run in found.runs}
    assert steps == {"teacher": 100, "students/student": 100, "students/control": 200, "students/kd-mri": 200}
    for run in found.runs:
        stages = run.steps // 100
        assert run.seconds == run.steps + stages, "the first step of a stage is its preparation"
    assert len(found.runs) == 8
    assert optimiser_steps.count == 6 * (STEPS + 1), "a stage is measured once for all seeds"
    assert not graph.context.store.root.exists(), "nothing is written"
    slices, pixels = 4, 32 * 32
    assert found.disk_mib > 2 * slices * pixels * 4 / 2**20, "teacher outputs are cached on disk"
    assert 10 < found.memory_mib < 100_000 and found.free_mib > 0
    assert found.seconds == pytest.approx(sum(run.seconds for run in found.runs) + found.evaluation_seconds)


def test_reused_runs_take_no_time(laboratory: Any) -> None:
    graph = laboratory.graph("training.epochs=1")
    laboratory.train(graph, "student")
    again = laboratory.graph("training.epochs=1")
    arms = [again.context.experiment.arm("student")]
    found = estimate(again, plan(again, arms, [0], teachers=False), arms, [0])
    assert [(run.action, run.seconds) for run in found.runs] == [("reuse", 0.0)]
