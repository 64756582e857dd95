"""DC-CNN in real arithmetic, for deployment formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from i2ikd_mri.data_consistency import transformed_axes
from i2ikd_mri.real_consistency import keep_missing_operator
from torch import Tensor, nn

from i2ikd import Batch, ExportForm
from i2ikd_mri_recon.cascade import Cascade

if TYPE_CHECKING:
    from i2ikd_mri_recon.network import DCCNN


class RealReconstruction(nn.Module):
    """Cascades with data consistency as matrix products, ``x = measured + A @ cnn(x)``.

    Args:
        network: the trained network, whose layers are shared.
        axes: transformed axes, as given by the shape of the mask: (-2,), (-1,) or (-2, -1).
    """

    def __init__(self, network: DCCNN, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.cascades = network.cascades
        self._images = network.images
        self._axes = axes
        self._centered = network.consistency.centered

    def forward(self, input: Tensor, mask: Tensor, measured: Tensor | None = None) -> Tensor:
        """Reconstruct a batch.

        Args:
            input: zero-filled image [B, C, H, W].
            mask: float32 [B, 1, H, 1], [B, 1, 1, W] or [B, 1, H, W], 1 where measured.
            measured: inverse transform of the measured k-space, [B, C, H, W]; ``None``: ``input`` is this image.

        Returns:
            Image of the shape of ``input``.
        """
        keep_missing = keep_missing_operator(mask, self._images, self._axes, self._centered)
        image = input
        for cascade in self.cascades:
            assert isinstance(cascade, Cascade)
            image = (input if measured is None else measured) + keep_missing(cascade.denoise(image))
        return image


def reconstruction_form(network: DCCNN, batch: Batch) -> ExportForm:
    """Return the form of a DC-CNN in real arithmetic.

    Args:
        network: in eval mode.
        batch: slices of the task ``mri-recon``.
    """
    kspace, mask = batch.conditions["kspace"], batch.conditions["mask"]
    scale = float(batch.input.abs().max())
    with torch.no_grad():
        distance = float((_measured(network, batch) - batch.input).abs().max())
    needs_measured = distance > 1e-5 * scale

    def inputs(batch: Batch) -> dict[str, Tensor]:
        tensors = {"input": batch.input, "mask": batch.conditions["mask"]}
        return tensors | {"measured": _measured(network, batch)} if needs_measured else tensors

    return ExportForm(RealReconstruction(network, transformed_axes(kspace, mask)).eval(), inputs)


def _measured(network: DCCNN, batch: Batch) -> Tensor:
    return network.consistency.measure(batch.conditions["kspace"], batch.conditions["mask"]).image
