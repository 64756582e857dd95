"""Conformance check of metrics: ``check_metric``."""

from __future__ import annotations

import math

import numpy as np

from i2ikd.metric import Metric


def check_metric(metric: Metric, *, size: tuple[int, int] = (32, 28), slices: int = 3, seed: int = 4) -> None:
    """Check a metric on smooth images with noise, slices or volumes by its scope.

    Predictions are the target, the target with noise, with five times the noise, and with one outlier pixel, which
    must not improve the score.

    Args:
        metric: the metric to check.
        size: height and width of the images.
        slices: number of slices of a volume.
        seed: of the noise.

    Raises:
        AssertionError: a violated rule, named in the message.
    """
    name = type(metric).__name__
    assert metric.scope in ("slice", "volume"), f"{name}.scope is 'slice' or 'volume', not {metric.scope!r}"
    shape = size if metric.scope == "slice" else (slices, *size)
    generator = np.random.default_rng(seed)
    rows, columns = np.meshgrid(*(np.linspace(0, 3, side) for side in size), indexing="ij")
    target = np.broadcast_to(0.5 + 0.35 * np.sin(rows) * np.cos(1.3 * columns), shape).astype(np.float32).copy()
    noise = generator.standard_normal(shape).astype(np.float32)
    noisy, noisier = target + 0.02 * noise, target + 0.1 * noise
    outlier = noisy.copy()
    outlier[..., size[0] // 2, size[1] // 2] = 10.0

    def score(prediction: np.ndarray, description: str) -> float:
        before = prediction.copy(), target.copy()
        value = metric(prediction, target)
        assert isinstance(value, float | np.floating), f"{name} returns a {type(value).__name__}, not a float"
        assert not math.isnan(value), f"{name} is NaN for {description}"
        same = np.array_equal(before[0], prediction) and np.array_equal(before[1], target)
        assert same, f"{name} changes the arrays that are passed to it"
        return float(value) if metric.higher_is_better else -float(value)

    perfect = score(target.copy(), "a perfect prediction")
    good, bad = score(noisy, "a noisy prediction"), score(noisier, "a noisier prediction")
    direction = "higher" if metric.higher_is_better else "lower"
    assert perfect >= good and perfect >= bad, f"{name} ({direction} is better): a perfect prediction is not the best"
    assert good > bad, f"{name} ({direction} is better): five times the noise does not make it worse"
    assert math.isfinite(good) and math.isfinite(bad), f"{name} is not finite for a noisy prediction"
    assert score(noisy, "a noisy prediction") == good, f"{name} returns two values for the same arrays"
    assert score(outlier, "a prediction with an outlier") <= good, (
        f"{name}: an outlier pixel in the prediction improves it; take the peak from the target, not the prediction"
    )
