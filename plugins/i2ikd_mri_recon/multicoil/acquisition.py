"""Conversion of a multi-coil slice to a sample: measured k-space, coil maps, zero-filled image and target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from i2ikd_mri.coils.calibration import calibration_size, central_part
from i2ikd_mri.coils.compression import compressed, compression_matrix
from i2ikd_mri.coils.maps import CoilMaps
from i2ikd_mri.coils.operator import combine, root_sum_of_squares
from i2ikd_mri.coils.slices import CoilSlice
from i2ikd_mri.fourier import fourier, inverse_fourier, to_channels
from i2ikd_mri.masks import Mask
from torch import Tensor

from i2ikd import Sample, SampleKey
from i2ikd_mri_recon.multicoil.crop import cropped
from i2ikd_mri_recon.sample_masks import SampleMasks
from i2ikd_mri_recon.undersampling import refuse_other_position

Target = Literal["sense", "rss"]


class Acquisition:
    """Multi-coil acquisition: k-space of fully sampled slices is undersampled, that of others is used as it is.

    Calibration of virtual coils and coil maps, and the network input, depend on measured samples alone.

    Args:
        mask: the undersampling mask; a mask of the file takes precedence.
        maps: estimator of the coil maps.
        target: ``sense``: fully sampled images of the coils, combined with the maps; ``rss``: their root sum of
            squares, over the coils of the file.
        centered: position of zero frequency, and of the image origin: index 0 (``False``) or n // 2 (``True``).
        crop: whether images have the reconstruction size that the file states.
        compress: most virtual coils; ``None``: all coils of the file.
    """

    def __init__(
        self, mask: Mask, maps: CoilMaps, target: Target, centered: bool, crop: bool, compress: int | None
    ) -> None:
        self.mask = mask
        self.maps = maps
        self.target = target
        self.centered = centered
        self.crop = crop
        self.compress = compress
        self._masks = SampleMasks(mask, centered)

    def __call__(self, found: CoilSlice, key: SampleKey, draw: Sequence[int]) -> Sample:
        """Return the sample of a slice.

        Args:
            found: the slice.
            key: key of the sample.
            draw: seeds of a random mask (sample index, augmentation seed).

        Returns:
            Input and target [2, h, w] (``sense``) or [1, h, w] (``rss``), without a target for a slice that is not
            fully sampled; conditions ``kspace`` [V, H, W] complex64, 0 where not measured, ``mask`` [1, H, 1],
            [1, 1, W] or [1, H, W], and ``maps`` [V, H, W] complex64. H and W are those of k-space; where whole lines
            are measured, the axis along the lines is cropped to the reconstruction size, which removes oversampling.

        Raises:
            UserError: zero frequency is at the other position or not measured, or maps cannot be estimated.
        """
        refuse_other_position(found.kspace.abs().square().sum(0).sqrt(), self.centered, found.where)
        full, maps = found.kspace, found.maps
        mask = self.mask_of(found, draw)
        size = found.reconstruction_size if self.crop else None
        size = (full.shape[-2], full.shape[-1]) if size is None else size
        lines = (size[0] if mask.shape[0] == 1 else full.shape[-2], size[1] if mask.shape[1] == 1 else full.shape[-1])
        if lines != tuple(full.shape[-2:]):
            full = fourier(cropped(inverse_fourier(full, self.centered), lines), self.centered)
            maps = None if maps is None else cropped(maps, lines)
            mask = mask[: lines[0], : lines[1]]
        kspace = full * mask
        virtual = full
        if self.compress is not None and self.compress < len(full):
            extent = calibration_size(mask, lines, self.centered)
            matrix = compression_matrix(central_part(kspace, extent, self.centered), self.compress)
            kspace, virtual = compressed(kspace, matrix), compressed(full, matrix)
            maps = None if maps is None else compressed(maps, matrix)
        maps = self.maps(kspace, mask, self.centered, maps)
        target = None
        if found.complete:
            target = cropped(self._combined(full if self.target == "rss" else virtual, maps), size)
        return Sample(
            input=cropped(self._combined(kspace, maps), size),
            target=target,
            conditions={"kspace": kspace, "mask": mask[None], "maps": maps},
            key=key,
        )

    def _combined(self, kspace: Tensor, maps: Tensor) -> Tensor:
        """Return the image of k-space [C, H, W]: [2, H, W] for ``sense``, [1, H, W] for ``rss``."""
        images = inverse_fourier(kspace, self.centered)
        return root_sum_of_squares(images) if self.target == "rss" else to_channels(combine(images, maps)[0])

    def mask_of(self, found: CoilSlice, draw: Sequence[int]) -> Tensor:
        """Return the mask of the file, its support where it is undersampled, or a simulated mask without padding.

        Args:
            found: the slice.
            draw: seeds of a random mask (sample index, augmentation seed).

        Raises:
            UserError: the mask cannot be generated for slices of this shape.
        """
        if found.mask is not None:
            return found.mask
        if not found.complete:
            return found.measured
        mask = self._masks((found.kspace.shape[-2], found.kspace.shape[-1]), draw)
        return mask if bool(found.measured.all()) else mask * found.measured
