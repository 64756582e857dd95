"""Data consistency: put what was measured back into the k-space of an image, in float32 under any autocast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from i2ikd import UserError
from i2ikd_mri.fourier import from_channels, inverse_fourier, to_channels
from i2ikd_mri.precision import full_precision

Mode = Literal["real", "complex"]


@dataclass(frozen=True)
class Measurement:
    """What was measured of a batch, made ready for any number of data-consistency steps.

    Attributes:
        image: the measured k-space as an image, [B, 1, H, W], or [B, 2, H, W] in complex mode.
        missing: weight of the network's k-space, 1 where nothing was measured, zero frequency at index 0; in real
            mode averaged with its mirror (k -> -k), and the non-negative half of the last transformed axis.
        axes: the axes that have to be transformed: one for a mask of lines, otherwise both.
    """

    image: Tensor
    missing: Tensor
    axes: tuple[int, ...]


class DataConsistency(nn.Module):
    """k' = mask * measured + (1 - mask) * F(x), and back to the image (Schlemper et al. 2017, arXiv:1704.02422).

    The step is linear and F is unitary, so it is computed as F^-1(mask * measured) + F^-1((1 - mask) * F(x)): the
    first part once per batch (``measure``), the second once per cascade (``forward``). With a mask of whole lines the
    transform along the lines cancels, and with real images the real part is a product with the mask averaged with its
    mirror, so that one real transform along the phase-encode axis remains. Centring cancels too: shifts of the image
    commute with a product in k-space.

    Modes:
        ``real``: images [B, 1, H, W]; the real part is taken after the inverse transform, as KD-MRI's code does and
        as its numbers were made. Masks are not symmetric (k -> -k) while real images are, so a measured line whose
        mirror is missing keeps half of the network's amplitude, a quarter of its error energy, and the step is not
        idempotent.
        ``complex``: images [B, 2, H, W], real and imaginary channels; measured samples are replaced exactly.

    Computed in float32 and complex64 whatever the autocast (float64 and complex128 for a float64 image).
    """

    def __init__(self, mode: Mode = "real", centered: bool = False) -> None:
        super().__init__()
        self.mode = mode
        self.centered = centered

    def extra_repr(self) -> str:
        """Show the options."""
        return f"mode={self.mode!r}, centered={self.centered}"

    def measure(self, kspace: Tensor, mask: Tensor, dtype: torch.dtype = torch.float32) -> Measurement:
        """Prepare what was measured.

        Args:
            kspace: complex [B, 1, H, W], orthonormal, zero frequency as ``centered`` says; ignored where not measured.
            mask: [B, 1, H, 1], [B, 1, 1, W] or [B, 1, H, W], 1 where measured, with the centring of ``kspace``.
            dtype: dtype of the images to come.

        Raises:
            UserError: a mask that does not fit the k-space.
        """
        axes = _axes(kspace, mask)
        with full_precision(kspace):
            weights = mask.to(_real_dtype(dtype))
            measured = inverse_fourier(kspace.to(_complex_dtype(dtype)) * weights, self.centered)
            missing = 1 - (torch.fft.ifftshift(weights, (-2, -1)) if self.centered else weights)
            if self.mode == "complex":
                return Measurement(to_channels(measured[:, 0]), missing, axes)
            mirrored = torch.roll(torch.flip(missing, axes), (1,) * len(axes), axes)
            symmetric = (missing + mirrored) / 2
            half = symmetric.narrow(axes[-1], 0, symmetric.shape[axes[-1]] // 2 + 1)
            return Measurement(measured.real, half, axes)

    def refuse_other_centring(self, zero_filled: Tensor, kspace: Tensor, mask: Tensor) -> None:
        """Raise where the zero-filled image is that of the k-space by the other convention, and not by this one.

        A wrong ``centered`` would otherwise train without an error, at a cost in quality. In real mode the zero-filled
        image may be the real part or the magnitude.

        Raises:
            UserError: zero frequency is not where ``centered`` says.
        """
        own, theirs = (
            self._distance(zero_filled.float(), kspace, mask, centered)
            for centered in (self.centered, not self.centered)
        )
        energy = float(zero_filled.float().norm())
        if own > 0.1 * energy and theirs < 1e-3 * energy:
            found = "at index 0" if self.centered else "in the middle"
            raise UserError(
                f"centered = {str(self.centered).lower()}, but the k-space has its zero frequency {found}; set "
                f"centered = {str(not self.centered).lower()} in [teacher] and [student], as [task] has it"
            )

    def _distance(self, zero_filled: Tensor, kspace: Tensor, mask: Tensor, centered: bool) -> float:
        """Norm of the difference to the k-space's own zero-filled image, in the form that is nearer."""
        with full_precision(kspace):
            image = inverse_fourier(kspace.to(torch.complex64) * mask.float(), centered)
        forms = [to_channels(image[:, 0])] if self.mode == "complex" else [image.real, image.abs()]
        return min(float((form - zero_filled).norm()) for form in forms)

    def forward(self, image: Tensor, measurement: Measurement) -> Tensor:
        """Return the image [B, C, H, W] with the measured k-space in it, float32 (float64 for float64)."""
        with full_precision(image):
            image = image.to(_real_dtype(image.dtype))
            return measurement.image + keep_missing(image, measurement.missing, measurement.axes, self.mode)


def keep_missing(image: Tensor, missing: Tensor, axes: tuple[int, ...], mode: Mode) -> Tensor:
    """Keep of an image only what was not measured: F^-1(missing * F(image)).

    Args:
        image: [B, 1, H, W], or [B, 2, H, W] in complex mode.
        missing: the weights of ``Measurement.missing``.
        axes: the transformed axes.
        mode: see ``DataConsistency``.
    """
    if image.requires_grad and torch.is_grad_enabled() and not missing.requires_grad:
        return _SelfAdjoint.apply(image, missing, axes, mode)
    return _keep_missing(image, missing, axes, mode)


def _keep_missing(image: Tensor, missing: Tensor, axes: tuple[int, ...], mode: Mode) -> Tensor:
    if mode == "complex":
        spectrum = torch.fft.fftn(from_channels(image).unsqueeze(1), dim=axes)
        return to_channels(torch.fft.ifftn(missing * spectrum, dim=axes)[:, 0])
    lengths = [image.shape[axis] for axis in axes]
    return torch.fft.irfftn(missing * torch.fft.rfftn(image, dim=axes), s=lengths, dim=axes)


class _SelfAdjoint(torch.autograd.Function):
    """``keep_missing`` is a real, symmetric matrix, so its gradient is itself: half the work of torch's own formula."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, missing: Tensor, axes: tuple[int, ...], mode: Mode) -> Tensor:
        ctx.save_for_backward(missing)
        ctx.axes, ctx.mode = axes, mode
        return _keep_missing(image, missing, axes, mode)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (missing,) = ctx.saved_tensors
        return keep_missing(gradients[0], missing, ctx.axes, ctx.mode), None, None, None


def _real_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype in (torch.float64, torch.complex128) else torch.float32


def _complex_dtype(dtype: torch.dtype) -> torch.dtype:
    """Name the complex type; ``dtype.to_complex()`` would break the graph of ``torch.compile``."""
    return torch.complex128 if _real_dtype(dtype) == torch.float64 else torch.complex64


def _axes(kspace: Tensor, mask: Tensor) -> tuple[int, ...]:
    """Tell from the mask's shape, never from its values, which axes have to be transformed."""
    height, width = kspace.shape[-2:]
    if mask.ndim == 4 and kspace.ndim == 4 and mask.shape[0] in (1, kspace.shape[0]) and mask.shape[1] == 1:
        if tuple(mask.shape[-2:]) == (height, 1):
            return (-2,)
        if tuple(mask.shape[-2:]) == (1, width):
            return (-1,)
        if tuple(mask.shape[-2:]) == (height, width):
            return (-2, -1)
    raise UserError(
        f"a mask of shape {list(mask.shape)} does not fit a k-space of shape {list(kspace.shape)}; "
        f"it must be [B, 1, {height}, 1], [B, 1, 1, {width}] or [B, 1, {height}, {width}]"
    )
