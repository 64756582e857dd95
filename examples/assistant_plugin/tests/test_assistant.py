"""The scheme in numbers that are computed in another way, and the graph of runs that it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from i2ikd_assistant import plugin
from i2ikd_assistant.recipe import assisted_imitation

from i2ikd import UserError, default_registry
from i2ikd.component import Plugin
from i2ikd.config import check_experiment, read_experiment
from i2ikd.engine.objectives import set_up_objective
from i2ikd.engine.run import load_network
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.schedule import train_arms
from i2ikd.experiment.training import RunTrainer
from i2ikd.registry import Registry
from i2ikd.testing import check_plugin

EXPERIMENT = Path(__file__).parents[1] / "experiment.toml"
TINY = [
    "seeds=[0]",
    "task.dataset={name='phantom', train=2, val=1, test=1, slices=2, size=[32, 32]}",
    "teacher.cascades=2",
    "teacher.channels=4",
    "student.cascades=2",
    "student.channels=4",
    "training={epochs=2, batch=2, device='cpu'}",
]


def graph(folder: Path, *overrides: str) -> RunGraph:
    """The experiment at a tiny size, with the plugin where it is not installed."""
    found = [Plugin(p.name, module=p.module) for p in default_registry().plugins if not p.problem]
    if all(p.module is not plugin for p in found):
        found.append(Plugin("assistant", module=plugin))
    experiment = read_experiment(EXPERIMENT, [*TINY, *overrides])
    return RunGraph(ExperimentContext(experiment, Registry(found), folder))


def train(runs: RunGraph, arm: str) -> Any:
    (run,) = train_arms(runs, [runs.context.experiment.arm(arm)], 0, log=lambda _: None)
    return run


def test_the_plugin_registers_and_every_target_exists() -> None:
    check_plugin(plugin)


def test_the_assistant_is_trained_before_the_arm_that_names_it(tmp_path: Path) -> None:
    runs = graph(tmp_path)
    run = train(runs, "assisted")
    assistant = runs.arm_run(runs.context.experiment.arm("assistant"), 0)
    assert assistant.folder.finished
    assert run.inputs == {"teacher": runs.teacher_runs(0), "assistant": (assistant,)}
    assert run.specification.inputs["assistant"] == [assistant.specification.digest]
    losses = run.folder.read("history")[-1]["losses"]
    expected = 0.5 * losses["target"] + 0.25 * losses["teacher"] + 0.25 * losses["assistant"]
    assert losses["total"] == pytest.approx(expected, rel=1e-5)


def test_the_loss_is_that_of_a_loop_over_pixels(tmp_path: Path) -> None:
    runs = graph(tmp_path)
    run = train(runs, "assisted")
    networks = {role: load_network(runs.context.registry, found[0].folder) for role, found in run.inputs.items()}
    student = load_network(runs.context.registry, run.folder)
    shared = RunTrainer(runs).context(0, run.inputs, networks)
    batch = shared.example()
    (stage,) = assisted_imitation(0.2, 0.3, 0.7)
    objective = set_up_objective(shared, stage, student, "student", "dc-cnn", 0)
    images = {role: network(batch.input, **batch.conditions).detach() for role, network in networks.items()}
    loss = objective(batch, {role: {"image": image} for role, image in images.items()})

    output = student(batch.input, **batch.conditions)
    expected = 0.0
    for weight, other in ((0.2, batch.target), (0.3, images["teacher"]), (0.7, images["assistant"])):
        pixels = list(zip(output.flatten().tolist(), other.flatten().tolist()))
        expected += weight * sum(abs(a - b) for a, b in pixels) / len(pixels)
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)
    loss.total.backward()
    assert all(parameter.grad is not None for parameter in student.parameters())
    assert all(parameter.grad is None for network in networks.values() for parameter in network.parameters())


def test_cached_images_are_the_live_ones(tmp_path: Path) -> None:
    histories = [
        train(graph(tmp_path / str(size), f"training.cache_mib={size}"), "assisted").folder.read("history")
        for size in (0, 64)
    ]
    assert histories[0] == histories[1]


def test_an_arm_without_an_assistant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"arm 'assisted': .* needs an input 'assistant'; set inputs.assistant"):
        train(graph(tmp_path, "arms.assisted.inputs={}"), "assisted")


def test_an_assistant_that_needs_itself_is_refused() -> None:
    document = read_experiment(EXPERIMENT).model_dump(mode="json")
    (arm,) = (arm for arm in document["arms"] if arm["name"] == "assistant")
    arm["teacher"] = "assisted"
    with pytest.raises(UserError, match="need each other"):
        check_experiment(document, "experiment")
