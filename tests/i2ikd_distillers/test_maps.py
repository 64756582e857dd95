"""Maps of features, and bands of images, equal naive loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from i2ikd import Features, UserError

from .conftest import batch_of, features

TEACHER, STUDENT = features(3, 5, 16, 12, seed=1), features(3, 5, 16, 12, seed=2)


def test_statistics_compares_mean_maximum_minimum_and_deviation_at_each_pixel(loss) -> None:
    narrow = features(3, 4, 16, 12, seed=3)
    squares = []
    for b in range(3):
        for i in range(16):
            for j in range(12):
                t, s = TEACHER[b, :, i, j].double().numpy(), narrow[b, :, i, j].double().numpy()
                squares += [(f(t) - f(s)) ** 2 for f in (np.mean, np.max, np.min, np.std)]
    assert loss("statistics", TEACHER, narrow) == pytest.approx(np.mean(squares), rel=1e-4)


def test_channel_wise_is_the_divergence_of_softmax_over_the_pixels(loss) -> None:
    tau, total = 2.5, 0.0
    for b in range(3):
        for c in range(5):
            t, s = (np.exp(side[b, c].double().numpy().ravel() / tau) for side in (TEACHER, STUDENT))
            p, q = t / t.sum(), s / s.sum()
            total += sum(a * math.log(a / d) for a, d in zip(p, q))
    expected = tau**2 * total / (3 * 5)
    assert loss("channel-wise", TEACHER, STUDENT, temperature=tau) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("scope", ["batch", "sample"])
def test_pearson_is_one_minus_the_correlation_of_each_channel(scope: str, loss) -> None:
    expected = []
    for c in range(5):
        if scope == "batch":
            expected.append(1 - np.corrcoef(TEACHER[:, c].numpy().ravel(), STUDENT[:, c].numpy().ravel())[0, 1])
        else:
            expected += [
                1 - np.corrcoef(TEACHER[b, c].numpy().ravel(), STUDENT[b, c].numpy().ravel())[0, 1] for b in range(3)
            ]
    assert loss("pearson", TEACHER, STUDENT, scope=scope) == pytest.approx(np.mean(expected), rel=1e-4)


def image_loss(make, name: str, theirs: torch.Tensor, ours: torch.Tensor, **options: object) -> float:
    distiller = make(name, [], [], **options)
    batch = batch_of(len(theirs))
    knowledge = distiller.knowledge(Features(output=theirs), batch)
    return distiller(Features(output=ours), knowledge, batch).item()


IMAGES = torch.rand(2, 2, 1, 16, 12, generator=torch.Generator().manual_seed(5))


def test_frequency_takes_the_haar_details_of_the_difference(make) -> None:
    low = (IMAGES[1] - IMAGES[0])[:, 0].double().numpy()
    means = []
    for _ in range(2):
        bands, nexts = [], []
        for image in low:
            height, width = image.shape
            following = np.zeros((height // 2, width // 2))
            for i in range(0, height, 2):
                for j in range(0, width, 2):
                    (a, b), (c, d) = image[i : i + 2, j : j + 2]
                    bands += [(a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2]
                    following[i // 2, j // 2] = (a + b + c + d) / 2
            nexts.append(following)
        means.append(np.mean(np.abs(bands)))
        low = np.array(nexts)
    assert image_loss(make, "frequency", *IMAGES, levels=2) == pytest.approx(np.mean(means), rel=1e-4)


def test_frequency_takes_the_chosen_lines_of_k_space(make) -> None:
    difference = (IMAGES[1] - IMAGES[0])[:, 0].double().numpy()
    spectrum = np.fft.fft2(difference, norm="ortho")
    frequencies = np.array([min(k, 12 - k) / 6 for k in range(12)])
    chosen = np.abs(spectrum[:, :, (frequencies >= 0.4) & (frequencies <= 0.9)])
    got = image_loss(make, "frequency", *IMAGES, bands="lines", axis=1, lowest=0.4, highest=0.9)
    assert got == pytest.approx(chosen.mean(), rel=1e-4)


def test_the_laplacian_bands_and_the_last_blur_sum_to_the_image() -> None:
    from i2ikd_distillers.bands import laplacian

    (band,) = laplacian(IMAGES[0], 1)
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    padded = np.pad(IMAGES[0][1, 0].double().numpy(), 2, mode="edge")
    blurred = np.array([[(padded[i : i + 5, j : j + 5] * kernel).sum() for j in range(12)] for i in range(16)])
    assert np.allclose(band[1, 0].numpy(), IMAGES[0][1, 0].numpy() - blurred, atol=1e-6)


@pytest.mark.parametrize("bands", ["haar", "laplacian", "lines"])
def test_frequency_is_blind_to_a_constant_offset(bands: str, make) -> None:
    assert image_loss(make, "frequency", IMAGES[0], IMAGES[0] + 0.3, bands=bands) == pytest.approx(0, abs=1e-6)


def test_frequency_refuses_an_empty_range_and_too_many_levels(make) -> None:
    with pytest.raises(UserError, match="must be below"):
        make("frequency", [], [], bands="lines", lowest=0.6, highest=0.5)
    with pytest.raises(UserError, match="too small for 5 levels"):
        image_loss(make, "frequency", *IMAGES, levels=5)


def test_cascade_is_the_mean_absolute_difference_of_the_images(loss) -> None:
    theirs, ours = ([features(2, 1, 16, 12, seed=k + s) for k in range(3)] for s in (0, 10))
    expected = np.mean([np.mean(np.abs(t.numpy() - s.numpy())) for t, s in zip(theirs, ours)])
    assert loss("cascade", theirs, ours) == pytest.approx(expected, rel=1e-5)


def test_cascade_refuses_features_in_place_of_images(loss) -> None:
    with pytest.raises(UserError, match="tap the images"):
        loss("cascade", features(2, 5, 16, 12, seed=1), features(2, 4, 16, 12, seed=1))
