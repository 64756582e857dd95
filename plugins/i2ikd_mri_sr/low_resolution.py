"""Low resolution as a scanner has it: the central part of k-space is kept, the rest was never measured."""

from __future__ import annotations

from typing import Literal

import torch
from i2ikd_mri.resample import resample
from torch import Tensor

from i2ikd import UserError

Grid = Literal["target", "low"]


class LowResolution:
    """Makes low-resolution magnitude images of fully sampled ones.

    Args:
        factor: how much larger the target is than the low-resolution image, along both axes, more than 1; sizes that
            it does not divide are rounded. ``None``: ``keep`` says it; 4 where neither is given.
        keep: (height, width) of the part of k-space that is kept.
        grid: whether a network sees the image on the target's grid (zero-filled), or on the low-resolution one.

    Raises:
        UserError: both a factor and a size.
    """

    def __init__(self, factor: float | None, keep: tuple[int, int] | None, grid: Grid) -> None:
        if factor is not None and keep is not None:
            raise UserError(f"factor = {factor:g} and keep = {list(keep)} say the same thing: leave one of them out")
        self.factor = 4.0 if factor is None and keep is None else factor
        self.keep = keep
        self.grid = grid

    def kept(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the size (h, w) of the low-resolution image of a slice of (H, W) pixels.

        Raises:
            UserError: there is nothing to enlarge, or the grid ``low`` and a target that is no integer multiple.
        """
        if self.factor is not None:
            wanted = (max(1, round(shape[0] / self.factor)), max(1, round(shape[1] / self.factor)))
        else:
            assert self.keep is not None, "either a factor or a size is given"
            wanted = self.keep
        words = f"{shape[0]}x{shape[1]}, the part of k-space that is kept {wanted[0]}x{wanted[1]}"
        if any(small > large for small, large in zip(wanted, shape)) or wanted == shape:
            raise UserError(f"the slice is {words}: there is nothing to enlarge; keep less, or take a larger factor")
        if self.grid == "low" and any(large % small for small, large in zip(wanted, shape)):
            raise UserError(
                f"the slice is {words}: with grid = 'low' it must be an integer multiple; give the dataset a size that "
                "the factor divides, or take grid = 'target'"
            )
        return wanted

    def low(self, image: Tensor) -> Tensor:
        """Return the magnitude on the low-resolution grid.

        Args:
            image: [..., H, W], real or complex.

        Returns:
            [..., h, w], real: |F^-1(central part of F(image))|, scaled such that the mean intensity stays.
        """
        return _shrunk(image, self.kept(_plane(image))).abs()

    def zero_filled(self, image: Tensor) -> Tensor:
        """Return the magnitude on the grid of ``image``: all but the central part of k-space is zero."""
        shape = _plane(image)
        return resample(_shrunk(image, self.kept(shape)), shape).abs()

    def seen(self, image: Tensor) -> Tensor:
        """Return what a network sees of ``image``."""
        return self.zero_filled(image) if self.grid == "target" else self.low(image)

    def enlarged(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the size of the target of a slice that is of low resolution already.

        Raises:
            UserError: only the size of the kept part is known.
        """
        if self.factor is None:
            raise UserError("how much to enlarge a low-resolution file is not known from keep: give factor instead")
        return round(shape[0] * self.factor), round(shape[1] * self.factor)


def _plane(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _shrunk(image: Tensor, size: tuple[int, int]) -> Tensor:
    kind = torch.complex128 if image.dtype in (torch.float64, torch.complex128) else torch.complex64
    return resample(image.to(kind), size)
