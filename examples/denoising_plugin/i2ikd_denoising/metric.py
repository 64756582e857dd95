"""PSNR of the gradient, a metric of the fine detail that denoising blurs first."""

from __future__ import annotations

import numpy as np

from i2ikd import Metric, UserError

CAP = 100.0
"""Upper limit in dB, the value of a perfect prediction."""


class GradientPsnr(Metric):
    """10 log10(1 / mean squared error of the gradient), in dB, of images in 0..1: the peak is 1.

    The gradient is computed by central differences; the squared errors of both directions are summed at each pixel.
    """

    scope = "slice"
    unit = "dB"

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Evaluate an image.

        Args:
            prediction: [H, W], at least 2 x 2 pixels, in 0..1.
            target: [H, W], in 0..1.

        Returns:
            PSNR in dB, at most 100.

        Raises:
            UserError: ``target`` has values outside 0..1.
        """
        if target.min() < 0 or target.max() > 1:
            raise UserError(
                f"gradient-psnr-slice-unit: expected a target in 0..1, got {target.min():.3g}..{target.max():.3g}; "
                "scale the images to 0..1"
            )
        down, across = np.gradient(prediction.astype(np.float64) - target.astype(np.float64))
        error = float(np.mean(down**2 + across**2))
        return CAP if error <= 10 ** (-CAP / 10) else -10 * float(np.log10(error))
