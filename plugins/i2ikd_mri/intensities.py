"""The range of a volume's intensities: which volumes are refused, and which are warned of."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np

from i2ikd import UserError

NEGATIVE_SHARE = 0.05
"""How far below 0 a volume may reach, as a share of its maximum: ringing of an interpolation, noise around 0."""


class Intensities:
    """Extremes of a volume, gathered slice by slice.

    Attributes:
        largest: largest magnitude of ``image`` (of ``undersampled`` where there is no image) in every slice; ``None``
            as long as there is neither.
        low: least value of ``image`` in the slices that are used; infinite as long as there is no real-valued one.
        high: largest value, likewise.
    """

    def __init__(self) -> None:
        self.largest: float | None = None
        self.low, self.high = float("inf"), float("-inf")

    def add(self, fields: Mapping[str, np.ndarray], used: bool) -> None:
        """Take a slice into account; ``used`` is whether the dataset uses it, or only the volume's scale does."""
        image = fields.get("image")
        magnitude = image if image is not None else fields.get("undersampled")
        if magnitude is not None:
            self.largest = max(self.largest or 0.0, float(np.abs(magnitude).max()))
        if used and image is not None and image.dtype.kind != "c":
            self.low, self.high = min(self.low, float(image.min())), max(self.high, float(image.max()))

    def check(self, name: str) -> None:
        """Refuse a volume that no score can judge, and warn on stderr of one that scores judge by a wrong peak.

        Complex images are not looked at: their magnitudes are scored.

        Raises:
            UserError: the volume is all zero, or the maximum of an image is not positive.
        """
        if self.largest == 0:
            raise UserError(f"volume {name!r} is all zero: there is nothing to learn from it; remove it")
        found = f"values in {self.low:.4g}..{self.high:.4g}"
        if self.low <= self.high <= 0:
            raise UserError(
                f"volume {name!r}: expected an image whose maximum is positive, got {found}; scores take the maximum "
                "as the peak: subtract the volume's minimum, or remove the volume"
            )
        if self.low < -NEGATIVE_SHARE * self.high:
            print(
                f"i2ikd: warning: volume {name!r}: expected an image that starts at 0, got {found}; PSNR and SSIM take "
                "the maximum as the range, which is too small then: subtract the volume's minimum",
                file=sys.stderr,
            )
