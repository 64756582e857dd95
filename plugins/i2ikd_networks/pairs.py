"""Pairs of taps of two networks of any architecture: their last feature maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from i2ikd import TapPairs, UserError
from i2ikd_networks.adapted import Adapted


def features(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair the inputs of the convolutions that output the images, in most networks at full resolution.

    Args:
        teacher: a network of the models ``monai`` or ``deepinv``.
        student: a network of the models ``monai`` or ``deepinv``.

    Returns:
        One pair (teacher path, student path).

    Raises:
        UserError: a network is of another model, or no module of it outputs that feature map.
    """
    return [(_last_feature(teacher, "teacher"), _last_feature(student, "student"))]


def _last_feature(network: nn.Module, side: str) -> str:
    """Return the path of the module that outputs the last feature map.

    The last feature map is the input of the last convolution with more input channels than the image, since some
    networks end with convolutions of the image itself. If that input is a sum, the last module before it that outputs
    one of the terms is returned.
    """
    if not isinstance(network, Adapted):
        raise UserError(
            f"pairs of library networks: expected models 'monai' or 'deepinv', but the {side} is a "
            f"{type(network).__name__}; set pairs of module paths"
        )
    calls, output = _run(network)
    image_channels = max(network.adaptation.channels, output.shape[1])
    readers = [index for index, call in enumerate(calls) if call.reads_features(image_channels)]
    if readers:
        feature_map = calls[readers[-1]].input
        before = [call for call in reversed(calls[: readers[-1]]) if call.output is not None]
        paths = [call.path for call in calls]
        once = [call for call in before if paths.count(call.path) == 1]
        exact = [call for call in once if call.output is feature_map]
        terms = [call for call in once if _shape(call.output) == _shape(feature_map)]
        if exact or terms:
            return (exact or terms)[0].path
    raise UserError(
        f"no module of the {side} ({type(network).__name__}) outputs its last feature map; set pairs of module paths"
    )


class _Call:
    """One forward call of a module, with its input and output where these are [B, C, H, W] tensors."""

    def __init__(self, path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self.path = path
        self.convolution = isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        self.input = _image(inputs[0] if inputs else None)
        self.output = _image(output)

    def reads_features(self, channels: int) -> bool:
        """Whether the module is a convolution with more than ``channels`` input channels."""
        return self.convolution and self.input is not None and self.input.shape[1] > channels


def _image(value: Any) -> Tensor | None:
    return value if isinstance(value, Tensor) and value.ndim == 4 else None


def _shape(tensor: Tensor | None) -> torch.Size | None:
    return None if tensor is None else tensor.shape


@torch.no_grad()
def _run(network: Adapted) -> tuple[list[_Call], Tensor]:
    """Run the network once in eval mode; return the calls of its modules in the order of completion, and its output."""
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
