"""The network of a finished run, loaded by its path, is the one in its row of the table, wherever its folder is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import i2ikd
from i2ikd import UserError
from i2ikd.cli.main import run as main
from i2ikd.experiment.checks import check
from i2ikd.experiment.compare import compare
from i2ikd.experiment.evaluate_run import evaluate_run
from i2ikd.experiment.finished import finished_network, owner_of
from i2ikd.experiment.folder import claim
from i2ikd.experiment.scores import network_of
from i2ikd.transform import Transform


class Scaled(nn.Module):
    """A network's output times a factor."""

    def __init__(self, network: nn.Module, factor: float) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, input: Tensor, **conditions: Tensor) -> Tensor:
        output: Tensor = self.network(input, **conditions)
        return self.factor * output


class Scale(Transform):
    """Scale the output; ``by_data`` by the mean of the first calibration batch instead."""

    def __init__(self, factor: float = 2.0, by_data: bool = False) -> None:
        self.factor, self.by_data = factor, by_data

    def apply(self, network: nn.Module, batches: Iterable[Any], task: Any) -> nn.Module:
        return Scaled(network, float(next(iter(batches)).input.mean()) if self.by_data else self.factor)


class Probe:
    @i2ikd.hookimpl
    def register_transforms(self, register: Any) -> None:
        register("scale", Scale)


ARMS = [
    {"name": "student"},
    {"name": "own", "student": {"channels": 5}, "transforms": [{"name": "scale", "factor": 3.0}]},
    {"name": "reused", "of": "student", "transforms": [{"name": "scale", "by_data": True}]},
    {"name": "twice", "of": "own", "transforms": [{"name": "scale", "factor": 0.5}]},
]


@pytest.fixture
def compared(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The graph of a finished comparison, whose folder is ``out``."""
    graph = laboratory.graph("training.epochs=1", "seeds=[0]", arms=ARMS, plugins=(Probe(),))
    claim(graph.context.store.root, graph.context.experiment)
    compare(graph, graph.context.experiment.arms, [0], log=lambda _: None)
    for module in ("i2ikd.experiment.finished", "i2ikd.api"):
        monkeypatch.setattr(f"{module}.default_registry", lambda: graph.context.registry)
    return graph


def output(graph: Any, run: Path) -> Tensor:
    batch = graph.context.example()
    with torch.no_grad():
        found: Tensor = finished_network(graph.context.registry, run, graph.context.experiment)(
            batch.input, **batch.conditions
        )
    return found


def in_the_table(graph: Any, arm: str) -> Tensor:
    """Return the output of the network that the row of the table is scored with."""
    run = graph.arm_run(graph.context.experiment.arm(arm), 0)
    batch = graph.context.example()
    with torch.no_grad():
        found: Tensor = network_of(graph.context, (run,), None, graph.trained_transforms(arm))(
            batch.input, **batch.conditions
        )
    return found


def test_every_row_has_a_path_whose_network_is_the_rows(compared: Any) -> None:
    root = compared.context.store.root
    outputs = {str(arm["name"]): output(compared, root / f"students/{arm['name']}/seed0") for arm in ARMS}
    for arm, found in outputs.items():
        torch.testing.assert_close(found, in_the_table(compared, arm), rtol=0, atol=0)
    samples = compared.context.dataset("train")
    first = torch.stack([samples[0].input, samples[1].input]).mean()
    torch.testing.assert_close(outputs["reused"], outputs["student"] * float(first))
    torch.testing.assert_close(outputs["twice"], outputs["own"] * 0.5)  # of the other row's network
    plain = i2ikd.load(root / "students/student/seed0")
    torch.testing.assert_close(output(compared, root / "students/student/seed0"), run_on_example(compared, plain))
    torch.testing.assert_close(outputs["own"], run_on_example(compared, i2ikd.load(root / "students/own/seed0")))


def run_on_example(graph: Any, network: nn.Module) -> Tensor:
    batch = graph.context.example()
    with torch.no_grad():
        found: Tensor = network(batch.input, **batch.conditions)
    return found


def test_evaluate_returns_the_scores_of_the_table(compared: Any) -> None:
    rows = {row["arm"]: row for row in json.loads((compared.context.store.root / "results.json").read_text())["rows"]}
    for arm in ("student", "own", "reused", "twice"):
        scores, _ = evaluate_run(compared.context.store.root / f"students/{arm}/seed0", None, (), "test")
        assert scores["network"]["psnr"].mean == pytest.approx(rows[arm]["psnr"]["mean"], rel=1e-6)
    assert len({rows[arm]["psnr"]["mean"] for arm in rows}) == len(rows)


def test_the_exported_file_is_the_row_of_the_table(compared: Any, tmp_path: Path) -> None:
    run, file = compared.context.store.root / "students/twice/seed0", tmp_path / "twice.pt2"
    assert main(["export", str(run), "--output", str(file)]) == 0
    batch = compared.context.example()
    found = torch.export.load(file).module()(batch.input, **batch.conditions)
    torch.testing.assert_close(found.detach(), in_the_table(compared, "twice"), rtol=1e-5, atol=1e-6)


def test_overrides_of_the_data_change_no_network(compared: Any) -> None:
    """The calibration is on the training data of the run, not on the data that it is applied to."""
    run = compared.context.store.root / "students/reused/seed0"
    other = compared.context.experiment.model_copy(deep=True)
    other.task.options["dataset"]["size"] = [16, 16]
    expected = output(compared, run)
    found = run_on_example(compared, finished_network(compared.context.registry, run, other))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_moved_output_folder_and_a_copied_run_have_the_same_networks(compared: Any, tmp_path: Path) -> None:
    root = compared.context.store.root
    expected = {arm: output(compared, root / f"students/{arm}/seed0") for arm in ("own", "reused")}
    teacher = output(compared, root / "teacher/seed0")
    shutil.copytree(root / "teacher/seed0", tmp_path / "teacher-copy")
    root.rename(tmp_path / "moved")
    for arm, found in expected.items():
        torch.testing.assert_close(output(compared, tmp_path / f"moved/students/{arm}/seed0"), found, rtol=0, atol=0)
    assert owner_of(tmp_path / "teacher-copy", ()) == compared.context.experiment
    torch.testing.assert_close(output(compared, tmp_path / "teacher-copy"), teacher, rtol=0, atol=0)


def test_a_folder_shared_by_different_rows_is_refused(compared: Any, tmp_path: Path) -> None:
    root = compared.context.store.root
    store = (root / "students/student/seed0").resolve()
    shutil.copytree(store, tmp_path / "copy")
    for run, remedy in ((store, "pass one of them in"), (tmp_path / "copy", "copy the output folder, and pass one")):
        with pytest.raises(UserError, match=r"students/reused/seed0, students/student/seed0; " + remedy):
            output(compared, run)


def test_names_of_former_arms_are_forgotten(laboratory: Any, tmp_path: Path) -> None:
    for name in ("before", "after"):
        graph = laboratory.graph("training.epochs=1", arms=[{"name": name}])
        run = laboratory.train(graph, name)
    assert run.folder.read("origin")["names"] == ["students/after/seed0"]


def test_a_copied_link_is_named(compared: Any, tmp_path: Path) -> None:
    (tmp_path / "seed0").symlink_to("../../store/0123")
    with pytest.raises(UserError, match=r"is a broken link to '\.\./\.\./store/0123'; copy a run with cp -rL"):
        output(compared, tmp_path / "seed0")


def test_an_output_folder_is_no_run(compared: Any) -> None:
    root = compared.context.store.root
    with pytest.raises(UserError, match=f"expected a run in it, such as {root}/students/own/seed0"):
        output(compared, root)


def test_a_training_transform_of_an_arm_that_is_not_trained_is_refused(laboratory: Any) -> None:
    arms = [{"name": "student"}, {"name": "arm", "of": "student", "transforms": ["collapsible"]}]
    graph = laboratory.graph(arms=arms)
    with pytest.raises(UserError, match="the training transform 'collapsible' has no effect; set it in the arm 'stu"):
        check(graph, graph.context.experiment.arms)
