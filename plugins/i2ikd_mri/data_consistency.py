"""Data consistency: restore the measured samples in the k-space of an image, in float32 under any autocast."""

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
    """Precomputed measurement of a batch, shared by all data-consistency steps.

    Attributes:
        image: inverse transform of the measured k-space, [B, 1, H, W], or [B, 2, H, W] in complex mode.
        missing: weight of the network's k-space, 1 where nothing was measured, zero frequency at index 0. In real mode
            averaged with its mirror (k -> -k) and reduced to the non-negative half of the last transformed axis.
        axes: axes to transform: one for a mask of lines, otherwise (-2, -1).
    """

    image: Tensor
    missing: Tensor
    axes: tuple[int, ...]


class DataConsistency(nn.Module):
    """Replace measured k-space samples: x' = F^-1(mask * measured + (1 - mask) * F(x)).

    Source: the data-consistency layer of Schlemper et al. 2017, arXiv:1704.02422, for noiseless measurements. F is the
    orthonormal Fourier transform of the last two axes (rows H, columns W).

    The step is linear and F is unitary, so it is computed as F^-1(mask * measured) + F^-1((1 - mask) * F(x)): the
    first part once per batch (``measure``), the second once per cascade (``forward``). With a mask of whole lines the
    transform along the lines cancels, and with real images the real part is a product with the mask averaged with its
    mirror, so that one real transform along the phase-encode axis remains. Centring cancels too: shifts of the image
    commute with a product in k-space.

    Arithmetic is float32 and complex64 under any autocast (float64 and complex128 for a float64 image).

    Args:
        mode: ``real``: images [B, 1, H, W]; the real part is taken after the inverse transform, as in KD-MRI's code and
            published results. Masks are not symmetric (k -> -k) while the k-space of a real image is, so a measured
            line whose mirror is missing keeps half of the network's amplitude, a quarter of its error energy, and the
            step is not idempotent. ``complex``: images [B, 2, H, W], real and imaginary channels; measured samples are
            replaced exactly.
        centered: position of zero frequency in k-space and masks, and of the origin in images, along each axis of
            length n: index 0 (``False``) or n // 2 (``True``).
    """

    def __init__(self, mode: Mode = "real", centered: bool = False) -> None:
        super().__init__()
        self.mode = mode
        self.centered = centered

    def extra_repr(self) -> str:
        """Return the options, for ``repr``."""
        return f"mode={self.mode!r}, centered={self.centered}"

    def measure(self, kspace: Tensor, mask: Tensor, dtype: torch.dtype = torch.float32) -> Measurement:
        """Precompute the measurement of a batch.

        Args:
            kspace: complex [B, 1, H, W], orthonormal, centred as set by ``centered``; ignored where not measured.
            mask: [B, 1, H, 1], [B, 1, 1, W] or [B, 1, H, W], 1 where measured, with the centring of ``kspace``.
            dtype: dtype of the images passed to ``forward``.

        Raises:
            UserError: the shapes of mask and k-space do not match.
        """
        axes = transformed_axes(kspace, mask)
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
        """Check that the zero-filled image is the inverse transform of the k-space under this centring.

        Training with the wrong centring raises no error and lowers the quality, so it is detected from the data. In
        real mode the zero-filled image may be the real part or the magnitude.

        Args:
            zero_filled: [B, 1, H, W], or [B, 2, H, W] in complex mode.
            kspace: complex [B, 1, H, W], orthonormal.
            mask: [B, 1, H, 1], [B, 1, 1, W] or [B, 1, H, W].

        Raises:
            UserError: the image matches the k-space under the opposite centring and not under this one.
        """
        error, opposite_error = (
            self._distance(zero_filled.float(), kspace, mask, centered)
            for centered in (self.centered, not self.centered)
        )
        norm = float(zero_filled.float().norm())
        if error > 0.1 * norm and opposite_error < 1e-3 * norm:
            expected, position = ("index n // 2", "index 0") if self.centered else ("index 0", "index n // 2")
            raise UserError(
                f"data consistency: expected a k-space with zero frequency at {expected} "
                f"(centered = {str(self.centered).lower()}), got {position}; set centered = "
                f"{str(not self.centered).lower()} in [teacher] and [student], as in [task]"
            )

    def _distance(self, zero_filled: Tensor, kspace: Tensor, mask: Tensor, centered: bool) -> float:
        """Return the distance to the zero-filled image of the k-space; in real mode to the nearer of its two forms."""
        with full_precision(kspace):
            image = inverse_fourier(kspace.to(torch.complex64) * mask.float(), centered)
        forms = [to_channels(image[:, 0])] if self.mode == "complex" else [image.real, image.abs()]
        return min(float((form - zero_filled).norm()) for form in forms)

    def forward(self, image: Tensor, measurement: Measurement) -> Tensor:
        """Replace the measured k-space samples of an image.

        Args:
            image: [B, 1, H, W], or [B, 2, H, W] in complex mode.
            measurement: result of ``measure``.

        Returns:
            The image [B, C, H, W], float32 (float64 for float64).
        """
        with full_precision(image):
            image = image.to(_real_dtype(image.dtype))
            return measurement.image + keep_missing(image, measurement.missing, measurement.axes, self.mode)


def keep_missing(image: Tensor, missing: Tensor, axes: tuple[int, ...], mode: Mode) -> Tensor:
    """Remove the measured k-space samples from an image: F^-1(missing * F(image)).

    Zero frequency is at index 0 of k-space; the scale of F cancels. The gradient is computed by the same function.

    Args:
        image: [B, 1, H, W], or [B, 2, H, W] in complex mode.
        missing: weights as in ``Measurement.missing``.
        axes: axes to transform.
        mode: see ``DataConsistency``.

    Returns:
        Image of the shape of ``image``.
    """
    if image.requires_grad and torch.is_grad_enabled() and not missing.requires_grad and not torch.jit.is_tracing():
        return _SelfAdjoint.apply(image, missing, axes, mode)
    return _keep_missing(image, missing, axes, mode)


def _keep_missing(image: Tensor, missing: Tensor, axes: tuple[int, ...], mode: Mode) -> Tensor:
    """Compute ``keep_missing`` without a gradient formula of its own."""
    if mode == "complex":
        spectrum = torch.fft.fftn(from_channels(image).unsqueeze(1), dim=axes)
        return to_channels(torch.fft.ifftn(missing * spectrum, dim=axes)[:, 0])
    lengths = [image.shape[axis] for axis in axes]
    return torch.fft.irfftn(missing * torch.fft.rfftn(image, dim=axes), s=lengths, dim=axes)


class _SelfAdjoint(torch.autograd.Function):
    """Gradient of ``keep_missing``, a real symmetric operator and so its own adjoint: half the work of autograd."""

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
    """Return the complex type; ``dtype.to_complex()`` would break the graph of ``torch.compile``."""
    return torch.complex128 if _real_dtype(dtype) == torch.float64 else torch.complex64


def transformed_axes(kspace: Tensor, mask: Tensor) -> tuple[int, ...]:
    """Determine the axes to transform from the shape of the mask, never from its values."""
    height, width = kspace.shape[-2:]
    if mask.ndim == 4 and kspace.ndim == 4 and mask.shape[0] in (1, kspace.shape[0]) and mask.shape[1] == 1:
        if tuple(mask.shape[-2:]) == (height, 1):
            return (-2,)
        if tuple(mask.shape[-2:]) == (1, width):
            return (-1,)
        if tuple(mask.shape[-2:]) == (height, width):
            return (-2, -1)
    raise UserError(
        f"data consistency: expected a mask of shape [B, 1, {height}, 1], [B, 1, 1, {width}] or "
        f"[B, 1, {height}, {width}] for a k-space of shape {list(kspace.shape)}, got {list(mask.shape)}"
    )
