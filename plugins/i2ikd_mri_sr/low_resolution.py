"""Simulation of a low-resolution acquisition: only the central part of k-space is measured."""

from __future__ import annotations

from typing import Literal

import torch
from i2ikd_mri.resample import resample
from torch import Tensor

from i2ikd import UserError

Grid = Literal["target", "low"]


class LowResolution:
    """Simulate low-resolution magnitude images from fully sampled ones.

    k-space has zero frequency at index n // 2 of an axis of length n; see ``resample``.

    Args:
        factor: ratio of the size of the target to that of the low-resolution image, along both axes, above 1; sizes
            that it does not divide are rounded. ``None``: set by ``keep``, or 4 without ``keep``.
        keep: (height, width) of the central part of k-space that is kept.
        grid: input of the networks: ``target``: the zero-filled image on the grid of the target; ``low``: the image on
            the low-resolution grid.

    Raises:
        UserError: both ``factor`` and ``keep`` are set.
    """

    def __init__(self, factor: float | None, keep: tuple[int, int] | None, grid: Grid) -> None:
        if factor is not None and keep is not None:
            both = f"factor = {factor:g} and keep = {list(keep)}"
            raise UserError(f"mri-sr: expected either factor or keep, got {both}; remove one of them")
        self.factor = 4.0 if factor is None and keep is None else factor
        self.keep = keep
        self.grid = grid

    def kept(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the size of the low-resolution image of a slice.

        Args:
            shape: (H, W) of the slice in pixels.

        Returns:
            (h, w) in pixels.

        Raises:
            UserError: the size is not smaller than the slice, or, with the grid ``low``, does not divide it.
        """
        if self.factor is not None:
            size = (max(1, round(shape[0] / self.factor)), max(1, round(shape[1] / self.factor)))
        else:
            assert self.keep is not None, "either factor or keep is set"
            size = self.keep
        sizes = f"slice of {shape[0]}x{shape[1]}, kept k-space of {size[0]}x{size[1]}"
        if any(small > large for small, large in zip(size, shape)) or size == shape:
            raise UserError(f"{sizes}: expected a kept part smaller than the slice; lower keep, or raise factor")
        if self.grid == "low" and any(large % small for small, large in zip(size, shape)):
            raise UserError(
                f"{sizes}: grid = 'low' expects an integer multiple; set the dataset's size to a multiple of factor, "
                "or set grid = 'target'"
            )
        return size

    def low(self, image: Tensor) -> Tensor:
        """Return the magnitude on the low-resolution grid.

        Args:
            image: [..., H, W], real or complex.

        Returns:
            [..., h, w], real: |F^-1(central part of F(image))|, scaled such that the mean intensity is preserved.

        Raises:
            UserError: see ``kept``.
        """
        return _shrunk(image, self.kept(_plane(image))).abs()

    def zero_filled(self, image: Tensor) -> Tensor:
        """Return the magnitude on the grid of ``image``, with k-space set to 0 outside the central part.

        Args:
            image: [..., H, W], real or complex.

        Returns:
            [..., H, W], real.

        Raises:
            UserError: see ``kept``.
        """
        shape = _plane(image)
        return resample(_shrunk(image, self.kept(shape)), shape).abs()

    def network_input(self, image: Tensor) -> Tensor:
        """Return the input of a network: ``zero_filled`` or ``low``, depending on the grid.

        Args:
            image: [..., H, W], real or complex.

        Raises:
            UserError: see ``kept``.
        """
        return self.zero_filled(image) if self.grid == "target" else self.low(image)

    def enlarged(self, shape: tuple[int, int], full_size: tuple[int, int] | None = None) -> tuple[int, int]:
        """Return the size of the enlarged image of a low-resolution slice.

        Args:
            shape: (h, w) of the slice in pixels.
            full_size: (H, W) of fully sampled slices, of which ``keep`` is a part; ``None``: not known.

        Returns:
            (H, W) in pixels.

        Raises:
            UserError: ``keep`` is set, and ``full_size`` is not known.
        """
        if self.factor is not None:
            return round(shape[0] * self.factor), round(shape[1] * self.factor)
        assert self.keep is not None, "either factor or keep is set"
        if full_size is None:
            raise UserError(
                "new low-resolution data is enlarged by the ratio of the full size to keep, and the full size is not "
                "known; set -o task.dataset.size=[H,W], or --simulate for fully sampled data"
            )
        return (
            round(shape[0] * full_size[0] / self.keep[0]),
            round(shape[1] * full_size[1] / self.keep[1]),
        )


def _plane(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _shrunk(image: Tensor, size: tuple[int, int]) -> Tensor:
    kind = torch.complex128 if image.dtype in (torch.float64, torch.complex128) else torch.complex64
    return resample(image.to(kind), size)
