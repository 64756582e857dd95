"""Start and end of networks with multi-coil data consistency: the measurement, and the image of the input's form."""

from __future__ import annotations

from typing import Literal

from i2ikd_mri.coils.consistency import SenseMeasurement
from i2ikd_mri.fourier import from_channels
from torch import Tensor

from i2ikd import UserError
from i2ikd_mri_recon.multicoil.crop import cropped

Mode = Literal["real", "complex"]


def measure(
    network: str, input: Tensor, kspace: Tensor, mask: Tensor, maps: Tensor | None, mode: Mode, centered: bool
) -> SenseMeasurement:
    """Return the measurement of a batch.

    Args:
        network: name of the network, for messages.
        input: [B, C, h, w], with C = 1 in mode ``real`` and 2 in mode ``complex``; of k-space's size or smaller.
        kspace: complex [B, coils, H, W].
        mask: [B, 1, H, 1], [B, 1, 1, W] or [B, 1, H, W].
        maps: complex [B, coils, H, W].
        mode: channels of input and output.
        centered: position of zero frequency and image origin.

    Raises:
        UserError: the maps are absent, or shapes do not match.
    """
    if maps is None:
        raise UserError(
            f"{network}: expected the condition maps, as the task mri-multicoil provides it, got none; for single-coil "
            "data use dc-cnn with multicoil = false"
        )
    channels = 1 if mode == "real" else 2
    if input.shape[1] != channels:
        raise UserError(
            f"{network}: expected an input with {channels} channel(s) (mode = {mode!r}), got {input.shape[1]}; omit "
            "mode in [teacher] and [student]: the task sets it"
        )
    return SenseMeasurement.of(kspace, mask, maps, centered, input.dtype)


def finished(image: Tensor, input: Tensor, mode: Mode) -> Tensor:
    """Return an image in the form of the network's input: cropped to its size, in mode ``real`` as the magnitude.

    Args:
        image: [B, 2, H, W], real and imaginary channels.
        input: [B, C, h, w].
        mode: channels of the output.

    Returns:
        [B, C, h, w].
    """
    image = cropped(image, (input.shape[-2], input.shape[-1]))
    return image if mode == "complex" else from_channels(image).abs().unsqueeze(1)
