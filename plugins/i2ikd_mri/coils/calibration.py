"""Calibration region: the block around zero frequency in which a mask measures every sample."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from i2ikd import UserError
from i2ikd_mri.fourier import PLANE


def calibration_size(mask: Tensor, shape: tuple[int, int], centered: bool) -> tuple[int, int]:
    """Return the size of the calibration region of a mask.

    Args:
        mask: [H, 1], [1, W] or [H, W], 1 where measured.
        shape: (H, W) of k-space.
        centered: position of zero frequency: index 0 (``False``) or n // 2 (``True``).

    Returns:
        (height, width) of the region in samples, as ``central_part`` selects it. Of a mask of lines, the other axis has
        its full length.

    Raises:
        UserError: zero frequency is not measured.

    >>> calibration_size(torch.tensor([[1.0, 0, 1, 1, 1, 0]]), (4, 6), centered=True)
    (4, 3)
    """
    measured = (mask if centered else torch.fft.fftshift(mask, PLANE)).expand(shape).numpy() != 0
    if not measured[shape[0] // 2, shape[1] // 2]:
        raise UserError(
            "coil calibration: expected a mask that measures the centre of k-space, got one without zero frequency; "
            "use a mask with a fully sampled centre, and check centered in [task]"
        )
    if mask.shape[-1] == 1:
        return _run(measured[:, 0]), shape[1]
    if mask.shape[-2] == 1:
        return shape[0], _run(measured[0])
    return _block(measured)


def central_part(kspace: Tensor, size: tuple[int, int], centered: bool) -> Tensor:
    """Select the block of k-space around zero frequency.

    Args:
        kspace: [..., H, W].
        size: (height, width) of the block, at most (H, W).
        centered: position of zero frequency in ``kspace``.

    Returns:
        [..., height, width], with zero frequency at index n // 2 of each axis.
    """
    moved = kspace if centered else torch.fft.fftshift(kspace, PLANE)
    for axis, length in zip(PLANE, size):
        moved = moved.narrow(axis, moved.shape[axis] // 2 - length // 2, length)
    return moved


def _run(measured: np.ndarray) -> int:
    """Return the largest length n of measured samples from middle - n // 2 on."""
    middle = len(measured) // 2
    before, after = np.flatnonzero(~measured[:middle][::-1]), np.flatnonzero(~measured[middle:])
    left = int(before[0]) if len(before) else middle
    right = int(after[0]) if len(after) else len(measured) - middle
    return min(2 * left + 1, 2 * right)


def _block(measured: np.ndarray) -> tuple[int, int]:
    """Return the size of a fully measured block, grown by one sample of each axis in turn."""
    size, growing = [1, 1], {0, 1}
    while growing:
        for axis in sorted(growing):
            wanted = list(size)
            wanted[axis] += 1
            rows, columns = (slice(n // 2 - w // 2, n // 2 - w // 2 + w) for n, w in zip(measured.shape, wanted))
            if wanted[axis] <= measured.shape[axis] and measured[rows, columns].all():
                size = wanted
            else:
                growing.remove(axis)
    return size[0], size[1]
