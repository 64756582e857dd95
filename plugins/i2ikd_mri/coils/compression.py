"""Compression of coils to fewer virtual coils."""

from __future__ import annotations

import torch
from torch import Tensor


def compression_matrix(calibration: Tensor, coils: int) -> Tensor:
    """Compute the matrix to virtual coils by a singular value decomposition of calibration data.

    The virtual coils are the orthonormal combinations with the most energy in the calibration data. Source: Buehrer et
    al. 2007, Array compression for MRI with large coil arrays, Magn. Reson. Med. 57.

    Args:
        calibration: complex [C, ...], samples of all coils.
        coils: number of virtual coils, at least 1.

    Returns:
        Complex [min(coils, C), C] with orthonormal rows, in decreasing order of energy.
    """
    samples = calibration.flatten(1)
    _, vectors = torch.linalg.eigh(samples @ samples.mH)  # ascending
    return vectors[:, -min(coils, len(samples)) :].flip(1).mH.contiguous()


def compressed(values: Tensor, matrix: Tensor) -> Tensor:
    """Apply a matrix to the coil axis.

    Args:
        values: complex [C, H, W]: k-space, images or maps.
        matrix: complex [V, C].

    Returns:
        Complex [V, H, W].
    """
    return torch.einsum("vc,chw->vhw", matrix, values)
