"""Relations between samples equal naive loops over the samples, and keep clear of the known traps."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from i2ikd_distillers.sampling import grid, take
from torch import Tensor

from i2ikd import Features, UserError

from .conftest import batch_of, features

TEACHER, STUDENT = features(5, 6, 16, 12, seed=1), features(5, 4, 16, 12, seed=2)


def rows_of(feature: Tensor) -> np.ndarray:
    return feature.flatten(1).double().numpy()


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.sqrt(sum(v * v for v in vector))


def gram_of(rows: np.ndarray) -> np.ndarray:
    return np.array([[sum(a * b) for b in rows] for a in rows])


def huber(difference: float) -> float:
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


def similarity(theirs: np.ndarray, ours: np.ndarray) -> float:
    a, b = (np.array([unit(row) for row in gram_of(rows)]) for rows in (theirs, ours))
    return float(((a - b) ** 2).sum() / len(theirs) ** 2)


def congruence(theirs: np.ndarray, ours: np.ndarray) -> float:
    total = 0.0
    for i, j in itertools.product(range(len(theirs)), repeat=2):
        kernels = []
        for rows in (theirs, ours):
            x = float(unit(rows[i]) @ unit(rows[j]))
            kernels.append(math.exp(-0.8) * (1 + 0.8 * x + 0.8**2 / 2 * x**2))
        total += (kernels[0] - kernels[1]) ** 2
    return total / len(theirs) ** 2


def probabilities(rows: np.ndarray, i: int, with_itself: bool) -> dict[int, float]:
    near = {j: (unit(rows[i]) @ unit(rows[j]) + 1) / 2 for j in range(len(rows)) if with_itself or j != i}
    return {j: value / sum(near.values()) for j, value in near.items()}


def probabilistic(theirs: np.ndarray, ours: np.ndarray, mode: str = "paper") -> float:
    total = 0.0
    for i in range(len(theirs)):
        p, q = (probabilities(rows, i, mode == "code") for rows in (theirs, ours))
        total += sum(p[j] * math.log(p[j] / q[j]) for j in p)
    return total / len(theirs) if mode == "paper" else total / len(theirs) ** 2


def relational(theirs: np.ndarray, ours: np.ndarray) -> float:
    size = len(theirs)
    scaled = []
    for rows in (theirs, ours):
        distances = {(i, j): np.linalg.norm(rows[i] - rows[j]) for i in range(size) for j in range(size)}
        mean = np.mean([d for (i, j), d in distances.items() if i != j])
        scaled.append({pair: d / mean for pair, d in distances.items()})
    first = sum(huber(scaled[1][pair] - scaled[0][pair]) for pair in scaled[0]) / size**2
    second = 0.0
    for j, i, k in itertools.permutations(range(size), 3):
        cosine = [float(unit(r[i] - r[j]) @ unit(r[k] - r[j])) for r in (theirs, ours)]
        second += huber(cosine[1] - cosine[0])
    return 25 * first + 50 * second / size**3


def misalignment(theirs: np.ndarray, ours: np.ndarray) -> float:
    """As in the formula: X, Y = [channels, samples]."""
    x, y = theirs.T, ours.T
    norm = np.linalg.norm
    return float(1 - norm(x @ y.T) ** 2 / (norm(x @ x.T) * norm(y @ y.T)))


ORACLES = {
    "similarity-preserving": similarity,
    "correlation-congruence": congruence,
    "pkt": probabilistic,
    "rkd": relational,
}


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_between_images_of_a_batch_it_equals_a_naive_loop(name: str, loss) -> None:
    expected = ORACLES[name](rows_of(TEACHER), rows_of(STUDENT))
    assert loss(name, TEACHER, STUDENT, samples="batch") == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("name", [*sorted(ORACLES), "cka"])
def test_between_patches_of_an_image_it_equals_a_naive_loop(name: str, loss) -> None:
    expected = []
    for theirs, ours in zip(TEACHER, STUDENT):
        rows = []
        for side in (theirs, ours):
            cells = [
                side[:, r : r + 4, c : c + 4].double().mean(dim=(1, 2))
                for r in range(0, 16, 4)
                for c in range(0, 12, 4)
            ]
            rows.append(torch.stack(cells).numpy())
        expected.append({**ORACLES, "cka": misalignment}[name](*rows))
    got = loss(name, TEACHER, STUDENT, samples="patch", count=12)
    assert got == pytest.approx(float(np.mean(expected)), rel=1e-3)


def test_pkt_as_in_the_code_counts_the_sample_itself_and_takes_the_mean_of_all_entries(loss) -> None:
    expected = probabilistic(rows_of(TEACHER), rows_of(STUDENT), "code")
    assert loss("pkt", TEACHER, STUDENT, samples="batch", mode="code") == pytest.approx(expected, rel=1e-2)


def test_with_enough_positions_cka_uses_every_pixel(loss) -> None:
    expected = np.mean(
        [
            misalignment(t.flatten(1).double().numpy().T, s.flatten(1).double().numpy().T)
            for t, s in zip(TEACHER, STUDENT)
        ]
    )
    assert loss("cka", TEACHER, STUDENT, count=512) == pytest.approx(expected, rel=1e-4)


def test_cka_is_blind_to_a_rotation_and_to_scale_of_the_channels(loss) -> None:
    rotation = torch.linalg.qr(features(6, 6, seed=5, signed=True))[0]
    turned = 3.7 * torch.einsum("dc,bchw->bdhw", rotation, TEACHER)
    assert loss("cka", TEACHER, turned) == pytest.approx(0, abs=1e-5)


def test_centred_cka_is_blind_to_an_offset_and_the_plain_one_is_not(loss) -> None:
    assert loss("cka", TEACHER, TEACHER + 2, centred=True) == pytest.approx(0, abs=1e-5)
    assert loss("cka", TEACHER, TEACHER + 2) > 0.01


@pytest.mark.parametrize("size", [1, 2])
def test_rkd_is_empty_for_two_samples_or_fewer_and_refuses_them(size: int, loss) -> None:
    with pytest.raises(UserError, match="at least 3"):
        loss("rkd", TEACHER[:size], STUDENT[:size], samples="batch")
    assert relational(rows_of(TEACHER[:2]), rows_of(STUDENT[:2])) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["similarity-preserving", "correlation-congruence", "pkt", "cka"])
def test_a_batch_of_one_image_is_refused_where_images_are_related(name: str, loss) -> None:
    with pytest.raises(UserError, match="needs at least"):
        loss(name, TEACHER[:1], STUDENT[:1], samples="batch")


def test_correlation_congruence_of_one_image_is_a_number_where_pixels_are_related(loss) -> None:
    value = loss("correlation-congruence", TEACHER[:1], STUDENT[:1])
    assert math.isfinite(value) and value > 0


def test_coincident_samples_give_rkd_no_gradient_and_no_nan(make) -> None:
    teacher = features(1, 6, 16, 12, seed=7)
    student = torch.zeros(1, 4, 16, 12)
    student[..., 3:9, 2:7] = features(1, 4, 6, 5, seed=8)
    student.requires_grad_(True)
    distiller = make("rkd", [teacher], [student], count=192)
    batch = batch_of(1)
    distiller(Features(taps=[student]), distiller.knowledge(Features(taps=[teacher]), batch), batch).backward()
    assert student.grad is not None and torch.isfinite(student.grad).all()
    assert float(student.grad.abs().max()) < 100


def test_a_dead_channel_or_pixel_does_not_blow_up_the_gradient(make) -> None:
    teacher, student = features(2, 6, 16, 12, seed=9), features(2, 6, 16, 12, seed=10)
    student[:, 2] = 1e-9
    student[..., :4] = 1e-9
    student.requires_grad_(True)
    for name in (
        "similarity-preserving",
        "correlation-congruence",
        "pkt",
        "channel-similarity",
        "nst",
        "affinity",
        "cka",
    ):
        distiller = make(name, [teacher], [student])
        student.grad = None
        batch = batch_of(2)
        distiller(Features(taps=[student]), distiller.knowledge(Features(taps=[teacher]), batch), batch).backward()
        assert student.grad is not None and float(student.grad.abs().max()) < 100, name


def test_positions_are_an_even_grid_and_not_drawn() -> None:
    assert grid(256, 256, 512) == (23, 22)
    assert grid(640, 368, 512) == (30, 17)
    assert grid(3, 5, 512) == (3, 5)
    ramp = torch.arange(12.0).view(1, 1, 1, 12).expand(1, 1, 8, 12)
    assert take(ramp, "pixel", (2, 4))[0, 0, 0].tolist() == [1, 4, 7, 10]
    assert take(ramp, "patch", (2, 4))[0, 0, 1].tolist() == [1, 4, 7, 10]


@pytest.mark.parametrize("samples", ["pixel", "patch"])
def test_a_student_of_another_size_is_sampled_at_the_same_places(samples: str, loss) -> None:
    finer = STUDENT.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    expected = loss("similarity-preserving", TEACHER, STUDENT, samples=samples, count=48)
    assert loss("similarity-preserving", TEACHER, finer, samples=samples, count=48) == pytest.approx(expected, rel=1e-4)
