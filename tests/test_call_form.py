"""Networks as they are: other arguments, and several outputs."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from i2ikd.call_form import called_as
from i2ikd.errors import UserError
from i2ikd.network import apply
from i2ikd.sample import Batch


class Pair(NamedTuple):
    reconstruction: Tensor
    other: Tensor


@dataclasses.dataclass
class Output:
    reconstruction: Tensor
    other: Tensor


class Network(nn.Module):
    """A network of other habits: ``(x, scale)``, and several outputs."""

    def __init__(self, pack: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 1)
        self.pack = pack

    def forward(self, x: Tensor, gain: Tensor | None = None) -> Any:
        features = self.convolution(x)
        return self.pack(features if gain is None else features * gain, -features)


BATCH = Batch(torch.rand(2, 1, 4, 3), torch.rand(2, 1, 4, 3), {"gain": torch.tensor(3.0), "mask": torch.zeros(2)})


@pytest.mark.parametrize(
    ("pack", "output"),
    [
        (lambda image, other: {"reconstruction": image, "other": other}, "reconstruction"),
        (Pair, "reconstruction"),
        (Output, "reconstruction"),
        (lambda image, other: (other, image), 1),
        (lambda image, other: [image, other], -2),
    ],
)
def test_one_of_several_outputs_is_the_image(pack: Any, output: str | int) -> None:
    network = Network(pack)
    with pytest.raises(UserError, match="set the option output"):
        apply(network, BATCH)
    expected, paths = 3 * network.convolution(BATCH.input), list(network.state_dict())
    assert called_as(network, None, output) is network
    assert torch.equal(apply(network, BATCH), expected)
    assert list(network.state_dict()) == paths and isinstance(network, Network)
    assert torch.equal(apply(copy.deepcopy(network), BATCH), expected)


def test_a_missing_output_is_refused_with_those_that_exist() -> None:
    network = called_as(Network(lambda image, other: {"image": image, "other": other}), None, "reconstruction")
    with pytest.raises(UserError, match="output = 'reconstruction': a dict with 'image', 'other'; name one of these"):
        apply(network, BATCH)
    network = called_as(Network(lambda image, other: (image, other)), None, 2)
    with pytest.raises(UserError, match="a tuple of 2"):
        apply(network, BATCH)


class Measured(nn.Module):
    """VarNet's habit: the k-space and the mask are the arguments, and there is no image among them."""

    def forward(self, kspace: Tensor, sampling: Tensor) -> Tensor:
        return torch.fft.ifft2(kspace * sampling, norm="ortho").abs()


def test_arguments_are_conditions_by_position() -> None:
    kspace, mask = torch.randn(2, 1, 4, 3, dtype=torch.complex64), torch.rand(2, 1, 4, 1)
    batch = Batch(torch.rand(2, 1, 4, 3), torch.rand(2, 1, 4, 3), {"mask": mask, "kspace": kspace})
    network = called_as(Measured(), ["kspace", "mask"], None)
    assert torch.equal(apply(network, batch), Measured()(kspace, mask))
    with pytest.raises(UserError, match="the task provides input, mask, kspace, not 'maps'"):
        apply(called_as(Measured(), ["kspace", "maps"], None), batch)


def test_a_compiled_network_cannot_be_called_otherwise() -> None:
    compiled: Any = torch.compile(Measured(), backend="eager")
    with pytest.raises(UserError, match="return it without the wrapper"):
        called_as(compiled, ["kspace", "mask"], None)


MODULE = """
import torch
from torch import nn


class Measured(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, measurement, sampled):
        image = torch.fft.ifft2(measurement * sampled, norm="ortho").real
        return {"reconstruction": image + self.body(image), "zero-filled": image}
"""


def test_an_experiment_states_call_and_output(laboratory: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "measured_networks.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    form = "call=['kspace', 'mask'], output='reconstruction'"
    networks = [
        f"{side}={{model='import:measured_networks:Measured', width={width}, {form}}}"
        for side, width in (("teacher", 6), ("student", 4))
    ]
    graph = laboratory.graph(*networks, "pairs=[['body.1', 'body.1']]")
    run = laboratory.train(graph, "kd-mri")
    assert run.folder.finished
    assert set(laboratory.weights(run)) == {"body.0.weight", "body.0.bias", "body.2.weight", "body.2.bias"}
    with pytest.raises(UserError, match=r"student.*call.*should be a valid list"):
        laboratory.train(laboratory.graph(networks[0], networks[1].replace("['kspace', 'mask']", "3")), "student")
