"""Metrics against naive loops and closed forms."""

from __future__ import annotations

import time

import numpy as np
import pytest
from skimage.filters import laplace
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import i2ikd
from i2ikd.errors import UserError
from i2ikd.evaluation import metrics
from i2ikd.evaluation.records import score_volume
from i2ikd.metric import Metric

ALL = [
    metrics.PsnrVolumeMax, metrics.PsnrSliceMax, metrics.PsnrSliceUnit, metrics.SsimVolumeMax, metrics.SsimSliceMax,
    metrics.SsimSliceUnit,     metrics.NmseVolume, metrics.NmseSlice, metrics.HfnSlice, metrics.MaeSlice,
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


def test_psnr_takes_its_peak_as_its_name_states(volume: tuple[np.ndarray, np.ndarray]) -> None:
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


def naive_hfn(prediction: np.ndarray, target: np.ndarray, low: float, high: float) -> float:
    edges = naive_laplacian(target)
    return float(np.sum((edges - naive_laplacian(np.clip(prediction, low, high))) ** 2) / np.sum(edges**2))


def test_hfn_compares_laplacians_and_clips_the_prediction_only(volume: tuple[np.ndarray, np.ndarray]) -> None:
    """A target in 0..1 has KD-MRI's range, whatever its own extremes are."""
    prediction, target = volume[0][1] * 1.4 - 0.2, volume[1][1]
    assert prediction.min() < 0 and prediction.max() > 1 and target.min() > 0 and target.max() < 1
    assert metrics.HfnSlice()(prediction, target) == pytest.approx(naive_hfn(prediction, target, 0, 1), rel=1e-6)
    assert metrics.HfnSlice()(np.full_like(target, 0.4), target) == pytest.approx(1.0)


@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (255, 0), (5, -2.3), (1e-3, -0.8)], ids=str)
def test_a_perfect_prediction_has_no_high_frequency_error_in_any_unit(scale: float, offset: float) -> None:
    target = np.random.default_rng(3).random((17, 12)) * scale + offset
    assert metrics.HfnSlice()(target, target) == 0
    low, high = min(0, target.min()), max(1, target.max())
    prediction = target + 2 * scale * np.random.default_rng(4).standard_normal(target.shape)
    assert metrics.HfnSlice()(prediction, target) == pytest.approx(naive_hfn(prediction, target, low, high), rel=1e-9)


def test_hfn_takes_the_range_of_the_data_as_an_option() -> None:
    target = 255 * np.random.default_rng(5).random((17, 12))
    prediction = 1.2 * target - 20
    metric = i2ikd.create("metric", "hfn-slice", data_range=[0, 255])
    assert metric(target, target) == 0
    assert metric(prediction, target) == pytest.approx(naive_hfn(prediction, target, 0, 255), rel=1e-9)
    with pytest.raises(UserError, match=r"expected a target in 0\.\.1, got .*; give hfn-slice the data_range"):
        i2ikd.create("metric", "hfn-slice", data_range=[0, 1])(target, target)
    for wrong in ([1, 0], [0, 0], [0, np.inf], [np.nan, 1]):
        with pytest.raises(UserError, match="data_range"):
            i2ikd.create("metric", "hfn-slice", data_range=wrong)


def test_a_fixed_range_allows_the_ringing_of_a_sharp_edge_and_no_other_units() -> None:
    """The overshoot of a corner whose spectrum is cut off: of each axis in turn, 9 % of the jump."""
    corner = np.zeros((64, 48))
    corner[16:48, 12:36] = 1
    spectrum = np.fft.fftshift(np.fft.fft2(corner))
    kept = np.zeros_like(spectrum)
    kept[22:43, 16:33] = spectrum[22:43, 16:33]
    ringing = np.fft.ifft2(np.fft.ifftshift(kept)).real
    assert ringing.max() > 1.09 and ringing.min() < -0.09
    assert metrics.PsnrSliceUnit()(ringing, ringing) == 100.0
    for other in (255 * corner, (corner - 0.5) / 0.5):
        with pytest.raises(UserError, match=r"expected a target in 0\.\.1, got .* take psnr-slice-max"):
            metrics.PsnrSliceUnit()(corner, other)


def test_a_constant_slice_has_a_psnr_to_its_value_and_none_where_that_is_not_positive() -> None:
    for value, expected in ((0.4, 10 * np.log10(0.4**2 / 0.1**2)), (0.0, np.nan), (-0.4, np.nan)):
        target = np.full((9, 8), value)
        found = metrics.PsnrSliceMax()(target + 0.1, target)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert np.isnan(metrics.HfnSlice()(np.full((9, 8), 0.5), np.full((9, 8), 0.4))), "no edges to compare with"
    assert np.isnan(metrics.PsnrSliceMax()(np.zeros((9, 8)), np.zeros((9, 8)))), "not even of a perfect prediction"


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


RELATIVE = [kind for kind in ALL if kind not in (metrics.MaeSlice, metrics.PsnrSliceUnit, metrics.SsimSliceUnit)]


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


class TestColours:
    """Channels of an image count as planes: scikit-image's definitions for colour images."""

    @pytest.fixture
    def pair(self) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(3)
        target = random.random((3, 12, 17))
        return np.clip(target + 0.1 * random.standard_normal(target.shape), 0, 1), target

    def test_psnr_is_of_all_channels_together(self, pair: tuple[np.ndarray, np.ndarray]) -> None:
        prediction, target = pair
        expected = peak_signal_noise_ratio(np.moveaxis(target, 0, -1), np.moveaxis(prediction, 0, -1), data_range=1)
        assert score("psnr-slice-unit", *pair) == pytest.approx(expected, rel=1e-12)

    def test_ssim_is_the_mean_over_channels(self, pair: tuple[np.ndarray, np.ndarray]) -> None:
        prediction, target = pair
        expected = structural_similarity(
            np.moveaxis(target, 0, -1), np.moveaxis(prediction, 0, -1), channel_axis=-1, data_range=1
        )
        assert score("ssim-slice-unit", *pair) == pytest.approx(expected, rel=1e-12)

    def test_hfn_has_no_differences_between_channels(self, pair: tuple[np.ndarray, np.ndarray]) -> None:
        prediction, target = pair
        edges, errors = (np.stack([laplace(p) for p in image]) for image in (target, target - prediction))
        assert score("hfn-slice", *pair) == pytest.approx((errors**2).sum() / (edges**2).sum(), rel=1e-9)

    def test_a_volume_has_the_channels_of_its_slices_as_planes(self, pair: tuple[np.ndarray, np.ndarray]) -> None:
        prediction, target = (np.stack([image, image[::-1]]) for image in pair)
        chosen = {name: i2ikd.create("metric", name) for name in ("psnr-volume-max", "ssim-volume-max")}
        first, second = score_volume(chosen, prediction, target)
        assert first == second
        assert first["psnr-volume-max"] == pytest.approx(score("psnr-slice-max", *pair), rel=1e-12)
        assert first["ssim-volume-max"] == pytest.approx(score("ssim-slice-max", *pair), rel=1e-12)


def score(name: str, prediction: np.ndarray, target: np.ndarray) -> float:
    return float(i2ikd.create("metric", name)(prediction, target))
