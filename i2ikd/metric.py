"""Metric interface: a scalar score of a prediction against a target, per slice or per volume."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np


class Metric(ABC):
    """Scalar score of a predicted image or volume.

    The registered name contains scope and peak, e.g. ``psnr-volume-max``.

    Attributes:
        scope: ``slice``: called with arrays [H, W], or [C, H, W] if images have several channels; ``volume``: called
            with arrays [S, H, W], in which each channel of a slice is a plane of its own.
        higher_is_better: direction of better scores.
        unit: physical unit; empty for a dimensionless score.
    """

    scope: ClassVar[Literal["slice", "volume"]] = "slice"
    higher_is_better: ClassVar[bool] = True
    unit: ClassVar[str] = ""

    @abstractmethod
    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Compute the score.

        Args:
            prediction: float array, of the shape that ``scope`` states.
            target: float array of the same shape; the only source of a peak or range.

        Returns:
            The score; NaN where it is undefined.
        """
