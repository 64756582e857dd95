"""DC-CNN: cascades of a small CNN and a data-consistency step (Schlemper et al. 2017, arXiv:1704.02422)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from i2ikd_mri.data_consistency import DataConsistency, Measurement
from i2ikd_mri.kernels.checkpointed import checkpointed
from i2ikd_mri.kernels.convolution import convolution_block
from pydantic import Field
from torch import Tensor, nn

from i2ikd import UserError


class Cascade(nn.Module):
    """One CNN and one data-consistency step. What it gives out is the image after data consistency."""

    def __init__(
        self, images: int, depth: int, channels: int, kernel: int, residual: bool, consistency: DataConsistency
    ) -> None:
        super().__init__()
        widths = [images, *[channels] * (depth - 1), images]
        self.layers = nn.ModuleList(
            convolution_block(inputs, outputs, kernel, activated=index < depth - 1)
            for index, (inputs, outputs) in enumerate(pairwise(widths))
        )
        self.consistency = consistency
        self.residual = residual

    def forward(self, image: Tensor, measurement: Measurement) -> Tensor:
        """Improve an image [B, C, H, W] and put what was measured back into it."""
        features = checkpointed(self.layers[0], self.layers[1], image)
        for layer in self.layers[2:]:
            features = layer(features)
        return self.consistency(image + features if self.residual else features, measurement)


class DCCNN(nn.Module):
    """Cascades of convolutions and data consistency, called as ``network(input, kspace=..., mask=...)``.

    KD-MRI's teacher has 5 cascades of depth 5 (141,765 parameters), its student 5 of depth 3 (49,285).

    Module paths: ``cascades.{k}`` gives the image of cascade k after data consistency; ``cascades.{k}.layers.{i}`` its
    i-th block, after the activation; ``cascades.{k}.layers.{i}.convolution`` the same before the activation.

    Args:
        cascades: number of cascades.
        depth: convolutions of each cascade.
        channels: channels between the convolutions.
        kernel: side of the convolutions, odd.
        residual: whether each cascade's input is added to what its CNN gives, as KD-MRI's drawing has it and its code
            does not.
        mode: ``real``: one image channel, real part after data consistency; ``complex``: real and imaginary channels.
        centered: where zero frequency is in ``kspace`` and ``mask``; as the task has it.
    """

    def __init__(
        self,
        cascades: Annotated[int, Field(ge=1)] = 5,
        depth: Annotated[int, Field(ge=2)] = 5,
        channels: Annotated[int, Field(ge=1)] = 32,
        kernel: Annotated[int, Field(ge=1)] = 3,
        residual: bool = False,
        mode: Literal["real", "complex"] = "real",
        centered: bool = False,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise UserError(f"dc-cnn: kernel = {kernel} must be odd, so that an image keeps its size")
        if depth < 2:
            raise UserError(f"dc-cnn: depth = {depth} must be at least 2")
        self.images = 1 if mode == "real" else 2
        self.consistency = DataConsistency(mode, centered)
        self._looked_at = False  # the first batch, for its centring
        self.cascades = nn.ModuleList(
            Cascade(self.images, depth, channels, kernel, residual, self.consistency) for _ in range(cascades)
        )

    def forward(self, input: Tensor, *, kspace: Tensor, mask: Tensor) -> Tensor:
        """Reconstruct.

        Args:
            input: zero-filled image [B, 1, H, W] (its real part or its magnitude), or [B, 2, H, W] in complex mode.
            kspace: measured k-space, complex [B, 1, H, W], orthonormal; ignored where the mask is 0.
            mask: [B, 1, H, 1], [B, 1, 1, W] or [B, 1, H, W], 1 where measured.

        Returns:
            Image of the shape of ``input``; float32, also under autocast (float64 for float64).

        Raises:
            UserError: an input of another number of channels, a mask that does not fit, or a k-space that is centred
                otherwise than ``centered`` says.
        """
        if input.shape[1] != self.images:
            raise UserError(
                f"dc-cnn in {self.consistency.mode} mode takes images of {self.images} channel(s), not "
                f"{input.shape[1]}; give the task and the network the same mode"
            )
        measurement = self.consistency.measure(kspace, mask, input.dtype)
        if not self._looked_at and not torch.compiler.is_compiling():
            self.consistency.refuse_other_centring(input, kspace, mask)
            self._looked_at = True
        image = input
        for cascade in self.cascades:
            image = cascade(image, measurement)
        return image
