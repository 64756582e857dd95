"""VarNet: cascades of a gradient step of data consistency and a U-Net (Sriram et al. 2020, arXiv:2004.06688)."""

from __future__ import annotations

from typing import Literal

from i2ikd_mri.coils.consistency import SenseConsistency, SenseMeasurement
from pydantic import PositiveInt
from torch import Tensor, nn

from i2ikd_mri_recon.multicoil.frame import finished, measure
from i2ikd_mri_recon.unet import UNet


class VariationalCascade(nn.Module):
    """One step of a variational network: x' = x - w AH(A x - y) + R(x), where x + R(x) is the output of a U-Net.

    R of a new network is 0, so that training starts from gradient descent.

    Args:
        channels: channels of the finest level of the U-Net.
        pools: number of times that the U-Net halves the size.
    """

    def __init__(self, channels: int, pools: int) -> None:
        super().__init__()
        self.consistency = SenseConsistency("gradient")
        self.refinement = UNet(channels, pools, residual=True, mode="complex")

    def forward(self, image: Tensor, measurement: SenseMeasurement) -> Tensor:
        """Refine an image.

        Args:
            image: [B, 2, H, W].
            measurement: of the same batch.

        Returns:
            Image [B, 2, H, W].
        """
        consistent: Tensor = self.consistency(image, measurement)
        return consistent + (self.refinement(image) - image)


class VarNet(nn.Module):
    """Variational network for multi-coil k-space, called as ``network(input, kspace=..., mask=..., maps=...)``.

    The cascades are those of the end-to-end VarNet, in the image domain: coil maps come from the task and not from a
    network, and k-space is that of one image. The first image is the zero-filled one.

    Module paths: ``cascades.{k}`` outputs the image of cascade k, of the size of k-space;
    ``cascades.{k}.refinement.decoder.{i}`` the features of its U-Net, coarse to fine.

    Args:
        cascades: number of cascades.
        channels: channels of the finest level of each U-Net.
        pools: number of times that each U-Net halves the size.
        mode: ``complex``: images have real and imaginary channels; ``real``: the output is the magnitude. As in the
            task.
        centered: position of zero frequency in ``kspace`` and ``mask``, and of the image origin: index 0 (``False``) or
            n // 2 (``True``), as in the task.
    """

    def __init__(
        self,
        cascades: PositiveInt = 8,
        channels: PositiveInt = 12,
        pools: PositiveInt = 3,
        mode: Literal["real", "complex"] = "complex",
        centered: bool = True,
    ) -> None:
        super().__init__()
        self.mode: Literal["real", "complex"] = mode
        self.centered = centered
        self.cascades = nn.ModuleList(VariationalCascade(channels, pools) for _ in range(cascades))

    def forward(self, input: Tensor, *, kspace: Tensor, mask: Tensor, maps: Tensor | None = None) -> Tensor:
        """Reconstruct a batch of images.

        Args:
            input: [B, 2, h, w] in mode ``complex``, [B, 1, h, w] in mode ``real``: gives the form of the output, whose
                size may be smaller than that of k-space.
            kspace: measured k-space, complex [B, C, H, W], orthonormal; ignored where the mask is 0.
            mask: [B, 1, H, 1], [B, 1, 1, W] or [B, 1, H, W], 1 where measured.
            maps: coil maps, complex [B, C, H, W], with a sum of squares over the coils of 1 or 0.

        Returns:
            Image of the shape of ``input``; float32, also under autocast.

        Raises:
            UserError: a condition is absent, or shapes do not match.
        """
        measurement = measure("varnet", input, kspace, mask, maps, self.mode, self.centered)
        image = measurement.image
        for cascade in self.cascades:
            image = cascade(image, measurement)
        return finished(image, input, self.mode)
