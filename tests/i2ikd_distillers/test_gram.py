"""Gram-matrix methods equal naive loops, the full N x N affinities included."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from i2ikd import UserError

from .conftest import features

TEACHER, STUDENT = features(2, 5, 16, 12, seed=1), features(2, 5, 16, 12, seed=2)
NARROW = features(2, 3, 16, 12, seed=3)


def matrix(feature: torch.Tensor) -> np.ndarray:
    """[C, N]."""
    return feature.flatten(1).double().numpy()


def test_fsp_is_the_mean_squared_difference_of_products_of_consecutive_taps(loss) -> None:
    teacher = [features(2, channels, 16, 12, seed=channels) for channels in (5, 3, 4)]
    student = [features(2, channels, 16, 12, seed=channels + 10) for channels in (5, 3, 4)]
    expected = []
    for k in range(2):
        for b in range(2):
            for i in range(teacher[k].shape[1]):
                for j in range(teacher[k + 1].shape[1]):
                    flows = [float((f[k][b, i] * f[k + 1][b, j]).double().sum()) / 192 for f in (teacher, student)]
                    expected.append((k, (flows[0] - flows[1]) ** 2))
    means = [np.mean([value for flow, value in expected if flow == k]) for k in range(2)]
    assert loss("fsp", teacher, student) == pytest.approx(float(np.mean(means)), rel=1e-4)


def test_fsp_pools_the_larger_of_two_taps(loss) -> None:
    teacher = [features(2, 5, 16, 12, seed=1), features(2, 3, 8, 6, seed=2)]
    student = [features(2, 5, 16, 12, seed=3), features(2, 3, 8, 6, seed=4)]
    pooled = [[torch.nn.functional.avg_pool2d(side[0], 2), side[1]] for side in (teacher, student)]
    assert loss("fsp", teacher, student) == pytest.approx(loss("fsp", *pooled), rel=1e-5)


def test_fsp_needs_two_taps(loss) -> None:
    with pytest.raises(UserError, match="at least 2 pairs"):
        loss("fsp", TEACHER, STUDENT)


def naive_discrepancy(teacher: np.ndarray, student: np.ndarray) -> float:
    unit = [[row / np.linalg.norm(row) for row in side] for side in (teacher, student)]
    mean = lambda a, b: np.mean([[(x @ y) ** 2 for x in a] for y in b])  # noqa: E731
    return float(mean(unit[0], unit[0]) + mean(unit[1], unit[1]) - 2 * mean(unit[1], unit[0]))


@pytest.mark.parametrize("student", [STUDENT, NARROW], ids=["equal channels", "fewer channels"])
def test_nst_equals_the_mean_kernel_over_all_pairs_of_channels(student: torch.Tensor, loss) -> None:
    expected = np.mean([naive_discrepancy(matrix(t), matrix(s)) for t, s in zip(TEACHER, student)])
    assert loss("nst", TEACHER, student) == pytest.approx(expected, rel=1e-4)


def test_nst_is_the_distance_of_the_full_resolution_affinities(loss) -> None:
    expected = []
    for teacher, student in zip(TEACHER, STUDENT):
        a, b = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (matrix(teacher), matrix(student)))
        expected.append(np.linalg.norm(a.T @ a - b.T @ b) ** 2 / 5**2)
    assert loss("nst", TEACHER, STUDENT) == pytest.approx(np.mean(expected), rel=1e-4)


def cosine_maps(feature: torch.Tensor) -> np.ndarray:
    """[N, N], pixel by pixel; a pixel without features resembles none."""
    pixels = matrix(feature).T
    lengths = np.linalg.norm(pixels, axis=1)
    return np.array(
        [[p @ q / (a * b) if a * b > 0 else 0.0 for q, b in zip(pixels, lengths)] for p, a in zip(pixels, lengths)]
    )


@pytest.mark.parametrize("student", [STUDENT, NARROW], ids=["equal channels", "fewer channels"])
def test_affinity_is_the_frobenius_distance_of_all_pixel_pairs(student: torch.Tensor, loss) -> None:
    expected = [np.mean((cosine_maps(t) - cosine_maps(s)) ** 2) for t, s in zip(TEACHER, student)]
    assert loss("affinity", TEACHER, student) == pytest.approx(np.mean(expected), rel=1e-4)


def test_affinity_by_l1_is_the_mean_absolute_difference_on_pooled_features(loss) -> None:
    pooled = [torch.nn.functional.avg_pool2d(side, (4, 3)) for side in (TEACHER, NARROW)]
    expected = [np.mean(np.abs(cosine_maps(t) - cosine_maps(s))) for t, s in zip(*pooled)]
    assert loss("affinity", TEACHER, NARROW, norm="l1", size=4) == pytest.approx(np.mean(expected), rel=1e-4)


def test_the_gradient_of_the_affinity_is_that_of_its_definition() -> None:
    from i2ikd_distillers.reductions import affinity_distance

    own = features(2, 3, 7, seed=4, signed=True).double().requires_grad_(True)
    other = features(2, 4, 7, seed=5, signed=True).double()
    direct = (own.mT @ own - other.mT @ other).square().sum(dim=(1, 2)) / 49
    assert torch.allclose(affinity_distance(own, other), direct)
    assert torch.autograd.gradcheck(lambda x: affinity_distance(x, other), own)


def test_channel_similarity_compares_rows_of_length_one(loss) -> None:
    expected = []
    for teacher, student in zip(TEACHER, STUDENT):
        grams = []
        for m in (matrix(teacher), matrix(student)):
            gram = np.array([[float(sum(a * b)) for b in m] for a in m])
            grams.append(np.array([row / np.sqrt(sum(row**2)) for row in gram]))
        expected.append(np.mean((grams[0] - grams[1]) ** 2))
    assert loss("channel-similarity", TEACHER, STUDENT) == pytest.approx(np.mean(expected), rel=1e-4)
