"""A library's network with the calling convention of i2ikd: one image in, one image of the same size out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from i2ikd import UserError
from i2ikd.padding import pad_to_multiple


@dataclass(frozen=True)
class Adaptation:
    """How a network is called.

    Attributes:
        channels: of the images that it takes.
        multiple: rows and columns are padded to multiples of this.
        least: and at least to this.
        residual: whether the image is added to what the network gives.
        given: what its ``forward`` takes besides the image.
    """

    channels: int = 1
    multiple: int = 1
    least: int = 1
    residual: bool = False
    given: Mapping[str, float] = field(default_factory=dict)


class Adapted(nn.Module):
    """Goes before a library's class among the bases of a new one: everything is the library's, but the call.

    So module paths, which taps are named by, and the names in a ``state_dict`` are those of the library.
    """

    adaptation = Adaptation()

    def forward(self, input: Tensor) -> Tensor:
        """Map an image [B, in, H, W] of any size to [B, out, H, W]."""
        how = self.adaptation
        rows, columns = input.shape[-2:]
        padded = pad_to_multiple(input, how.multiple, how.least)
        output = self.as_the_library_has_it(padded)[..., :rows, :columns]
        return input + output if how.residual else output

    def as_the_library_has_it(self, image: Tensor) -> Tensor:
        """Map an image of a size that the network can take; another one it may refuse, or give in another size."""
        return single_image(super().forward(image, **self.adaptation.given))


def adapted_class(kind: type[nn.Module]) -> type[Adapted]:
    """Return the class ``kind`` of a library with the call of ``Adapted``."""
    return type(kind.__name__, (Adapted, kind), {"__doc__": kind.__doc__, "__module__": kind.__module__})


def single_image(output: Any) -> Tensor:
    """Return the image that a network gives, also as the only item of a list.

    Raises:
        UserError: it gives something else.

    >>> import torch
    >>> single_image([torch.zeros(1, 2, 5, 3)]).shape
    torch.Size([1, 2, 5, 3])
    """
    if isinstance(output, list | tuple) and len(output) == 1:
        output = output[0]
    if isinstance(output, Tensor) and output.ndim == 4:
        return output
    is_distributed = isinstance(output, list | tuple) or (isinstance(output, Tensor) and output.ndim == 5)
    found = f"a tensor {list(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
    hint = "; where that is deep supervision, switch it off, since only one image is trained" if is_distributed else ""
    raise UserError(f"it gives {found}, not one image [B, C, H, W]{hint}")
