"""DC-CNN in plain PyTorch, written with care: channels-last, data consistency once in complex64."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from benchmarks.setting import Setting
from i2ikd import create
from i2ikd.seeds import seed_torch


class Cascades(nn.Module):
    """DC-CNN in real mode whose features are outputs of modules, for hooks.

    Args:
        cascades: number of cascades.
        depth: convolutions of each.
        channels: features of each.
    """

    def __init__(self, cascades: int, depth: int, channels: int) -> None:
        super().__init__()
        widths = [1, *[channels] * (depth - 1), 1]
        self.blocks = nn.ModuleList(nn.Sequential() for _ in range(cascades))
        for block in self.blocks:
            assert isinstance(block, nn.Sequential)
            for index, (inputs, outputs) in enumerate(pairwise(widths)):
                block.append(nn.Conv2d(inputs, outputs, 3, padding=1))
                if index < depth - 1:
                    block.append(nn.ReLU(inplace=True))
        self.features = [f"blocks.{number}.{2 * (depth // 2) + 1}" for number in range(cascades)]
        """Names of the modules with the middle features of every cascade."""

    def forward(self, image: Tensor, kspace: Tensor, mask: Tensor) -> Tensor:
        """Return the image [B, 1, H, W]."""
        for block in self.blocks:
            image = consistent(block(image).float(), kspace, mask)
        return image


@torch.autocast("cpu", enabled=False)
@torch.autocast("cuda", enabled=False)
def consistent(image: Tensor, kspace: Tensor, mask: Tensor) -> Tensor:
    """Return the image [B, 1, H, W] with the measured samples of k-space, in float32."""
    spectrum = torch.fft.fft2(image, norm="ortho")
    return torch.fft.ifft2(torch.where(mask > 0, kspace, spectrum), norm="ortho").real


def cascades(setting: Setting, side: str) -> Cascades:
    """Return teacher or student with the initial weights of the plain loop's network, channels-last."""
    seed_torch({"teacher": 1, "student": 0}[side], "network")
    source: nn.Module = create("model", "dc-cnn", **setting.network(side))
    network = Cascades(**setting.network(side))
    with torch.no_grad():
        for weight, initial in zip(network.parameters(), source.parameters(), strict=True):
            weight.copy_(initial)
    return network.to(setting.device, memory_format=torch.channels_last)


def hooked(network: Cascades) -> dict[str, Tensor]:
    """Return a dictionary that every forward pass fills with the features."""
    found: dict[str, Tensor] = {}
    for name in network.features:

        def keep(module: nn.Module, inputs: object, output: Tensor, name: str = name) -> None:
            found[name] = output

        network.get_submodule(name).register_forward_hook(keep)
    return found
