"""From a slice to a sample: undersampled k-space and zero-filled image, simulated or as the file stores them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from i2ikd_mri.fourier import fourier, inverse_fourier, to_channels
from i2ikd_mri.masks import Mask
from i2ikd_mri.slices import Slice
from torch import Tensor

from i2ikd import Sample, SampleKey, UserError

Input = Literal["real", "magnitude"]


class Undersampling:
    """Measures slices with a mask.

    Args:
        mask: which k-space samples are measured.
        mode: ``real``: one channel, the real part of images; ``complex``: real and imaginary channels.
        centered: where zero frequency is in k-space and in the mask.
        own_mask: whether a stored k-space comes with this mask; otherwise its mask is where it is not zero.
        input: of the zero-filled image, what is the input in real mode: its real part or its magnitude.

    Raises:
        UserError: the magnitude as an input of two channels.
    """

    def __init__(
        self, mask: Mask, mode: Literal["real", "complex"], centered: bool, own_mask: bool, input: Input = "real"
    ) -> None:
        if mode == "complex" and input == "magnitude":
            raise UserError(
                "mri-recon: input = 'magnitude' needs mode = 'real', got mode = 'complex', whose input has a real and "
                "an imaginary channel; leave input out"
            )
        self.mask = mask
        self.mode = mode
        self.input = input
        self.centered = centered
        self.own_mask = own_mask
        self._fixed: dict[tuple[int, int], Tensor] = {}

    def mask_for(self, shape: tuple[int, int], draw: Sequence[int]) -> Tensor:
        """Return the mask [H, 1], [1, W] or [H, W] of a sample.

        Raises:
            UserError: the mask cannot be made for slices of this shape.
        """
        if not self.mask.fixed:
            return self.mask(shape, draw, self.centered)
        if shape not in self._fixed:
            self._fixed[shape] = self.mask(shape, (), self.centered)
        return self._fixed[shape]

    def simulate(self, image: Tensor, key: SampleKey, draw: Sequence[int]) -> Sample:
        """Undersample a fully sampled image [H, W]; ``draw`` tells random masks apart."""
        mask = self.mask_for((image.shape[0], image.shape[1]), draw)
        kspace = fourier(image, self.centered) * mask
        return self._sample(inverse_fourier(kspace, self.centered), image, kspace, mask, key)

    def stored(self, found: Slice, key: SampleKey) -> Sample:
        """Take the undersampled pair of the file.

        Raises:
            UserError: the file's k-space and image contradict each other or the mask.
        """
        assert found.kspace is not None, "a stored pair has a k-space"
        mask = self.mask_for(found.shape, ()) if self.own_mask else support(found.kspace)
        if self.own_mask and bool((found.kspace * (1 - mask)).any()):
            raise UserError(f"{found.where}: the stored k-space has samples where the mask says that there are none")
        zero_filled = inverse_fourier(found.kspace, self.centered)
        if found.undersampled is not None:
            _check_pair(zero_filled, found.undersampled, found.where)
        image = found.image if found.image is not None else torch.zeros_like(zero_filled).real
        return self._sample(zero_filled, image, found.kspace, mask, key)

    def _sample(self, zero_filled: Tensor, image: Tensor, kspace: Tensor, mask: Tensor, key: SampleKey) -> Sample:
        return Sample(
            input=zero_filled.abs()[None] if self.input == "magnitude" else self._channels(zero_filled),
            target=self._channels(image),
            conditions={"kspace": kspace[None], "mask": mask[None]},
            key=key,
        )

    def _channels(self, image: Tensor) -> Tensor:
        if self.mode == "complex":
            return to_channels(image.to(torch.complex64))
        return image.real[None]


def support(kspace: Tensor) -> Tensor:
    """Tell from zeros which samples of a stored k-space [H, W] were measured.

    Returns:
        float32 mask: [H, 1] or [1, W] if whole rows or columns are missing and nearly nothing is inside the others
        (a measured sample may be 0 by chance), else [H, W].
    """
    measured = (kspace != 0).float()
    for lines in (measured.amax(1, keepdim=True), measured.amax(0, keepdim=True)):
        if not lines.all() and measured.sum() > 0.9 * lines.expand_as(measured).sum():
            return lines
    return measured


def _check_pair(zero_filled: Tensor, undersampled: Tensor, where: str) -> None:
    """A stored image must be what the stored k-space gives, as its real part, its magnitude, or whole."""
    candidates = [zero_filled] if undersampled.is_complex() else [zero_filled.real, zero_filled.abs()]
    norm = torch.linalg.vector_norm
    error = min(float(norm(c - undersampled) / norm(undersampled)) for c in candidates)
    if error > 0.05:
        raise UserError(
            f"{where}: the stored k-space does not give the stored undersampled image (they differ by {error:.0%}); "
            "it must be orthonormal, with zero frequency as task.centered says; or set task.stored = false"
        )
