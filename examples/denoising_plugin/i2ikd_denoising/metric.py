"""A metric for what denoising blurs first: PSNR of the gradient."""

from __future__ import annotations

import numpy as np

from i2ikd import Metric, UserError

CAP = 100.0
"""dB; a perfect prediction counts as this."""


class GradientPsnr(Metric):
    """10 log10(1 / mean squared error of the gradient), in dB, of images in 0..1: the peak is 1.

    The gradient is that of central differences, per pixel; its error is squared in both directions and added up.
    """

    scope = "slice"
    unit = "dB"

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Judge an image [H, W] of at least 2 x 2 pixels; ``UserError`` for a target outside 0..1."""
        if target.min() < 0 or target.max() > 1:
            raise UserError(
                f"gradient-psnr-slice-unit: expected a target in 0..1, got {target.min():.3g}..{target.max():.3g}; "
                "scale the images to 0..1"
            )
        down, across = np.gradient(prediction.astype(np.float64) - target.astype(np.float64))
        error = float(np.mean(down**2 + across**2))
        return CAP if error <= 10 ** (-CAP / 10) else -10 * float(np.log10(error))
