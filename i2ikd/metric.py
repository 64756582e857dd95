"""The Metric interface: one number from a prediction and a target, per slice or per volume."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np


class Metric(ABC):
    """A number that judges an image. Its registered name says its scope and its peak."""

    scope: ClassVar[Literal["slice", "volume"]] = "slice"
    """``slice``: called with [H, W] arrays; ``volume``: called with [S, H, W] arrays."""

    higher_is_better: ClassVar[bool] = True
    unit: ClassVar[str] = ""

    @abstractmethod
    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Judge float arrays of one shape."""
