"""Distillation between networks of different libraries, architectures, channels and feature sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import i2ikd
from i2ikd import Taps, UserError
from i2ikd.experiment.checks import check

pytest.importorskip("monai")
pytest.importorskip("deepinv")

Build = Callable[..., nn.Module]

TEACHER = (
    'teacher = {{ model = "monai", network = "UNet", in_channels = {0}, '
    "options = {{ channels = [4, 8, 8], strides = [2, 2], num_res_units = 1 }} }}"
)
STUDENT = 'student = {{ model = "deepinv", network = "DnCNN", in_channels = {0}, options = {{ depth = 3, nf = 5 }} }}'
PAIRS = 'pairs = [["model.1", "nl_list.1"]]'
"""Input of the decoder of a U-Net, at half of the image size, and the last activation of the student."""
SIZE = 'task.dataset = {name="phantom", train=2, val=1, test=1, slices=2, size=[34, 26]}'
TASKS = {
    "mri-recon": (2, ['task.mode="complex"']),
    "mri-sr": (1, ['task={name="mri-sr", factor=2, grid="target"}']),
}


def settings(task: str) -> list[str]:
    """Overrides of the tiny experiment."""
    channels, changes = TASKS[task]
    return [TEACHER.format(channels), STUDENT.format(channels), *changes, SIZE]


def images(count: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    clean = torch.rand(count, 2, 1, 6, 9, generator=generator).repeat_interleave(3, 3).repeat_interleave(2, 4)
    return [(image + 0.2 * torch.randn(image.shape, generator=generator), image) for image in clean]


def feature(network: nn.Module, path: str) -> tuple[int, ...]:
    with torch.no_grad(), Taps(network, [path]) as taps:
        network(torch.rand(1, 2, 34, 26))
        return tuple(taps.take([path])[0].shape[1:])


@pytest.mark.parametrize("task", TASKS)
def test_attention_of_a_unet_is_distilled_into_a_chain_of_convolutions(laboratory: Any, task: str) -> None:
    graph = laboratory.graph(*settings(task), PAIRS)
    check(graph, graph.context.experiment.arms)
    run = laboratory.train(graph, "kd-mri")
    rows = run.folder.read("history")
    assert [row["stage"] for row in rows] == ["features"] * 2 + ["output"] * 2
    assert all(0 < row["losses"]["attention"] < 4 for row in rows[:2])
    assert rows[1]["losses"]["attention"] < rows[0]["losses"]["attention"]
    assert all(row["losses"].keys() >= {"target", "imitation"} for row in rows[2:])
    student = i2ikd.load(run.folder.path)
    assert type(student).__name__ == "DnCNN"
    channels = TASKS[task][0]
    assert student(torch.rand(3, channels, 17, 9)).shape == (3, channels, 17, 9)


def test_a_finished_students_weights_are_those_of_the_library(laboratory: Any) -> None:
    from deepinv.models import DnCNN

    graph = laboratory.graph(*settings("mri-recon"))
    run = laboratory.train(graph, "kd-mri")
    library_network = DnCNN(in_channels=2, out_channels=2, depth=3, nf=5, pretrained=None).eval()
    library_network.load_state_dict(laboratory.weights(run))
    image = torch.rand(2, 2, 34, 26)
    with torch.no_grad():
        assert torch.equal(i2ikd.load(run.folder.path)(image), library_network(image))


def test_a_teacher_loads_weights_saved_by_the_library(laboratory: Any, identical: Any, tmp_path: Path) -> None:
    from monai.networks.nets import UNet

    torch.manual_seed(5)
    library_network = UNet(2, 2, 2, channels=(4, 8, 8), strides=(2, 2), num_res_units=1)
    torch.save(library_network.state_dict(), tmp_path / "unet.pt")
    graph = laboratory.graph(*settings("mri-recon"), f'teacher.weights="{tmp_path / "unet.pt"}"')
    laboratory.train(graph, "kd-mri")
    assert identical(laboratory.weights(graph.teacher_run(0)), library_network.state_dict())


def test_two_modules_are_distilled_from_python(build: Build) -> None:
    teacher = build("monai", "UNet", options={"channels": [6, 12, 12], "strides": [2, 2]}).eval()
    student = build("deepinv", "DnCNN", options={"depth": 3, "nf": 4})
    before = [parameter.detach().clone() for parameter in student.parameters()]
    result = i2ikd.distill(teacher, student, images(4), images(2), pairs=[("model.1", "nl_list.1")], epochs=1)
    assert result.student is student
    assert any(not torch.equal(old, new) for old, new in zip(before, student.parameters()))
    assert result.metrics["student"]["psnr"] > 0


class TestRegisteredPairs:
    @pytest.mark.parametrize(("model", "network", "options", "path", "shape"), [
        ("monai", "BasicUNet", {"features": [4, 4, 8, 8, 8, 6]}, "upcat_1", (6, 34, 32)),
        ("monai", "UNet", {"channels": [4, 8], "strides": [2]}, "model.1", (12, 17, 13)),
        ("monai", "UNet", {"channels": [4, 8], "strides": [2], "num_res_units": 2}, "model.1", (12, 17, 13)),
        ("deepinv", "DnCNN", {"depth": 5, "nf": 7}, "nl_list.3", (7, 34, 26)),
        ("deepinv", "UNet", {"channels_per_scale": [5, 8]}, "Up_conv2", (5, 34, 26)),
        ("deepinv", "DRUNet", {"nc": [6, 8, 8, 8], "nb": 1}, "m_up1", (6, 48, 32)),
    ])  # fmt: skip
    def test_are_the_inputs_of_the_last_convolutions(
        self, build: Build, model: str, network: str, options: dict[str, Any], path: str, shape: tuple[int, ...]
    ) -> None:
        network = build(model, network, in_channels=2, options=options)
        pairs = i2ikd.get("pairs", f"{model}-deepinv" if model == "monai" else "deepinv")
        other = build("deepinv", "DnCNN", in_channels=2, options={"depth": 3, "nf": 4})
        assert pairs(network, other) == [(path, "nl_list.1")]
        assert all(module.training for module in network.modules())
        assert feature(network.eval(), path) == shape

    def test_are_the_default_of_an_experiment(self, laboratory: Any) -> None:
        graph = laboratory.graph(*settings("mri-recon"))
        named = laboratory.graph(*settings("mri-recon"), PAIRS)
        runs = [laboratory.train(found, "kd-mri") for found in (graph, named)]
        first, second = (laboratory.weights(run) for run in runs)
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_refuse_other_networks(self, build: Build) -> None:
        network = build("deepinv", "DnCNN", options={"depth": 3, "nf": 4})
        with pytest.raises(UserError, match="the student is a Conv2d; set pairs of module paths"):
            i2ikd.get("pairs", "deepinv")(network, nn.Conv2d(1, 1, 3))
