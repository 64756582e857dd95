"""A network of one's own by import path, a teacher with given weights, and what is checked before training."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from i2ikd import UserError
from i2ikd.engine.build import build_network
from i2ikd.engine.run import load_network
from i2ikd.experiment.checks import check
from i2ikd.experiment.schedule import train_teacher
from i2ikd.registry import default_registry

MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width: int = 4, outputs: int = 1) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, input, **conditions):
        return self.last(self.first(input).relu())

def make(width: int = 4) -> nn.Module:
    return Net(width)

def broken(width: int = 4) -> nn.Module:
    raise RuntimeError("no such width")

def number() -> int:
    return 3
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package in the folder where the command is run."""
    package = tmp_path / "my_networks"
    package.mkdir()
    (package / "small.py").write_text(MODULE)
    (package / "syntax.py").write_text("def make(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    yield "my_networks.small"
    for name in [name for name in sys.modules if name.split(".")[0] == "my_networks"]:
        del sys.modules[name]


class TestImportedModels:
    def test_a_factory_of_ones_own_is_trained_and_loaded_again(self, own_module: str, laboratory: Any) -> None:
        student = f'student={{model="import:{own_module}:make", width=3}}'
        arms = [{"name": "arm", "recipe": "joint", "pairs": [["cascades.1.layers.1", "first"]]}]
        graph = laboratory.graph(student, arms=arms)
        check(graph, graph.context.experiment.arms)
        run = laboratory.train(graph, "arm")
        network = load_network(graph.context.registry, run.folder)
        assert type(network).__name__ == "Net" and not network.training
        assert network.first.weight.shape == (3, 1, 3, 3)
        assert run.folder.read("manifest")["components"][f"model:import:{own_module}:make"] == "imported"

    def test_a_class_is_a_factory(self, own_module: str) -> None:
        network = build_network(default_registry(), f"import:{own_module}:Net", {"width": 2}, 0, "student")
        assert network.first.out_channels == 2

    def test_the_seed_decides_the_weights(self, own_module: str) -> None:
        first, same, other = (
            build_network(default_registry(), f"import:{own_module}:make", {}, seed, "student") for seed in (5, 5, 6)
        )
        assert torch.equal(first.first.weight, same.first.weight)
        assert not torch.equal(first.first.weight, other.first.weight)

    @pytest.mark.parametrize(
        ("model", "options", "message"),
        [
            ("import:my_networks.small", {}, "expected import:package.module:Name, got 'import:my_networks.small'"),
            ("import:my_networks.smal:make", {}, "cannot import 'my_networks.smal:make': ModuleNotFoundError"),
            ("import:my_networks.small:mak", {}, "cannot import 'my_networks.small:mak': AttributeError"),
            ("import:my_networks.syntax:make", {}, "cannot import 'my_networks.syntax:make': SyntaxError"),
            ("import:my_networks.small:make", {"with": 3}, "unknown option 'with'; did you mean 'width'"),
            ("import:my_networks.small:make", {"width": "wide"}, "width = 'wide': should be a valid integer"),
            (
                "import:my_networks.small:broken",
                {},
                "(model 'import:my_networks.small:broken') failed to start: RuntimeError: no such width",
            ),
            ("import:my_networks.small:number", {}, "that makes a torch.nn.Module, got one that makes a int"),
        ],
    )
    def test_one_that_cannot_be_is_refused(
        self, model: str, options: dict[str, Any], message: str, own_module: str
    ) -> None:
        with pytest.raises(UserError) as caught:
            build_network(default_registry(), model, options, 0, "student")
        assert message in str(caught.value) and str(caught.value).startswith("student")

    def test_one_whose_image_does_not_fit_is_refused_before_training(
        self, own_module: str, laboratory: Any, optimiser_steps: Any
    ) -> None:
        graph = laboratory.graph(f'student={{model="import:{own_module}:Net", outputs=2}}')
        with pytest.raises(UserError, match=r"Net returns \(2, 2, 32, 32\) for a target of \(2, 1, 32, 32\)"):
            check(graph, graph.context.experiment.arms)
        assert optimiser_steps.count == 0


class TestGivenTeacher:
    @pytest.fixture
    def given(self, laboratory: Any) -> Path:
        """A trained teacher's folder."""
        return train_teacher(laboratory.graph(out="elsewhere"), 0, log=lambda _: None).folder.path

    @pytest.mark.parametrize("form", ["folder", "weights.pt", "state dict"])
    def test_it_is_taken_and_not_trained(
        self, form: str, given: Path, laboratory: Any, identical: Any, optimiser_steps: Any
    ) -> None:
        path = {"folder": given, "weights.pt": given / "weights.pt", "state dict": given / "plain.pt"}[form]
        state = torch.load(given / "weights.pt", weights_only=True)["state"]
        torch.save(state, given / "plain.pt")
        optimiser_steps.count = 0
        graph = laboratory.graph(f"teacher.weights={path}", "seeds=[0, 1]")
        runs = [train_teacher(graph, seed, log=lambda _: None) for seed in (0, 1)]
        assert optimiser_steps.count == 0
        assert identical(laboratory.weights(runs[0]), state)
        assert runs[0].folder == runs[1].folder, "one teacher for all seeds"

    def test_a_student_learns_from_it(self, given: Path, laboratory: Any, identical: Any) -> None:
        graph = laboratory.graph(f"teacher.weights={given}", out="given")
        taught = laboratory.train(graph, "kd-mri")
        usual = laboratory.train(laboratory.graph(out="elsewhere"), "kd-mri")
        assert identical(laboratory.weights(taught), laboratory.weights(usual))

    def test_its_content_and_not_its_place_is_what_counts(self, given: Path, laboratory: Any) -> None:
        moved = laboratory.folder / "moved.pt"
        moved.write_bytes((given / "weights.pt").read_bytes())
        first, second = (
            laboratory.graph(f"teacher.weights={path}").teacher_run(0).specification.digest for path in (given, moved)
        )
        assert first == second

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("teacher.weights=nowhere.pt", "teacher.weights: there is no file nowhere.pt"),
            ("teacher.depth=5", "holds the weights of another network (depth: 4 -> 5); set the same model and options"),
            ("teacher.channels=6", "holds the weights of another network (channels: 4 -> 6)"),
        ],
    )
    def test_a_wrong_file_is_refused_before_training(
        self, override: str, message: str, given: Path, laboratory: Any, optimiser_steps: Any
    ) -> None:
        graph = laboratory.graph(f"teacher.weights={given}", override)
        optimiser_steps.count = 0
        with pytest.raises(UserError) as caught:
            check(graph, graph.context.experiment.arms)
        assert message in str(caught.value)
        assert optimiser_steps.count == 0


def test_an_empty_split_is_refused(laboratory: Any) -> None:
    graph = laboratory.graph()
    graph.context.dataset("val").keys.clear()
    with pytest.raises(UserError, match="the split 'val' has no slices"):
        check(graph, [])


def test_a_device_that_is_not_there_is_refused(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds no CUDA device; use device = 'auto' or 'cpu'"):
        laboratory.graph("training.device=cuda")
    assert laboratory.graph("training.device=auto").context.device.type == "cpu"


def test_a_view_that_the_task_does_not_offer_is_refused(laboratory: Any) -> None:
    with pytest.raises(
        UserError,
        match=r"training\.augmentations: the task 'mri-recon' has no augmentation 'flop'; did you mean 'flip'",
    ):
        laboratory.graph('training.augmentations=["flop"]')
