"""Adapter of a library's network to the calling convention of i2ikd: one image in, one of the same size out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from i2ikd import UserError
from i2ikd.padding import pad_to_multiple


@dataclass(frozen=True)
class Adaptation:
    """Calling convention of a network.

    Attributes:
        channels: channels of the input image.
        multiple: rows and columns of the input are padded to multiples of this number.
        least: smallest number of rows and columns after padding.
        residual: whether the input is added to the output of the network.
        arguments: arguments of ``forward`` besides the image.
    """

    channels: int = 1
    multiple: int = 1
    least: int = 1
    residual: bool = False
    arguments: Mapping[str, float] = field(default_factory=dict)


class Adapted(nn.Module):
    """Mixin that precedes a library's class among the bases of a new class and overrides ``forward`` only.

    Module paths, by which taps are named, and the names in a ``state_dict`` remain those of the library.
    """

    adaptation = Adaptation()

    def forward(self, input: Tensor) -> Tensor:
        """Map an image of any size to one of the same size.

        Args:
            input: [B, in, H, W].

        Returns:
            [B, out, H, W].

        Raises:
            UserError: the output of the network is not one image.
        """
        adaptation = self.adaptation
        rows, columns = input.shape[-2:]
        padded = pad_to_multiple(input, adaptation.multiple, adaptation.least)
        output = self.forward_unpadded(padded)[..., :rows, :columns]
        return input + output if adaptation.residual else output

    def forward_unpadded(self, image: Tensor) -> Tensor:
        """Run the library's ``forward`` without padding.

        Args:
            image: [B, in, H, W], of a size that the network supports; for other sizes the network may raise an error or
                return another size.

        Raises:
            UserError: the output of the network is not one image.
        """
        return single_image(super().forward(image, **self.adaptation.arguments))


def adapted_class(kind: type[nn.Module]) -> type[Adapted]:
    """Create a subclass of a library's class with the ``forward`` of ``Adapted``.

    Args:
        kind: class of a network.
    """
    return type(kind.__name__, (Adapted, kind), {"__doc__": kind.__doc__, "__module__": kind.__module__})


def single_image(output: Any) -> Tensor:
    """Extract the image from the output of a network.

    Args:
        output: an image [B, C, H, W], or a list or tuple that holds one image.

    Raises:
        UserError: the output is anything else.

    >>> import torch
    >>> single_image([torch.zeros(1, 2, 5, 3)]).shape
    torch.Size([1, 2, 5, 3])
    """
    if isinstance(output, list | tuple) and len(output) == 1:
        output = output[0]
    if isinstance(output, Tensor) and output.ndim == 4:
        return output
    several = isinstance(output, list | tuple) or (isinstance(output, Tensor) and output.ndim == 5)
    kind = f"a tensor {list(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
    remedy = "; if this is deep supervision, disable it, since only one image is trained" if several else ""
    raise UserError(f"expected one output image [B, C, H, W], got {kind}{remedy}")
