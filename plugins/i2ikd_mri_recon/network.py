"""DC-CNN: cascades of a CNN and a data-consistency step (Schlemper et al. 2017, arXiv:1704.02422)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from i2ikd_mri.coils.consistency import Kind, SenseConsistency
from i2ikd_mri.data_consistency import DataConsistency
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from i2ikd import Batch, ExportForm, UserError
from i2ikd.limits import require_layers
from i2ikd_mri_recon.cascade import Cascade
from i2ikd_mri_recon.deployment import reconstruction_form
from i2ikd_mri_recon.multicoil.frame import finished, measure


class DCCNN(nn.Module):
    """Cascades of convolutions and data consistency, called as ``network(input, kspace=..., mask=...)``.

    With ``multicoil``, it is called with ``maps`` too, and each cascade has a ``SenseConsistency`` of its own. The
    first image is then the zero-filled one, combined with the maps, and ``input`` gives the form of the output.

    KD-MRI's teacher has 5 cascades of depth 5 (141,765 parameters), its student 5 of depth 3 (49,285).

    Module paths: ``cascades.{k}`` outputs the image of cascade k after data consistency; ``cascades.{k}.layers.{i}``
    the features of its i-th block after the activation; ``cascades.{k}.layers.{i}.convolution`` the features before
    the activation.

    Args:
        cascades: number of cascades, at least 1.
        depth: convolutions of each cascade, at least 2.
        channels: channels between the convolutions.
        kernel: side of the convolutions in pixels, odd.
        residual: whether the input of each cascade is added to the output of its CNN, as in KD-MRI's figure and unlike
            KD-MRI's code.
        mode: ``real``: one image channel, real part after data consistency; ``complex``: real and imaginary channels.
        centered: position of zero frequency in ``kspace`` and ``mask``: index 0 (``False``) or n // 2 (``True``), as in
            the task.
        multicoil: whether k-space has several coils, as in the task ``mri-multicoil``. Images are complex then; in
            mode ``real`` the output is their magnitude.
        consistency: multi-coil data consistency: ``gradient``, with a learned weight, or ``cg``, conjugate gradients.
        steps: number of conjugate-gradient steps of each cascade.

    Raises:
        UserError: ``kernel`` is even, or ``depth`` below 2.
    """

    def __init__(
        self,
        cascades: PositiveInt = 5,
        depth: Annotated[int, Field(ge=2)] = 5,
        channels: PositiveInt = 32,
        kernel: PositiveInt = 3,
        residual: bool = False,
        mode: Literal["real", "complex"] = "real",
        centered: bool = False,
        multicoil: bool = False,
        consistency: Kind = "gradient",
        steps: PositiveInt = 4,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise UserError(f"dc-cnn: expected an odd kernel, which preserves the image size, got kernel = {kernel}")
        if depth < 2:
            raise UserError(f"dc-cnn: expected depth >= 2, got depth = {depth}")
        given = f"dc-cnn: cascades = {cascades}, depth = {depth}, channels = {channels}, kernel = {kernel}"
        require_layers(given, cascades * depth, cascades * depth * channels**2 * kernel**2)
        self.images = 1 if mode == "real" else 2
        self.mode: Literal["real", "complex"] = mode
        self.centered = centered
        self.multicoil = multicoil
        self._centring_checked = False  # checked on the first batch
        if multicoil:
            steps_of = [SenseConsistency(consistency, steps) for _ in range(cascades)]
            self.cascades = nn.ModuleList(Cascade(2, depth, channels, kernel, residual, step) for step in steps_of)
        else:
            self.consistency = DataConsistency(mode, centered)
            self.cascades = nn.ModuleList(
                Cascade(self.images, depth, channels, kernel, residual, self.consistency) for _ in range(cascades)
            )

    def forward(self, input: Tensor, *, kspace: Tensor, mask: Tensor, maps: Tensor | None = None) -> Tensor:
        """Reconstruct a batch of images.

        Args:
            input: zero-filled image [B, 1, H, W] (its real part or its magnitude), or [B, 2, H, W] in complex mode;
                with ``multicoil`` of the size of k-space or smaller.
            kspace: measured k-space, complex [B, 1, H, W], orthonormal; ignored where the mask is 0. [B, C, H, W] with
                ``multicoil``.
            mask: [B, 1, H, 1], [B, 1, 1, W] or [B, 1, H, W], 1 where measured.
            maps: with ``multicoil``, coil maps [B, C, H, W] with a sum of squares over the coils of 1 or 0.

        Returns:
            Image of the shape of ``input``; float32, also under autocast (float64 for float64).

        Raises:
            UserError: the channels of ``input`` do not match ``mode``, the shapes of mask and k-space do not match, or
                the k-space of the first batch has the other centring.
        """
        if self.multicoil:
            measured = measure("dc-cnn", input, kspace, mask, maps, self.mode, self.centered)
            image = measured.image
            for cascade in self.cascades:
                image = cascade(image, measured)
            return finished(image, input, self.mode)
        if kspace.shape[1] != 1:
            raise UserError(
                f"dc-cnn: expected single-coil k-space (multicoil = false), got {kspace.shape[1]} coils; set "
                "multicoil = true, or name = 'mri-multicoil' in [task], which sets it"
            )
        if input.shape[1] != self.images:
            raise UserError(
                f"dc-cnn: expected an input with {self.images} channel(s) (mode = {self.mode!r}), got "
                f"{input.shape[1]}; set the same mode in [task], [teacher] and [student]"
            )
        measurement = self.consistency.measure(kspace, mask, input.dtype)
        if not self._centring_checked and not torch.compiler.is_compiling():
            self.consistency.refuse_other_centring(input, kspace, mask)
            self._centring_checked = True
        image = input
        for cascade in self.cascades:
            image = cascade(image, measurement)
        return image

    def export_form(self, batch: Batch) -> ExportForm:
        """Return the network in real arithmetic, for ``i2ikd export``: inputs ``input``, ``mask`` and ``measured``.

        ``measured`` is the inverse transform of the measured k-space, of the shape of ``input``. It is left out where
        ``input`` is this image, as in the task ``mri-recon`` unless its ``input = "magnitude"``.

        Args:
            batch: slices of the task, with ``kspace`` and ``mask``.

        Raises:
            UserError: the network is multi-coil.
        """
        if self.multicoil:
            raise UserError(
                "dc-cnn: expected a single-coil network, got multicoil = true, whose data consistency has no form in "
                "real arithmetic yet; export its weights as NAME.safetensors"
            )
        return reconstruction_form(self, batch)
