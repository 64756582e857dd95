"""Runs of the schemes: interrupted, together with others, and with cached images of the teacher."""

from __future__ import annotations

from typing import Any

import i2ikd_schemes.grafting
import pytest

from i2ikd.callback import NullCallback
from i2ikd.experiment.schedule import train_arms

ARMS = [
    {"name": "parallel", "recipe": "grafting"},
    {"name": "stochastic", "recipe": "grafting", "mode": "stochastic"},
    {"name": "teacher-start", "recipe": "teacher-start"},
    {"name": "fading", "recipe": "fading-imitation"},
    {"name": "deep", "recipe": "deep-supervision"},
    {"name": "deep-teacher", "recipe": "deep-supervision", "reference": "teacher"},
    {"name": "unlabelled", "recipe": "unlabelled-imitation", "imitation": 0.5},
    {"name": "collapsible", "recipe": "grafting", "student": {"transforms": [{"name": "collapsible", "expansion": 2}]}},
    {"name": "collapsible-plain", "student": {"transforms": ["collapsible"]}},
    {"name": "int8", "recipe": "quantisation-aware", "share": 0.5, "student": {"transforms": ["collapsible"]}},
    {"name": "pruned", "recipe": "pruned-start", "student": {"depth": 4, "channels": 2}},
]
UNLABELLED = "task.unlabelled={name='phantom', train=2, slices=2, size=[32, 32], seed=9}"
SETTINGS = (UNLABELLED, "training.epochs=3", "training.ema=0.6", "training.validate_every=1")


def equal(laboratory: Any, identical: Any, run: Any, other: Any) -> bool:
    same: bool = identical(laboratory.weights(run), laboratory.weights(other))
    return same and run.folder.read("history") == other.folder.read("history")


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: str(arm["name"]))
def test_stopping_after_every_step_changes_nothing(
    arm: dict[str, Any], laboratory: Any, interrupted_after_every_step: Any, identical: Any
) -> None:
    settings, name = ("teacher.training.epochs=1", *SETTINGS), arm["name"]
    whole = laboratory.train(laboratory.graph(*settings, arms=[arm], out="whole"), name)

    def work(callback: Any) -> None:
        laboratory.train(laboratory.graph(*settings, arms=[arm], out="parts"), name, callback=callback)

    steps = 2 * 3 + (2 if whole.required else 0)
    assert interrupted_after_every_step(work) == steps
    graph = laboratory.graph(*settings, arms=[arm], out="parts")
    assert equal(laboratory, identical, graph.arm_run(graph.context.experiment.arm(name), 0), whole)


def test_a_student_friendly_teacher_that_is_stopped_after_every_step_is_the_same(
    laboratory: Any, interrupted_after_every_step: Any, identical: Any
) -> None:
    stage = {
        "name": "a",
        "terms": [{"distiller": "target"}],
        "start": {"from": "teacher", "network": "student"},
        "epochs": 1,
    }
    arms = [{"name": "arm", "recipe": "custom", "stages": [stage]}]
    settings = ('teacher.recipe="student-friendly"', *SETTINGS)
    whole = laboratory.train(laboratory.graph(*settings, arms=arms, out="whole"), "arm")

    def work(callback: Any) -> None:
        laboratory.train(laboratory.graph(*settings, arms=arms, out="parts"), "arm", callback=callback)

    assert interrupted_after_every_step(work) == 2 * 3 + 2
    graph = laboratory.graph(*settings, arms=arms, out="parts")
    run = graph.arm_run(graph.context.experiment.arm("arm"), 0)
    assert equal(laboratory, identical, run.inputs["teacher"][0], whole.inputs["teacher"][0])
    assert equal(laboratory, identical, run, whole)


def test_arms_in_lockstep_have_the_numbers_of_arms_alone(laboratory: Any, identical: Any) -> None:
    alone = laboratory.graph(*SETTINGS, arms=ARMS, out="alone")
    together = laboratory.graph(*SETTINGS, arms=ARMS, out="together")
    arms = together.context.experiment.arms
    runs = train_arms(together, arms, 0, NullCallback(), lambda _: None, lockstep=True)
    for arm, run in zip(arms, runs, strict=True):
        assert equal(laboratory, identical, run, laboratory.train(alone, arm.name)), arm.name


def test_cached_images_of_the_teacher_are_the_live_ones(
    laboratory: Any, identical: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, extract = [], i2ikd_schemes.grafting._images

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return extract(*arguments)

    monkeypatch.setattr(i2ikd_schemes.grafting, "_images", counted)
    runs, counts = [], []
    for out, cache in (("live", "training.cache_mib=0"), ("cached", "training.cache_mib=64")):
        calls.clear()
        graph = laboratory.graph("training.epochs=10", cache, arms=ARMS[:1], out=out)
        runs.append(laboratory.train(graph, "parallel"))
        counts.append(len(calls))
    assert counts == [3 * 2, 2], "live in each of the steps of 3 epochs, cached in one pass"
    assert equal(laboratory, identical, *runs)
