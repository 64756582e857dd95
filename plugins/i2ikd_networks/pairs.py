"""Which tap of a teacher goes with which of a student, whatever their architectures: their last feature maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from i2ikd import UserError
from i2ikd_networks.adapted import Adapted

Pairs = list[tuple[str, str]]


def features(teacher: nn.Module, student: nn.Module) -> Pairs:
    """Pair what the convolutions read that make the images, in most networks at full resolution.

    Raises:
        UserError: a network of another plugin, or one in which no module gives that feature map.
    """
    return [(_last_feature(teacher, "teacher"), _last_feature(student, "student"))]


def _last_feature(network: nn.Module, side: str) -> str:
    """Return the path of the module that gives the last feature map.

    That is what the last convolution reads that reads more channels than the image has: some networks end with
    convolutions of the image itself. Where it reads a sum, the last module before it that gives one of the terms.
    """
    if not isinstance(network, Adapted):
        raise UserError(
            f"these pairs are for networks of the models 'monai' and 'deepinv', but the {side} is a "
            f"{type(network).__name__}; name pairs of module paths"
        )
    calls, output = _run(network)
    image_channels = max(network.adaptation.channels, output.shape[1])
    readers = [index for index, call in enumerate(calls) if call.reads_features(image_channels)]
    if readers:
        wanted = calls[readers[-1]].read
        before = [call for call in reversed(calls[: readers[-1]]) if call.gave is not None]
        paths = [call.path for call in calls]
        once = [call for call in before if paths.count(call.path) == 1]
        exact = [call for call in once if call.gave is wanted]
        terms = [call for call in once if _shape(call.gave) == _shape(wanted)]
        if exact or terms:
            return (exact or terms)[0].path
    raise UserError(
        f"no module of the {side} ({type(network).__name__}) gives its last feature map; name pairs of module paths"
    )


class _Call:
    """One run of a module: what it read and what it gave, where these are images."""

    def __init__(self, path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self.path = path
        self.convolution = isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        self.read = _image(inputs[0] if inputs else None)
        self.gave = _image(output)

    def reads_features(self, channels: int) -> bool:
        """Whether it is a convolution of more than an image."""
        return self.convolution and self.read is not None and self.read.shape[1] > channels


def _image(found: Any) -> Tensor | None:
    return found if isinstance(found, Tensor) and found.ndim == 4 else None


def _shape(tensor: Tensor | None) -> torch.Size | None:
    return None if tensor is None else tensor.shape


@torch.no_grad()
def _run(network: Adapted) -> tuple[list[_Call], Tensor]:
    """Run the network once, in eval mode; return the runs of its modules as they ended, and its image."""
    calls: list[_Call] = []

    def keep(path: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            calls.append(_Call(path, module, inputs, output))

        return hook

    modules = [(path, module) for path, module in network.named_modules() if path]
    handles = [module.register_forward_hook(keep(path)) for path, module in modules]
    flags = {module: module.training for module in network.modules()}
    example = next(network.parameters())
    side = max(network.adaptation.least, 2 * network.adaptation.multiple)
    network.eval()
    image = torch.zeros(1, network.adaptation.channels, side, side, device=example.device, dtype=example.dtype)
    try:
        output: Tensor = network(image)
    finally:
        for handle in handles:
            handle.remove()
        for module, flag in flags.items():
            module.training = flag
    return calls, output
