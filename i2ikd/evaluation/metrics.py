"""The built-in metrics: PSNR, SSIM, NMSE, HFN and MAE; a metric's name states its scope and its peak.

Channels of an image [C, H, W] count as planes: squared and absolute errors are means over all of their pixels, the
SSIM is the mean over planes, the Laplacian is computed in each plane.

The peak (data range) always comes from the target or is fixed, never from the prediction. Where a target has no
signal (its maximum is not positive, or it has no edges) a ratio to it is undefined: such a score is NaN, and
``i2ikd.evaluation.records.per_volume`` leaves that slice out. A metric with a fixed range refuses targets outside it.
Arithmetic is in float64.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from skimage.filters import laplace
from skimage.metrics import structural_similarity

from i2ikd.errors import UserError
from i2ikd.metric import Metric

PSNR_CAP = 100.0
"""dB. A larger PSNR, the infinite one of a perfect prediction included, counts as this: means stay finite."""

RIPPLE = 0.2
"""Share of a fixed range by which a target may leave it. Ringing beside an edge, as resampling through k-space leaves
it, overshoots by 9 % of the jump along one axis, and by up to 19.5 % where both axes ring (Gibbs)."""

SSIM_WINDOW = 7
"""Edge of SSIM's uniform window, in pixels."""


def psnr(prediction: np.ndarray, target: np.ndarray, peak: float) -> float:
    """Peak signal-to-noise ratio 10 log10(peak^2 / mean squared error), in dB, at most ``PSNR_CAP``.

    Returns NaN if ``peak`` is not positive.
    """
    prediction, target = _float64(prediction, target)
    if not peak > 0:
        return float("nan")
    error = float(np.mean((prediction - target) ** 2))  # scikit-image's function would import scipy.stats for it
    if error <= peak**2 * 10 ** (-PSNR_CAP / 10):
        return PSNR_CAP
    return float(10 * np.log10(peak**2 / error))


def ssim(prediction: np.ndarray, target: np.ndarray, peak: float) -> float:
    """Mean over slices of the structural similarity (Wang et al. 2004) with a uniform 7x7 window.

    Sample covariance, K1 = 0.01, K2 = 0.03, averaged over the pixels whose window lies inside the image.

    Args:
        prediction: [S, H, W].
        target: [S, H, W].
        peak: data range of every slice; NaN comes back if it is not positive.

    Raises:
        UserError: slices smaller than the window.
    """
    prediction, target = _float64(prediction, target)
    if min(target.shape[-2:]) < SSIM_WINDOW:
        raise UserError(
            f"SSIM has a window of {SSIM_WINDOW}x{SSIM_WINDOW} pixels, but the slices are "
            f"{target.shape[-2]}x{target.shape[-1]}; use larger slices or psnr-slice-max"
        )
    if not peak > 0:
        return float("nan")
    return float(structural_similarity(target, prediction, win_size=SSIM_WINDOW, data_range=peak, channel_axis=0))


def refuse_outside(target: np.ndarray, low: float, high: float, remedy: str) -> None:
    """Raise where a target is not of the range that a metric takes it to be of.

    Args:
        target: any shape.
        low: lower end of the range.
        high: upper end of the range; values may leave the range by ``RIPPLE`` of its width.
        remedy: end of the message.

    Raises:
        UserError: the target leaves the range.
    """
    margin, least, most = RIPPLE * (high - low), float(target.min()), float(target.max())
    if least < low - margin or most > high + margin:
        raise UserError(f"expected a target in {low:g}..{high:g}, got {least:.3g}..{most:.3g}; {remedy}")


def _float64(prediction: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if prediction.shape != target.shape:
        raise UserError(
            f"a metric takes arrays of one shape, not a prediction {prediction.shape} and a target {target.shape}"
        )
    return np.asarray(prediction, np.float64), np.asarray(target, np.float64)


def _planes(image: np.ndarray) -> np.ndarray:
    """Return an image [H, W] or [C, H, W] as planes [C, H, W]."""
    return image.reshape(-1, *image.shape[-2:])


def _laplacian(image: np.ndarray) -> np.ndarray:
    """Return the five-point Laplacian of every plane, [C, H, W]."""
    return np.stack([laplace(plane) for plane in _planes(image)])


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    """||part||^2 / ||whole||^2, NaN where the whole is zero."""
    energy = float(np.sum(whole**2))
    return float(np.sum(part**2)) / energy if energy > 0 else float("nan")


class PsnrVolumeMax(Metric):
    """PSNR of a volume; the peak is the target volume's maximum."""

    scope: ClassVar[Literal["slice", "volume"]] = "volume"
    unit: ClassVar[str] = "dB"

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Judge [S, H, W] arrays."""
        return psnr(prediction, target, float(target.max()))


class PsnrSliceMax(Metric):
    """PSNR of a slice; the peak is the target slice's maximum and does not depend on its minimum.

    A constant slice therefore has a score if its value is positive. Where no value is positive it is NaN.
    """

    unit: ClassVar[str] = "dB"

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Judge [H, W] arrays."""
        return psnr(prediction, target, float(target.max()))


class PsnrSliceUnit(Metric):
    """PSNR of a slice whose values lie in 0..1; the peak is 1."""

    unit: ClassVar[str] = "dB"

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Judge [H, W] arrays; ``UserError`` for a target that is not of 0..1 (``refuse_outside``)."""
        refuse_outside(target, 0.0, 1.0, "scale the images to 0..1, or take psnr-slice-max")
        return psnr(prediction, target, 1.0)


class SsimVolumeMax(Metric):
    """Mean of the slices' SSIM; the data range is the target volume's maximum."""

    scope: ClassVar[Literal["slice", "volume"]] = "volume"

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Judge [S, H, W] arrays; ``UserError`` for slices below 7x7."""
        return ssim(prediction, target, float(target.max()))


class SsimSliceMax(Metric):
    """SSIM of a slice; the data range is the target slice's maximum."""

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Judge [H, W] arrays; ``UserError`` for slices below 7x7."""
        return ssim(_planes(prediction), _planes(target), float(target.max()))


class SsimSliceUnit(Metric):
    """SSIM of a slice whose values lie in 0..1; the data range is 1."""

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Judge [H, W] or [C, H, W] arrays; ``UserError`` below 7x7 or outside of 0..1 (``refuse_outside``)."""
        refuse_outside(target, 0.0, 1.0, "scale the images to 0..1, or take ssim-slice-max")
        return ssim(_planes(prediction), _planes(target), 1.0)


class NmseVolume(Metric):
    """Normalised mean squared error of a volume, ||t - p||^2 / ||t||^2."""

    scope: ClassVar[Literal["slice", "volume"]] = "volume"
    higher_is_better: ClassVar[bool] = False

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Judge [S, H, W] arrays."""
        prediction, target = _float64(prediction, target)
        return _share(target - prediction, target)


class NmseSlice(NmseVolume):
    """Normalised mean squared error of a slice, ||t - p||^2 / ||t||^2."""

    scope: ClassVar[Literal["slice", "volume"]] = "slice"


class HfnSlice(Metric):
    """High-frequency error of a slice, sum((lap t - lap p)^2) / sum((lap t)^2), with p clipped to the data range.

    ``lap`` is the five-point Laplacian (``skimage.filters.laplace``, 3x3, edges mirrored); its sign and scale cancel.
    KD-MRI's code clips to 0..1, the range of its images. A perfect prediction is 0 in any unit.

    Args:
        data_range: (lowest, highest) value of the images, e.g. ``(0, 255)``. ``None``: 0..1, widened to the target
            slice's own values where it leaves that.

    Raises:
        UserError: a range whose ends are not finite and in order.
    """

    higher_is_better: ClassVar[bool] = False

    def __init__(self, data_range: tuple[float, float] | None = None) -> None:
        if data_range is not None and not (np.isfinite(data_range).all() and data_range[0] < data_range[1]):
            raise UserError(f"hfn-slice: data_range = {list(data_range)} must be [lowest, highest], two finite numbers")
        self._range = data_range

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Judge [H, W] arrays; ``UserError`` for a target that is not of a given range (``refuse_outside``)."""
        prediction, target = _float64(prediction, target)
        if self._range is None:
            low, high = min(0.0, float(target.min())), max(1.0, float(target.max()))
        else:
            low, high = self._range
            refuse_outside(target, low, high, "give hfn-slice the data_range of the images, or leave it out")
        edges = _laplacian(target)
        return _share(edges - _laplacian(np.clip(prediction, low, high)), edges)


class MaeSlice(Metric):
    """Mean absolute error of a slice."""

    higher_is_better: ClassVar[bool] = False

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        """Judge [H, W] arrays."""
        prediction, target = _float64(prediction, target)
        return float(np.mean(np.abs(target - prediction)))
