"""The networks have the sizes of the papers, start as the identity, and pass the conformance check."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from i2ikd_mri_sr.bicubic import enlarge
from torch import nn

import i2ikd
from i2ikd import Batch, Taps, UserError
from i2ikd.testing import check_model


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _convolution(inputs: int, outputs: int) -> int:
    return 9 * inputs * outputs + outputs


def _randomised(name: str, **options: Any) -> nn.Module:
    """Build a network with random weights in its last convolution, too."""
    network: nn.Module = i2ikd.create("model", name, **options)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    return network


def test_vdsr_has_kd_mris_parameters() -> None:
    assert _parameters(i2ikd.create("model", "vdsr")) == 333_569
    assert _parameters(i2ikd.create("model", "vdsr", depth=7)) == 185_857


@pytest.mark.parametrize("blocks", ["plain", "residual"])
def test_upsampling_cnn_has_the_parameters_of_its_convolutions(blocks: str) -> None:
    network = i2ikd.create("model", "upsampling-cnn", factor=3, depth=4, channels=5, blocks=blocks)
    inner = 3 * _convolution(5, 5) * (2 if blocks == "residual" else 1)
    assert _parameters(network) == _convolution(1, 5) + inner + _convolution(5, 9)


def test_vdsr_starts_as_the_identity() -> None:
    image = torch.randn(2, 1, 7, 9)
    assert torch.equal(i2ikd.create("model", "vdsr", depth=3, channels=4)(image), image)
    assert not torch.allclose(_randomised("vdsr", depth=3, channels=4)(image), image)


@pytest.mark.parametrize(("name", "options"), [("vdsr", {"depth": 21}), ("upsampling-cnn", {"depth": 20})])
def test_the_signal_keeps_its_scale_through_many_layers(name: str, options: dict[str, int]) -> None:
    torch.manual_seed(0)
    network = i2ikd.create("model", name, **options)
    with torch.no_grad(), Taps(network, ["layers.0", "layers.19"]) as taps:
        network(torch.randn(2, 1, 24, 24))
        first, last = taps.take(["layers.0", "layers.19"])
    assert 0.2 < last.std() / first.std() < 5


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_upsampling_cnn_starts_as_the_enlarged_input(factor: int) -> None:
    image = torch.randn(2, 1, 5, 7)
    expected = {
        "bicubic": enlarge(image, (5 * factor, 7 * factor)),
        "nearest": image.repeat_interleave(factor, 2).repeat_interleave(factor, 3),
        "none": torch.zeros(2, 1, 5 * factor, 7 * factor),
    }
    for residual, output in expected.items():
        network = i2ikd.create("model", "upsampling-cnn", factor=factor, depth=2, channels=3, residual=residual)
        assert torch.equal(network(image), output)


def test_the_tail_maps_each_pixel_to_a_square_of_the_output() -> None:
    network = i2ikd.create("model", "upsampling-cnn", factor=2, depth=1, channels=3, residual="none")
    network.tail.convolution.bias.data = torch.arange(4.0)
    expected = torch.tensor([[0.0, 1, 0, 1, 0, 1], [2, 3, 2, 3, 2, 3]])
    assert torch.equal(network(torch.rand(1, 1, 1, 3))[0, 0], expected)


@pytest.mark.parametrize(
    ("name", "options", "scale"),
    [
        ("vdsr", {"depth": 4, "channels": 6}, 1),
        ("upsampling-cnn", {"factor": 3, "depth": 3, "channels": 6}, 3),
        ("upsampling-cnn", {"factor": 2, "depth": 3, "channels": 6, "blocks": "residual", "residual": "nearest"}, 2),
    ],
)
def test_conforms(name: str, options: dict[str, Any], scale: int) -> None:
    batch = Batch(torch.rand(2, 1, 6, 9), torch.rand(2, 1, 6 * scale, 9 * scale))
    check_model(lambda: _randomised(name, **options), batch)


@pytest.mark.parametrize("name", ["vdsr", "upsampling-cnn"])
def test_wrong_options_and_images_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="depth = 0"):
        i2ikd.create("model", name, depth=0)
    with pytest.raises(UserError, match="did you mean 'channels'"):
        i2ikd.create("model", name, chanels=3)
    with pytest.raises(UserError, match="expected an input with 1 channel, got 2"):
        i2ikd.create("model", name, channels=3)(torch.zeros(1, 2, 4, 4))
