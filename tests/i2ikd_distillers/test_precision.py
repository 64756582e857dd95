"""Every method is right in float32 at the sizes of real images: against itself in float64, and against known values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from i2ikd_distillers import plugin
from i2ikd_distillers.reductions import mean_power
from scipy.special import log_softmax
from torch import Tensor

from i2ikd import Features
from i2ikd.components import get, list_components
from i2ikd.testing import check_distiller_precision

from .conftest import batch_of

pytestmark = pytest.mark.numeric

CONSTANT = {"vanishes_at_teacher": False}
"""Of methods with random weights, a margin, or the logarithm of a variance in the loss."""

FREE = {"scale_free": True}
ADAPTED = {"channels": (4, 3)}
"""With an adapter, so that the gradients of its weight and bias are compared too."""

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("frequency", {"bands": "haar"}, {}),
    ("frequency", {"bands": "laplacian"}, {}),
    ("frequency", {"bands": "lines"}, {}),
    ("contrastive", {"steps": 1, "width": 2, "negatives": "own"}, {}),
    ("cascade", {}, {"channels": (1, 1)}),
    ("statistics", {}, {}),
    ("channel-wise", {}, {}),
    ("channel-wise", {}, ADAPTED),
    ("pearson", {"scope": "batch"}, {**ADAPTED, **FREE}),
    ("pearson", {"scope": "sample"}, FREE),
    ("fsp", {}, {**ADAPTED, "pairs": 2}),
    ("nst", {}, FREE),
    ("affinity", {"norm": "frobenius"}, FREE),
    ("affinity", {"norm": "l1", "size": 16}, FREE),
    ("channel-similarity", {}, {**ADAPTED, **FREE}),
    ("fitnet", {}, ADAPTED),
    ("vid", {}, {**ADAPTED, **CONSTANT}),
    ("vid", {"scale": "pixel", "distribution": "laplace"}, CONSTANT),
    ("srd", {"power": 4}, {**ADAPTED, **FREE}),
    ("srd", {"power": 2}, FREE),
    ("overhaul", {}, ADAPTED),
    ("activation-boundary", {}, CONSTANT),
    ("review", {}, {**CONSTANT, "pairs": 2, "channels": (3, 3)}),
    ("generation", {}, {**CONSTANT, "channels": (3, 3)}),
    ("factor", {"steps": 1}, {**CONSTANT, "channels": (3, 3)}),
    ("pkt", {"mode": "code", "count": 64}, FREE),
    ("cka", {"centred": True, "count": 64}, FREE),
]
for name in ("cka", "similarity-preserving", "correlation-congruence", "pkt", "rkd"):
    fewer: dict[str, Any] = {"angles": 16} if name == "rkd" else {}
    CASES += [
        (name, {"samples": "pixel", "count": 64, **fewer}, FREE),
        (name, {"samples": "patch", "count": 64, **fewer}, FREE),
        (name, {"samples": "batch"}, FREE),
    ]


@pytest.mark.parametrize(("name", "options", "facts"), CASES, ids=lambda v: v if isinstance(v, str) else None)
def test_a_method_is_right_in_float32(name: str, options: dict[str, Any], facts: dict[str, Any]) -> None:
    target = get("distiller", name)
    check_distiller_precision(lambda: target(**options), parameter_tolerance=1e-3, **facts)


def test_every_registered_method_is_checked() -> None:
    assert {name for name, _, _ in CASES} == set(plugin._METHODS)


def test_the_table_of_errors_names_every_method() -> None:
    page = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([\w-]+)` \|(?: \d\.\de-\d\d \|| 0\.0e\+00 \|){4}$", page, re.MULTILINE)) == set(
        list_components("distiller")
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_the_mean_of_thirty_million_equal_values_is_that_value(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = [float(mean_power(torch.full((30_146_560,), 0.1), power)) for power in (1, 2, 4)]  # type: ignore[arg-type]
    finally:
        torch.set_num_threads(before)
    assert found == pytest.approx([0.1, 0.01, 0.0001], rel=1e-5)


def small_features(height: int, width: int, seed: int) -> Tensor:
    torch.manual_seed(seed)
    return torch.randn(1, 8, height, width).relu() * 0.1


def divergence(teacher: Tensor, student: Tensor, tau: float = 4.0) -> float:
    """The textbook formula, in float64."""
    logs = [log_softmax(side.double().flatten(2).numpy() / tau, axis=-1) for side in (teacher, student)]
    return float(tau**2 * (np.exp(logs[0]) * (logs[0] - logs[1])).sum(axis=-1).mean())


@pytest.mark.parametrize(("height", "width", "about"), [(256, 256, 0.00344), (640, 368, 0.00346)])
def test_channel_wise_of_small_features_is_the_divergence_and_zero_at_the_teacher(
    height: int, width: int, about: float, loss
) -> None:
    teacher, student = small_features(height, width, 1), small_features(height, width, 2)
    expected = divergence(teacher, student)
    assert expected == pytest.approx(about, rel=0.01)
    assert loss("channel-wise", teacher, student) == pytest.approx(expected, rel=3e-4)
    assert loss("channel-wise", teacher, teacher) == 0


@pytest.mark.parametrize("gap", [1e-3, 1000.0])
def test_channel_wise_is_right_for_logits_that_are_close_and_for_logits_that_are_far(gap: float, loss) -> None:
    teacher = small_features(16, 12, 1)
    student = teacher + gap * small_features(16, 12, 2)
    expected = divergence(teacher, student, tau=0.5)
    assert loss("channel-wise", teacher, student, temperature=0.5) == pytest.approx(expected, rel=1e-4)


def test_the_gradient_of_the_divergence_is_that_of_its_definition() -> None:
    from i2ikd_distillers.divergence import softmax_divergence

    generator = torch.Generator().manual_seed(1)
    student, teacher = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    student.requires_grad_(True)
    textbook = torch.nn.functional.kl_div(
        (student / 1.5).log_softmax(-1), (teacher / 1.5).log_softmax(-1), reduction="none", log_target=True
    ).sum(-1)
    assert torch.allclose(softmax_divergence(student, teacher, 1.5), textbook)
    assert torch.autograd.gradcheck(lambda s: softmax_divergence(s, teacher, 1.5), student)


@pytest.mark.parametrize("size", [(256, 256), (640, 368)])
def test_srd_has_the_gradient_of_its_formula_in_float64(size: tuple[int, int], make) -> None:
    generator = torch.Generator().manual_seed(3)
    teacher, student = (torch.randn(1, 4, *size, generator=generator).relu() for _ in range(2))
    distiller, batch = make("srd", [teacher], [student]), batch_of(1)
    student.requires_grad_(True)
    distiller(Features(taps=[student]), distiller.knowledge(Features(taps=[teacher]), batch), batch).backward()
    exact = student.detach().double().requires_grad_(True)
    z = [(side - side.mean((0, 2, 3), True)) / side.std((0, 2, 3), correction=0, keepdim=True) for side in (
        exact, teacher.double())]  # fmt: skip
    ((z[0] - z[1]).pow(4).mean() + 1e-6).log().backward()
    assert student.grad is not None and exact.grad is not None
    assert float((student.grad - exact.grad).norm()) <= 1e-3 * float(exact.grad.norm())


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 1e3])
@pytest.mark.parametrize("name", ["pearson", "srd"])
def test_standardised_losses_are_the_same_for_features_of_every_scale(name: str, scale: float, loss) -> None:
    teacher, student = 10 * small_features(32, 24, 1), 10 * small_features(32, 24, 2)
    assert loss(name, scale * teacher, scale * student) == pytest.approx(loss(name, teacher, student), rel=1e-4)


def probabilities(feature: Tensor, count: int) -> np.ndarray:
    rows = feature.flatten(2)[0].T.double().numpy()
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    near = (rows @ rows.T + 1) / 2
    np.fill_diagonal(near, 0)
    assert len(near) == count
    return near / near.sum(axis=1, keepdims=True)


def test_pkt_of_nearly_equal_features_is_not_what_rounding_left(loss) -> None:
    torch.manual_seed(4)
    teacher = torch.randn(1, 32, 16, 12).abs() + 0.5
    student = teacher + 1e-3 * torch.randn(1, 32, 16, 12)
    p, q = (probabilities(side, 192) for side in (teacher, student))
    apart = ~np.eye(192, dtype=bool)
    expected = (p[apart] * np.log(p[apart] / q[apart])).sum() / 192
    assert expected < 1e-6
    assert loss("pkt", teacher, student) == pytest.approx(expected, rel=1e-4)


def test_rkd_of_a_zero_background_with_noise_is_the_distance_of_scaled_distances(make) -> None:
    torch.manual_seed(5)
    teacher = torch.zeros(1, 8, 16, 16)
    teacher[..., 4:12, 4:12] = torch.randn(1, 8, 8, 8).relu()
    noise = 5e-4 * float(teacher[..., 4:12, 4:12].square().mean().sqrt()) * torch.randn(1, 8, 16, 16)
    distiller, batch = make("rkd", [teacher], [teacher]), batch_of(1)
    found = distiller(Features(taps=[teacher + noise]), distiller.knowledge(Features(taps=[teacher]), batch), batch)
    rows = [side.flatten(2)[0].T.double().numpy() for side in (teacher, teacher + noise)]
    distances = [np.linalg.norm(side[:, None] - side[None], axis=-1) for side in rows]
    scaled = [matrix / (matrix.sum() / (256 * 255)) for matrix in distances]
    expected = 25 * float(np.mean((scaled[0] - scaled[1]) ** 2)) / 2
    assert expected < 2e-4
    assert float(found) == pytest.approx(expected, rel=0.1), "angles of the object add a little"
