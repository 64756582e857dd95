"""Values of files as values of the network, and back: a range of the file is 0..1."""

from __future__ import annotations

import numpy as np

from i2ikd import UserError

Range = tuple[float, float]
_TARGET_MARGIN, _INPUT_MARGIN = 0.2, 1.0
"""Shares of the range by which values may leave it: ringing of targets, noise of inputs."""


def range_of(dtype: np.dtype, stated: Range | None) -> Range:
    """Return the (lowest, highest) value of a file that are 0 and 1 for the network.

    Args:
        dtype: type of the values of the file.
        stated: by the option ``value_range``; ``None``: the whole range of integers without sign, 0..1 of other types.

    >>> range_of(np.dtype("uint8"), None), range_of(np.dtype("float32"), None)
    ((0.0, 255.0), (0.0, 1.0))
    """
    if stated is not None:
        return stated
    return (0.0, float(np.iinfo(dtype).max)) if dtype.kind == "u" else (0.0, 1.0)


def to_unit(values: np.ndarray, stated: Range | None) -> np.ndarray:
    """Return values of a file as float32 for the network.

    Args:
        values: any shape.
        stated: see ``range_of``.
    """
    low, high = range_of(values.dtype, stated)
    return ((values.astype(np.float64) - low) / (high - low)).astype(np.float32)


def from_unit(values: np.ndarray, dtype: np.dtype, stated: Range | None) -> np.ndarray:
    """Return values of the network in type and units of a file; integers are rounded and limited to their type.

    Args:
        values: any shape.
        dtype: type of the file.
        stated: see ``range_of``.

    >>> from_unit(np.array([-0.1, 0.5, 2.0]), np.dtype("uint8"), None)
    array([  0, 128, 255], dtype=uint8)
    """
    low, high = range_of(dtype, stated)
    scaled = values.astype(np.float64) * (high - low) + low
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        scaled = np.clip(np.rint(scaled), limits.min, limits.max)
    return scaled.astype(dtype)


def refuse_outside(low: float, high: float, dtype: np.dtype, stated: Range | None, where: str, target: bool) -> None:
    """Check that the values of a file are in the range that is 0..1 for the network.

    Args:
        low: lowest value of the file.
        high: highest value of the file.
        dtype: of the file.
        stated: see ``range_of``.
        where: the file, the prefix of the message.
        target: whether it is a target; inputs may leave the range further, by noise.

    Raises:
        UserError: values far outside of the range.
    """
    first, last = range_of(dtype, stated)
    margin = (_TARGET_MARGIN if target else _INPUT_MARGIN) * (last - first)
    if low < first - margin or high > last + margin:
        raise UserError(
            f"{where}: expected values in {first:g}..{last:g}, got {low:.4g}..{high:.4g} ({dtype}); set value_range to "
            "[lowest, highest] value of the data, which are 0 and 1 for the network"
        )
