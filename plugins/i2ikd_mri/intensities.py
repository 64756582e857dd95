"""Properties of a volume that need every slice, and their check: no signal is an error, negative values a warning."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from i2ikd import UserError
from i2ikd_mri.coils.scale import central_brightness
from i2ikd_mri.conventions import resembles_kspace

NEGATIVE_SHARE = 0.05
"""Accepted magnitude of negative values as a share of the maximum: ringing of an interpolation, noise around 0."""

_COMPARED = 5
"""Number of images of a volume that are compared with a k-space, which takes a Fourier transform each."""


class Intensities:
    """Extremes, sizes, types and empty slices of a volume, gathered slice by slice.

    Attributes:
        largest: largest magnitude of ``image`` in all slices; in slices without an image of ``undersampled``, or of the
            inverse Fourier transform of ``kspace``; of multi-coil k-space, that of the low-resolution image of its
            centre. ``None`` without any of these fields.
        low: smallest value of ``image`` in the selected slices; infinite without a real-valued image.
        high: largest value of ``image`` in the selected slices; negative infinite without a real-valued image.
        empty: numbers of the selected slices whose image, or k-space, is all zero.
        sizes: (height, width) of the selected slices, each once.
        types: ``real`` or ``complex`` of the images of the selected slices, each once.
        images: number of images that are compared with a k-space: the first selected ones that are not all zero.
        resembling: number of these that resemble a k-space.
    """

    def __init__(self) -> None:
        self.largest: float | None = None
        self.low, self.high = float("inf"), float("-inf")
        self.empty: list[int] = []
        self.sizes: list[tuple[int, int]] = []
        self.types: list[str] = []
        self.resembling = self.images = 0

    def as_json(self) -> dict[str, Any]:
        """Return all attributes as JSON values; infinities are left to the ``json`` module."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Intensities:
        """Return the object of ``as_json``.

        Args:
            values: the attributes.
        """
        result = cls()
        vars(result).update(values)
        result.sizes = [(height, width) for height, width in values["sizes"]]
        return result

    def add(self, fields: Mapping[str, np.ndarray], used: bool, number: int = 0) -> None:
        """Include a slice.

        Args:
            fields: fields of the slice, by name.
            used: whether the dataset uses the slice; otherwise it is included in ``largest`` only.
            number: of the slice in the stored volume.
        """
        image = fields.get("image")
        extremes = None if image is None or image.dtype.kind == "c" else (float(image.min()), float(image.max()))
        if (value := _largest(fields, extremes)) is not None:
            self.largest = max(self.largest or 0.0, value)
        if used:
            self._add_properties(fields, number, extremes)

    def _add_properties(
        self, fields: Mapping[str, np.ndarray], number: int, extremes: tuple[float, float] | None
    ) -> None:
        image = fields.get("image")
        signals = [fields[name] for name in ("image", "kspace") if name in fields]
        without = [
            not values.any() if extremes is None or values is not image else extremes == (0, 0) for values in signals
        ]
        if any(without):
            self.empty.append(number)
        if extremes is not None:
            self.low, self.high = min(self.low, extremes[0]), max(self.high, extremes[1])
        if image is not None and self.images < _COMPARED and not without[0]:
            self.images += 1
            self.resembling += resembles_kspace(image)
        for values in signals[:1]:
            size = (int(values.shape[-2]), int(values.shape[-1]))
            kind = "complex" if values.dtype.kind == "c" else "real"
            self.sizes += [size] if size not in self.sizes else []
            self.types += [kind] if kind not in self.types else []

    def check(self, name: str) -> None:
        """Raise an error for a volume without positive values, and print a warning to stderr for negative values.

        The range of complex images is not checked, because their magnitudes are scored.

        Args:
            name: name of the volume, for messages.

        Raises:
            UserError: the volume is all zero, or the maximum of an image is not positive.
        """
        if self.largest == 0:
            raise UserError(f"volume {name!r} is all zero; remove it")
        values = f"values in {self.low:.4g}..{self.high:.4g}"
        if self.low <= self.high <= 0:
            raise UserError(
                f"volume {name!r}: expected an image whose maximum is positive, got {values}; scores take the maximum "
                "as the peak: subtract the volume's minimum, or remove the volume"
            )
        if self.low < -NEGATIVE_SHARE * self.high:
            print(
                f"i2ikd: warning: volume {name!r}: expected an image that starts at 0, got {values}; PSNR and SSIM "
                "take the maximum as the range, which is too small then: subtract the volume's minimum",
                file=sys.stderr,
            )


def _largest(fields: Mapping[str, np.ndarray], extremes: tuple[float, float] | None) -> float | None:
    """Return the value of a slice that a volume is scaled by; ``extremes`` are those of a real image."""
    kspace = fields.get("kspace")
    if kspace is not None and kspace.ndim == 3:
        return central_brightness(kspace)
    if extremes is not None:
        return max(map(abs, extremes))
    magnitude = fields.get("image", fields.get("undersampled"))
    if magnitude is None and kspace is not None:
        # the magnitude does not depend on where the zero frequency is
        magnitude = np.fft.ifft2(kspace, norm="ortho")
    return None if magnitude is None else float(np.abs(magnitude).max())
