"""``i2ikd.distill`` on loaders: the metrics that it gives back."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import i2ikd


def identity() -> nn.Module:
    """A convolution that copies its one channel."""
    layer = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        layer.weight.fill_(1)
        layer.bias.zero_()  # type: ignore[union-attr]
    return layer


def scores_of_a_copy(images: Tensor, targets: Tensor) -> dict[str, float]:
    """Metrics of a student that is the identity and, at a learning rate of next to nothing, stays it."""
    result = i2ikd.distill(
        None, identity(), [(images, targets)], [(images, targets)], recipe="student", epochs=1,
        training={"lr": 1e-12, "optimizer": "sgd"},
    )  # fmt: skip
    return result.metrics["student"]


def test_slices_without_signal_are_left_out_of_the_means() -> None:
    targets = (
        torch.rand(3, 1, 12, 10, generator=torch.Generator().manual_seed(0))
        * torch.tensor([0.5, 0, 2])[:, None, None, None]
    )
    images = targets + 0.1
    found = scores_of_a_copy(images, targets)
    peaks = [float(targets[index].max()) for index in (0, 2)]
    expected = sum(20 * math.log10(peak / 0.1) for peak in peaks) / 2
    assert found["psnr"] == pytest.approx(expected, abs=1e-3)
    shares = [images[index].numel() * 0.01 / float(targets[index].square().sum()) for index in (0, 2)]
    assert found["nmse"] == pytest.approx(sum(shares) / 2, rel=1e-4)


def test_without_any_signal_there_is_no_score() -> None:
    found = scores_of_a_copy(torch.full((2, 1, 12, 10), 0.1), torch.zeros(2, 1, 12, 10))
    assert all(math.isnan(found[name]) for name in ("psnr", "ssim", "nmse"))
