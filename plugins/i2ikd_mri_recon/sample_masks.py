"""Undersampling masks of samples: one for all slices of a shape, or one for each draw."""

from __future__ import annotations

from collections.abc import Sequence

from i2ikd_mri.masks import Mask
from torch import Tensor


class SampleMasks:
    """Masks of the samples of a task; a fixed mask is generated once for each shape.

    Args:
        mask: the undersampling mask.
        centered: position of zero frequency: index 0 (``False``) or n // 2 (``True``).
    """

    def __init__(self, mask: Mask, centered: bool) -> None:
        self._mask = mask
        self._centered = centered
        self._fixed: dict[tuple[int, int], Tensor] = {}

    def __call__(self, shape: tuple[int, int], draw: Sequence[int]) -> Tensor:
        """Return the mask [H, 1], [1, W] or [H, W] of a sample.

        Args:
            shape: (H, W) of the slice.
            draw: seeds of a random mask (sample index, augmentation seed).

        Raises:
            UserError: the mask cannot be generated for slices of this shape.
        """
        if not self._mask.fixed:
            return self._mask(shape, draw, self._centered)
        if shape not in self._fixed:
            self._fixed[shape] = self._mask(shape, (), self._centered)
        return self._fixed[shape]
