"""Whitening of coils by a noise measurement."""

from __future__ import annotations

import numpy as np

from i2ikd import UserError


def whitening_matrix(noise: np.ndarray, where: str) -> np.ndarray:
    """Return the matrix that makes the noise of the coils uncorrelated, with variance 1.

    For the covariance C = L L^H (Cholesky), the matrix is L^-1 (Pruessmann et al., Magn. Reson. Med. 46 (2001)).

    Args:
        noise: [coils, samples], complex.
        where: prefix of messages.

    Returns:
        [coils, coils], complex128.

    Raises:
        UserError: there are fewer samples than coils, or a coil has no noise.
    """
    coils, samples = noise.shape
    values = noise.astype(np.complex128)
    covariance = values @ values.conj().T / samples
    try:
        if samples < coils:
            raise np.linalg.LinAlgError
        return np.linalg.inv(np.linalg.cholesky(covariance))
    except np.linalg.LinAlgError:
        raise UserError(
            f"{where}: expected a noise measurement of {coils} independent coils, got {samples} samples of singular "
            "covariance; set the reader option whiten = false"
        ) from None


def bandwidth_factor(noise_dwell: float, dwell: float, relative_bandwidth: float | None) -> float:
    """Return the factor of noise that is measured with another bandwidth (Kellman and McVeigh, ibid. 54 (2005)).

    Args:
        noise_dwell: time of a sample of the noise measurement.
        dwell: time of a sample of the image, in the same unit.
        relative_bandwidth: effective noise bandwidth of the receiver over its nominal bandwidth; ``None``: 1.

    Returns:
        Square root of the ratio of noise variances, 1 where a time is not stated.
    """
    if noise_dwell <= 0 or dwell <= 0:
        return 1.0
    return float(np.sqrt(dwell / noise_dwell * (relative_bandwidth or 1.0)))
