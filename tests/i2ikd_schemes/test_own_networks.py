"""Pairs of a user's networks get the schemes by naming blocks and layers by path, or a reason with a remedy."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import i2ikd
from i2ikd import UserError
from i2ikd.config import check_experiment
from i2ikd.experiment.checks import check
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.left_out import left_out
from i2ikd.experiment.schedule import train_arms

PAGE = (Path(__file__).parents[2] / "docs" / "own-network.md").read_text("utf-8")
LEVELS = [["model.0", "model.0"], ["model.1.submodule", "model.1.submodule"], ["model.2", "model.2"]]


class Unrolled(nn.Module):
    """Residual blocks from image to image."""

    def __init__(self, blocks: int = 2, width: int = 3) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1))
            for _ in range(blocks)
        )

    def forward(self, input: Tensor) -> Tensor:
        for block in self.blocks:
            input = input + block(input)
        return input


@pytest.fixture
def my_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The file ``my_networks.py`` of the page, in the working directory."""
    source = next(text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "class Denoiser" in text)
    (tmp_path / "my_networks.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_networks", None)


def monai(channels: list[int], units: int) -> str:
    strides = [2] * (len(channels) - 1)
    options = f"channels = {channels}, strides = {strides}, num_res_units = {units}"
    return f'{{model = "monai", network = "UNet", options = {{{options}}}}}'


def denoiser(width: int, depth: int) -> str:
    return f'{{model = "import:my_networks:Denoiser", width = {width}, depth = {depth}}}'


UNROLLED = f'{{model = "import:{__name__}:Unrolled"}}'
CASCADES = '{model = "dc-cnn", cascades = 2, depth = 2, channels = 4}'
TIMM = 'model = "timm-unet", encoder = "resnet10t", decoder_channels = [{0}, {0}, {0}, 8, 8]'.format


def graph_of(laboratory: Any, teacher: str, student: str, /, **arm: Any) -> RunGraph:
    arms = [{"name": "arm", **arm}]
    made: RunGraph = laboratory.graph("training.epochs=2", f"teacher={teacher}", f"student={student}", arms=arms)
    return made


def stages_of(laboratory: Any, graph: RunGraph) -> list[str]:
    """Check and train the arm; return the stages that it ran."""
    check(graph, graph.context.experiment.arms)
    run = laboratory.train(graph, "arm")
    assert all(torch.isfinite(tensor).all() for tensor in laboratory.weights(run).values())
    return [row["stage"] for row in run.folder.read("history")]


def test_the_example_of_the_page_is_complete(my_networks: None, drawn_once: None, tmp_path: Path) -> None:
    text = next(t for t in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if 'name = "my-pair"' in t)
    document = tomllib.loads(text)
    document["training"]["epochs"] = 2
    document["training"]["device"] = "cpu"
    document["task"]["dataset"] |= {"train": 1, "test": 1, "slices": 2, "size": [32, 32]}
    graph = RunGraph(ExperimentContext(check_experiment(document, "page"), i2ikd.default_registry(), tmp_path))
    arms = graph.context.experiment.arms
    check(graph, arms)
    (run,) = train_arms(graph, [graph.context.experiment.arm("recommended")], 0, i2ikd.NullCallback(), lambda _: None)
    assert [row["stage"] for row in run.folder.read("history")] == ["grafting", "target"]
    assert left_out(graph, arms) == []


@pytest.mark.parametrize("mode", ["parallel", "stochastic"])
def test_two_u_nets_of_monai_with_unequal_depths_of_their_levels(mode: str, laboratory: Any) -> None:
    networks = monai([4, 8, 8], 1), monai([4, 8, 8], 0)
    graph = graph_of(laboratory, *networks, recipe="grafting", mode=mode, blocks=LEVELS, layers=[])
    assert stages_of(laboratory, graph) == ["grafting", "target"]


def test_u_nets_of_unequal_widths_are_refused_or_imitated(laboratory: Any) -> None:
    networks = monai([4, 8, 8], 1), monai([3, 6], 0)
    graph = graph_of(laboratory, *networks, recipe="recommended", blocks=LEVELS)
    with pytest.raises(
        UserError, match=r"arm 'arm': .* \[4, 16, 16\] and \[1, 32, 32\] -> \[3, 16, 16\]; end the blocks"
    ):
        check(graph, graph.context.experiment.arms)
    with pytest.raises(UserError, match=r"arm 'arm': .* set recipe = 'fading-imitation', which needs none"):
        check(graph := graph_of(laboratory, *networks, recipe="recommended"), graph.context.experiment.arms)
    with pytest.raises(UserError, match="arm 'arm': the stage 'reconstruction': the two networks share no layer"):
        check(graph := graph_of(laboratory, *networks, recipe="teacher-start"), graph.context.experiment.arms)
    assert stages_of(laboratory, graph_of(laboratory, *networks, recipe="fading-imitation")) == ["fading"] * 2


def test_plain_networks_of_a_file(my_networks: None, laboratory: Any) -> None:
    layers = [["body.0", "body.0"], ["body.3", "body.1"], ["tail", "tail"]]
    networks = denoiser(4, 5), denoiser(4, 3)
    graph = graph_of(laboratory, *networks, recipe="teacher-start", layers=layers)
    assert stages_of(laboratory, graph) == ["reconstruction"] * 2
    automatic = graph_of(laboratory, *networks, recipe="recommended")
    assert stages_of(laboratory, automatic) == ["target"] * 2
    assert "leaves out: block grafting" in left_out(automatic, automatic.context.experiment.arms)[0]


def test_plain_networks_of_unequal_widths_are_refused(my_networks: None, laboratory: Any) -> None:
    blocks = [["body.0..body.2", "body.0"]]
    graph = graph_of(laboratory, denoiser(4, 5), denoiser(3, 3), recipe="grafting", blocks=blocks, layers=[])
    with pytest.raises(UserError, match=r"\[4, 32, 32\] and \[1, 32, 32\] -> \[3, 32, 32\]; .* distiller = 'fitnet'"):
        check(graph, graph.context.experiment.arms)
    graph = graph_of(laboratory, denoiser(4, 5), denoiser(4, 3), recipe="grafting", blocks=[["body.*", "body.*"]])
    with pytest.raises(
        UserError, match=r"matches 4 taps .* but 2 of the student .*; pair paths that match equally many"
    ):
        check(graph, graph.context.experiment.arms)


def test_two_timm_u_nets(no_network: None, laboratory: Any) -> None:
    teacher, student = f"{{{TIMM(16)}}}", f"{{{TIMM(12)}}}"
    blocks = [["decoder.4", "decoder.4"], ["head", "head"]]
    graph = graph_of(laboratory, teacher, student, recipe="recommended", blocks=blocks)
    assert stages_of(laboratory, graph) == ["grafting", "target"]


def test_a_dc_cnn_and_an_unrolled_network_without_data_consistency(laboratory: Any) -> None:
    blocks = [["cascades.*", "blocks.*"]]
    graph = graph_of(laboratory, CASCADES, UNROLLED, recipe="recommended", blocks=blocks)
    assert stages_of(laboratory, graph) == ["grafting", "target"]
    (line,) = left_out(graph, graph.context.experiment.arms)
    assert "leaves out: start from the teacher's layers" in line
    options = {"recipe": "grafting", "mode": "stochastic", "blocks": blocks, "layers": []}
    graph = graph_of(laboratory, CASCADES, UNROLLED, **options)
    with pytest.raises(
        UserError, match=r"missing 1 required positional argument: 'measurement'; set mode = 'parallel'"
    ):
        check(graph, graph.context.experiment.arms)


def test_a_student_friendly_teacher_with_stated_blocks(my_networks: None, laboratory: Any) -> None:
    recipe = 'recipe = {name = "student-friendly", blocks = [["body.0..body.3", "body.0..body.1"], ["tail", "tail"]]}'
    teacher = denoiser(4, 5).replace("{", f"{{{recipe}, ", 1)
    start = {"from": "teacher", "network": "student"}
    stage = {"name": "a", "terms": [{"distiller": "target"}], "start": start}
    graph = graph_of(laboratory, teacher, denoiser(4, 3), recipe="custom", stages=[stage])
    assert stages_of(laboratory, graph) == ["a"] * 2


def test_collapsible_changes_any_network_with_convolutions(laboratory: Any) -> None:
    for student in (monai([4, 8], 0), UNROLLED):
        graph = graph_of(laboratory, CASCADES, student, student={"transforms": ["collapsible"]})
        assert stages_of(laboratory, graph) == ["reconstruction"] * 2
