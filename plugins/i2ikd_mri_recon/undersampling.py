"""Conversion of a slice to a sample: undersampled k-space and zero-filled image, simulated or stored."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from i2ikd_mri.conventions import has_energy_at_other_position
from i2ikd_mri.fourier import fourier, inverse_fourier, to_channels
from i2ikd_mri.masks import Mask, support
from i2ikd_mri.slices import Slice
from i2ikd_mri.stored_mask import StoredMask, checked_mask
from torch import Tensor

from i2ikd import Sample, SampleKey, UserError
from i2ikd_mri_recon.sample_masks import SampleMasks

Input = Literal["real", "magnitude"]


class Undersampling:
    """Simulated single-coil acquisition: k-space F(image) * mask and its inverse transform.

    Axes are rows (H) and columns (W); transforms are orthonormal, see ``fourier``.

    Args:
        mask: the undersampling mask.
        mode: ``real``: one channel, the real part of images; ``complex``: real and imaginary channels.
        centered: position of zero frequency in k-space and mask: index 0 (``False``) or n // 2 (``True``).
        own_mask: whether ``mask`` is also the mask of a stored k-space without one; otherwise that is its support.
        input: network input in real mode: the real part or the magnitude of the zero-filled image.

    Raises:
        UserError: ``input = "magnitude"`` in complex mode.
    """

    def __init__(
        self, mask: Mask, mode: Literal["real", "complex"], centered: bool, own_mask: bool, input: Input = "real"
    ) -> None:
        if mode == "complex" and input == "magnitude":
            raise UserError(
                "mri-recon: input = 'magnitude' needs mode = 'real', got mode = 'complex', whose input has a real and "
                "an imaginary channel; omit input"
            )
        self.mask = mask
        self.mode = mode
        self.input = input
        self.centered = centered
        self.own_mask = own_mask
        self._masks = SampleMasks(mask, centered)
        self._warned = False

    def mask_of(self, found: Slice, draw: Sequence[int]) -> Tensor:
        """Return the mask for the image of a slice: that of the task, or, for ``stored``, that of the file.

        Args:
            found: the slice.
            draw: seeds of a random mask (sample index, augmentation seed).

        Raises:
            UserError: the mask cannot be generated for slices of this shape, or the slice has no stored mask.
        """
        if isinstance(self.mask, StoredMask):
            return checked_mask(found.mask, self.centered, found.where)
        return self._masks(found.shape, draw)

    def masks_of(self, shapes: Iterable[tuple[int, int]]) -> dict[str, np.ndarray]:
        """Return the mask of each shape as ``mask-HxW``; none if it depends on the slice.

        Args:
            shapes: (H, W) of slices.
        """
        if isinstance(self.mask, StoredMask) or not self.mask.fixed:
            return {}
        return {f"mask-{height}x{width}": self._masks((height, width), ()).numpy() for height, width in set(shapes)}

    def simulate(self, image: Tensor, found: Slice, key: SampleKey, draw: Sequence[int]) -> Sample:
        """Undersample a fully sampled image.

        The first stored mask that is not used causes a warning on stderr.

        Args:
            image: [H, W], real or complex: that of the slice, augmented in training.
            found: the slice.
            key: key of the sample.
            draw: seeds of a random mask (sample index, augmentation seed).

        Returns:
            Zero-filled input and target [C, H, W], with the conditions ``kspace`` [1, H, W] and ``mask``.

        Raises:
            UserError: the mask cannot be generated for slices of this shape, or the slice has no stored mask.
        """
        mask = self.mask_of(found, draw)
        self._warn_of_unused(found)
        kspace = fourier(image, self.centered) * mask
        return self._sample(inverse_fourier(kspace, self.centered), image, kspace, mask, key)

    def stored(self, found: Slice, key: SampleKey) -> Sample:
        """Return the undersampled pair stored in the file as a sample.

        Args:
            found: a slice with a stored k-space.
            key: key of the sample.

        Raises:
            UserError: the stored k-space does not match the stored image or the mask.
        """
        assert found.kspace is not None, "a stored pair has a k-space"
        mask = self._mask_of_stored(found, found.kspace)
        if bool(mask.all()):
            raise UserError(
                f"{found.where}: expected an undersampled k-space, got a fully sampled one, which needs no "
                "reconstruction; store its image and read that, so that the undersampling is simulated"
            )
        zero_filled = inverse_fourier(found.kspace, self.centered)
        if found.undersampled is not None:
            _check_pair(zero_filled, found.undersampled, found.where)
        else:
            refuse_other_position(found.kspace, self.centered, found.where)
        image = found.image if found.image is not None else torch.zeros_like(zero_filled).real
        return self._sample(zero_filled, image, found.kspace, mask, key)

    def _mask_of_stored(self, found: Slice, kspace: Tensor) -> Tensor:
        """Return the mask of the file, that of the task if it is a ``file``, or the support of the k-space."""
        if found.mask is not None or isinstance(self.mask, StoredMask):
            return checked_mask(found.mask, self.centered, found.where)
        if not self.own_mask:
            return support(kspace)
        mask = self._masks(found.shape, ())
        if bool((kspace * (1 - mask)).any()):
            raise UserError(
                f"{found.where}: the stored k-space has samples where the mask of the task is 0; store its mask in the "
                "file, or set task.mask to another kind, so that the support of the k-space is its mask"
            )
        return mask

    def _warn_of_unused(self, found: Slice) -> None:
        if found.mask is not None and not isinstance(self.mask, StoredMask) and not self._warned:
            self._warned = True
            print(
                f"i2ikd: warning: {found.where}: the file has a mask, and k-space is simulated with that of [task]; "
                "set mask = 'stored' to use the mask of the file",
                file=sys.stderr,
            )

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


def refuse_other_position(kspace: Tensor, centered: bool, where: str) -> None:
    """Check that a stored k-space has its energy where zero frequency is stated to be.

    Args:
        kspace: [H, W], real or complex.
        centered: stated position of zero frequency: index 0 (``False``) or n // 2 (``True``).
        where: file and slice, the prefix of the message.

    Raises:
        UserError: most of the energy is at the other position.
    """
    if has_energy_at_other_position(kspace.numpy(), centered):
        stated, position = ("n // 2", "index 0") if centered else ("index 0", "n // 2")
        raise UserError(
            f"{where}: expected a stored k-space with zero frequency at {stated}, got most of its energy at "
            f"{position}; set centered = {str(not centered).lower()} in [task]"
        )


def _check_pair(zero_filled: Tensor, undersampled: Tensor, where: str) -> None:
    """Check that a stored image is the inverse transform of the stored k-space, its real part or its magnitude."""
    candidates = [zero_filled] if undersampled.is_complex() else [zero_filled.real, zero_filled.abs()]
    norm = torch.linalg.vector_norm
    error = min(float(norm(c - undersampled) / norm(undersampled)) for c in candidates)
    if error > 0.05:
        raise UserError(
            f"{where}: the inverse transform of the stored k-space differs from the stored undersampled image by "
            f"{error:.0%}; expected orthonormal k-space centred as set by task.centered; or set task.stored = false"
        )
