"""Metrics against naive loops and closed forms."""

from __future__ import annotations

import time

import numpy as np
import pytest

from i2ikd.errors import UserError
from i2ikd.evaluation import metrics
from i2ikd.metric import Metric

ALL = [
    metrics.PsnrVolumeMax, metrics.PsnrSliceMax, metrics.PsnrSliceUnit, metrics.SsimVolumeMax, metrics.SsimSliceMax,
    metrics.NmseVolume, metrics.NmseSlice, metrics.HfnSlice, metrics.MaeSlice,
]  # fmt: skip


@pytest.fixture
def volume() -> tuple[np.ndarray, np.ndarray]:
    """Prediction and target [3, 17, 12], float32, the slices of unequal brightness."""
    random = np.random.default_rng(7)
    target = random.random((3, 17, 12)) * np.array([0.3, 0.9, 0.6])[:, None, None]
    prediction = target + 0.1 * random.standard_normal(target.shape)
    return prediction.astype(np.float32), target.astype(np.float32)


def naive_ssim(prediction: np.ndarray, target: np.ndarray, peak: float) -> float:
    """SSIM of one slice by a loop over windows, with the sample covariance."""
    first, second = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    values = []
    for row in range(target.shape[0] - 6):
        for column in range(target.shape[1] - 6):
            p = prediction[row : row + 7, column : column + 7].astype(np.float64).ravel()
            t = target[row : row + 7, column : column + 7].astype(np.float64).ravel()
            (vp, c), (_, vt) = np.cov(p, t, ddof=1)
            means = (2 * p.mean() * t.mean() + first) / (p.mean() ** 2 + t.mean() ** 2 + first)
            values.append(means * (2 * c + second) / (vp + vt + second))
    return float(np.mean(values))


def naive_laplacian(image: np.ndarray) -> np.ndarray:
    around = np.pad(image.astype(np.float64), 1, mode="symmetric")
    neighbours = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
    return neighbours - 4 * around[1:-1, 1:-1]


def test_psnr_takes_its_peak_from_where_its_name_says(volume: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, target = (a.astype(np.float64) for a in volume)
    whole = np.mean((prediction - target) ** 2)
    assert metrics.PsnrVolumeMax()(*volume) == pytest.approx(10 * np.log10(target.max() ** 2 / whole), abs=1e-9)
    one = np.mean((prediction[0] - target[0]) ** 2)
    first = (volume[0][0], volume[1][0])
    assert metrics.PsnrSliceMax()(*first) == pytest.approx(10 * np.log10(target[0].max() ** 2 / one), abs=1e-9)
    assert metrics.PsnrSliceUnit()(*first) == pytest.approx(-10 * np.log10(one), abs=1e-9)


def test_ssim_of_a_volume_is_the_mean_over_slices_with_the_volumes_peak(
    volume: tuple[np.ndarray, np.ndarray],
) -> None:
    prediction, target = volume
    expected = np.mean([naive_ssim(p, t, float(target.max())) for p, t in zip(prediction, target)])
    assert metrics.SsimVolumeMax()(prediction, target) == pytest.approx(expected, abs=1e-9)


def test_ssim_of_a_slice_has_the_slices_peak(volume: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, target = volume[0][0], volume[1][0]
    own = naive_ssim(prediction, target, float(target.max()))
    assert metrics.SsimSliceMax()(prediction, target) == pytest.approx(own, abs=1e-9)
    assert abs(own - naive_ssim(prediction, target, float(volume[1].max()))) > 1e-3


def test_nmse_and_mae_are_their_formulas(volume: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, target = (a.astype(np.float64) for a in volume)
    expected = np.linalg.norm((target - prediction).ravel()) ** 2 / np.linalg.norm(target.ravel()) ** 2
    assert metrics.NmseVolume()(*volume) == pytest.approx(expected, rel=1e-9)
    one = np.linalg.norm(target[1] - prediction[1]) ** 2 / np.linalg.norm(target[1]) ** 2
    assert metrics.NmseSlice()(volume[0][1], volume[1][1]) == pytest.approx(one, rel=1e-9)
    mean = np.abs(target[2] - prediction[2]).mean()
    assert metrics.MaeSlice()(volume[0][2], volume[1][2]) == pytest.approx(mean, rel=1e-9)


def test_hfn_compares_laplacians_and_clips_the_prediction_only(volume: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, target = volume[0][1] * 1.4 - 0.2, volume[1][1] * 1.5
    assert prediction.min() < 0 and prediction.max() > 1 and target.max() > 1
    edges = naive_laplacian(target)
    expected = np.sum((edges - naive_laplacian(np.clip(prediction, 0, 1))) ** 2) / np.sum(edges**2)
    assert metrics.HfnSlice()(prediction, target) == pytest.approx(expected, rel=1e-6)
    assert metrics.HfnSlice()(np.full_like(target, 0.4), target) == pytest.approx(1.0)


def test_a_perfect_prediction_has_the_capped_psnr_and_so_has_one_beyond_it() -> None:
    target = np.random.default_rng(0).random((2, 9, 8)) + 0.5
    assert metrics.PsnrVolumeMax()(target, target) == 100.0
    assert metrics.PsnrVolumeMax()(target + 1e-9, target) == 100.0
    offset = target.max() * 10 ** (-99 / 20)
    assert metrics.PsnrVolumeMax()(target + offset, target) == pytest.approx(99.0)


@pytest.mark.parametrize("kind", ALL)
def test_a_perfect_prediction_is_better_than_any_other(kind: type[Metric], volume: tuple) -> None:
    prediction, target = (a if kind.scope == "volume" else a[1] for a in volume)
    perfect, real = kind()(target, target), kind()(prediction, target)
    assert np.isfinite([perfect, real]).all()
    assert (perfect > real) is kind.higher_is_better


RELATIVE = [kind for kind in ALL if kind not in (metrics.MaeSlice, metrics.PsnrSliceUnit)]


@pytest.mark.parametrize("kind", RELATIVE)
def test_a_target_without_signal_has_no_score(kind: type[Metric]) -> None:
    shape = (2, 9, 8) if kind.scope == "volume" else (9, 8)
    assert np.isnan(kind()(np.full(shape, 0.1), np.zeros(shape)))


@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_ssim_refuses_slices_smaller_than_its_window(shape: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=f"slices are {shape[0]}x{shape[1]}"):
        metrics.SsimSliceMax()(np.ones(shape), np.ones(shape))
    with pytest.raises(UserError, match="7x7"):
        metrics.SsimVolumeMax()(np.ones((9, *shape)), np.ones((9, *shape)))


@pytest.mark.parametrize("kind", ALL)
def test_arrays_of_unequal_shape_are_refused(kind: type[Metric]) -> None:
    with pytest.raises(UserError, match="of one shape"):
        kind()(np.ones((8, 9, 10)), np.ones((1, 9, 10)))


def test_ssim_of_a_slice_of_256_takes_less_than_30_ms() -> None:
    random = np.random.default_rng(0)
    target = random.random((4, 256, 256)).astype(np.float32)
    prediction = target + np.float32(0.1)
    metric, took = metrics.SsimVolumeMax(), []
    for _ in range(3):
        start = time.perf_counter()
        metric(prediction, target)
        took.append((time.perf_counter() - start) / 4)
    assert min(took) < 0.03
