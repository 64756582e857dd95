"""Methods with parameters of their own equal naive loops, learn what they should, and refuse to run unprepared."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from i2ikd_distillers.alignment import adapters, resize
from i2ikd_distillers.reductions import mean_power
from torch import Tensor
from torch.nn import functional as F

from i2ikd import Distiller, Features, TapShapes, UserError

from .conftest import batch_of, features

TEACHER, STUDENT = features(3, 5, 16, 12, seed=1), features(3, 4, 16, 12, seed=2)


def run(distiller: Distiller, teacher: Tensor, student: Tensor) -> float:
    batch = batch_of(len(teacher))
    knowledge = distiller.knowledge(Features(taps=[teacher]), batch)
    with torch.no_grad():
        return float(distiller(Features(taps=[student]), knowledge, batch))


def project(distiller: Distiller, student: Tensor) -> np.ndarray:
    """Apply the 1x1 convolution by hand, pixel by pixel."""
    layer = distiller.get_submodule("adapters.0")
    weight, bias = layer.weight.detach().double().numpy()[:, :, 0, 0], layer.bias  # type: ignore[union-attr,operator]
    offset = np.zeros(len(weight)) if bias is None else bias.detach().double().numpy()  # type: ignore[union-attr,operator]
    pixels = student.permute(0, 2, 3, 1).reshape(-1, student.shape[1]).double().numpy()
    values = np.array([weight @ pixel + offset for pixel in pixels])
    return values.reshape(len(student), *student.shape[-2:], len(weight)).transpose(0, 3, 1, 2)


def test_fitnet_is_the_mean_squared_error_of_a_regression(make) -> None:
    distiller = make("fitnet", [TEACHER], [STUDENT])
    expected = np.mean((project(distiller, STUDENT) - TEACHER.double().numpy()) ** 2)
    assert run(distiller, TEACHER, STUDENT) == pytest.approx(expected, rel=1e-5)


def test_a_regression_can_be_learnt_where_the_teacher_is_a_mixture_of_the_student(make) -> None:
    mixture = torch.einsum("dc,bchw->bdhw", features(5, 4, seed=3, signed=True), STUDENT)
    distiller = make("fitnet", [mixture], [STUDENT])
    before = run(distiller, mixture, STUDENT)
    optimiser = torch.optim.Adam(distiller.parameters(), lr=0.05)
    batch = batch_of(3)
    for _ in range(150):
        optimiser.zero_grad()
        distiller(Features(taps=[STUDENT]), distiller.knowledge(Features(taps=[mixture]), batch), batch).backward()
        optimiser.step()
    assert run(distiller, mixture, STUDENT) < 0.01 * before


@pytest.mark.parametrize("distribution", ["gauss", "laplace"])
def test_vid_weighs_each_channel_by_its_own_uncertainty(distribution: str, make) -> None:
    distiller = make("vid", [TEACHER], [STUDENT], distribution=distribution)
    rho = torch.linspace(-2, 3, 5)
    distiller.channel_scales[0].data.copy_(rho)
    error, terms = project(distiller, STUDENT) - TEACHER.double().numpy(), []
    for c in range(5):
        scale = math.log1p(math.exp(float(rho[c]))) + 1e-5
        measure = error[:, c] ** 2 if distribution == "gauss" else np.abs(error[:, c])
        terms.append(np.mean(measure / scale + math.log(scale)) / (2 if distribution == "gauss" else 1))
    assert run(distiller, TEACHER, STUDENT) == pytest.approx(np.mean(terms), rel=1e-4)


def test_vid_by_pixel_starts_like_vid_by_channel_and_then_follows_the_student(make) -> None:
    by_channel = run(make("vid", [TEACHER], [STUDENT]), TEACHER, STUDENT)
    distiller = make("vid", [TEACHER], [STUDENT], scale="pixel")
    assert run(distiller, TEACHER, STUDENT) == pytest.approx(by_channel, rel=1e-4)
    distiller.pixel_scales[0].weight.data.copy_(torch.tensor([0.5, -0.2, 0.1, 0.3]).view(1, 4, 1, 1))
    rho = np.einsum("c,bchw->bhw", [0.5, -0.2, 0.1, 0.3], STUDENT.numpy()) + math.log(math.expm1(5 - 1e-5))
    scale = np.log1p(np.exp(rho)) + 1e-5
    error = np.mean((project(distiller, STUDENT) - TEACHER.numpy()) ** 2, axis=1)
    assert run(distiller, TEACHER, STUDENT) == pytest.approx(np.mean(error / scale + np.log(scale)) / 2, rel=1e-4)


@pytest.mark.parametrize("power", [2, 4])
def test_srd_is_the_logarithm_of_a_mean_power_of_standardised_differences(power: int, make) -> None:
    distiller = make("srd", [TEACHER], [STUDENT], power=power)
    sides = []
    for values in (project(distiller, STUDENT), TEACHER.double().numpy()):
        mean, deviation = values.mean(axis=(0, 2, 3), keepdims=True), values.std(axis=(0, 2, 3), keepdims=True)
        sides.append((values - mean) / deviation)
    expected = math.log(np.mean(np.abs(sides[0] - sides[1]) ** power))
    assert run(distiller, TEACHER, STUDENT) == pytest.approx(expected, rel=1e-3)


def test_overhaul_measures_margins_and_counts_only_what_matters(make) -> None:
    teacher, student = features(3, 5, 16, 12, seed=3, signed=True), features(3, 4, 16, 12, seed=4, signed=True)
    other = features(3, 5, 16, 12, seed=5, signed=True) - 0.5
    distiller = make("overhaul", [teacher], [student])
    with pytest.raises(UserError, match="not measured"):
        run(distiller, teacher, student)
    distiller.prepare([(Features(taps=[teacher]), batch_of(3)), (Features(taps=[other]), batch_of(3))])
    seen = torch.cat([teacher, other]).double().numpy()
    margins = [float(seen[:, c][seen[:, c] < 0].mean()) for c in range(5)]
    assert distiller.margin0.tolist() == pytest.approx(margins, rel=1e-5)
    adapted, total = project(distiller, student), 0.0
    for (b, c, i, j), t in np.ndenumerate(teacher.double().numpy()):
        s, aim = adapted[b, c, i, j], max(t, margins[c])
        total += (s - aim) ** 2 if s > aim or t > 0 else 0.0
    assert run(distiller, teacher, student) == pytest.approx(total / teacher.numel(), rel=1e-4)


def test_activation_boundary_is_a_squared_hinge_on_the_teachers_side_of_zero(make) -> None:
    teacher, student = features(3, 5, 16, 12, seed=3, signed=True), features(3, 4, 16, 12, seed=4, signed=True)
    distiller = make("activation-boundary", [teacher], [student], margin=0.7)
    adapted, total = project(distiller, student), 0.0
    for index, t in np.ndenumerate(teacher.numpy()):
        s = adapted[index]
        total += max(0.0, 0.7 - s) ** 2 if t > 0 else max(0.0, 0.7 + s) ** 2
    assert run(distiller, teacher, student) == pytest.approx(total / teacher.numel(), rel=1e-4)


def test_generation_masks_the_stated_share_of_pixels_of_all_channels(make) -> None:
    distiller = make("generation", [TEACHER], [STUDENT], masked=0.3)
    seen: list[Tensor] = []
    distiller.generators[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    torch.manual_seed(3)
    value = run(distiller, TEACHER, STUDENT + 1)
    dark = (seen[0] == 0).all(dim=1)
    assert 0.2 < float(dark.float().mean()) < 0.4
    assert torch.equal(dark, (seen[0] == 0).any(dim=1))
    first, second = distiller.generators[0][0], distiller.generators[0][2]
    regenerated = F.conv2d(
        F.conv2d(seen[0], first.weight, first.bias, padding=1).relu(), second.weight, second.bias, padding=1
    )
    assert value == pytest.approx((regenerated - TEACHER).square().mean().item(), rel=1e-5)


def test_the_hierarchy_of_review_weighs_pixels_and_cells_of_4_16_and_64() -> None:
    from i2ikd_distillers.review import hierarchical_error

    student, teacher = features(1, 2, 64, 80, seed=1), features(1, 2, 64, 80, seed=2)
    total, weights = 0.0, 0.0
    for level, side in enumerate((1, 4, 16, 64)):
        squares = []
        for i in range(0, 64 - side + 1, side):
            for j in range(0, 80 - side + 1, side):
                cell = (slice(None), slice(None), slice(i, i + side), slice(j, j + side))
                squares.append(((student[cell].mean(dim=(2, 3)) - teacher[cell].mean(dim=(2, 3))) ** 2).mean())
        total, weights = total + 0.5**level * float(torch.stack(squares).mean()), weights + 0.5**level
    assert float(hierarchical_error(student, teacher)) == pytest.approx(total / weights, rel=1e-4)


def test_review_lets_a_shallow_level_learn_from_the_deeper_ones(make) -> None:
    teacher = [features(2, 6, 16, 12, seed=1), features(2, 6, 8, 6, seed=2)]
    student = [features(2, 4, 16, 12, seed=3), features(2, 4, 8, 6, seed=4).requires_grad_(True)]
    distiller = make("review", teacher, student)
    batch = batch_of(2)
    knowledge = distiller.knowledge(Features(taps=teacher), batch)
    knowledge["map1"] = distiller.exits[1](distiller.entries[1](student[1])).detach()
    distiller(Features(taps=student), knowledge, batch).backward()
    assert float(student[1].grad.abs().sum()) > 0


def test_factor_needs_its_paraphrasers_and_trains_them_to_reconstruct_the_teacher(make) -> None:
    with pytest.raises(UserError, match="not trained"):
        run(make("factor", [TEACHER], [STUDENT]), TEACHER, STUDENT)
    smooth = F.avg_pool2d(TEACHER, 5, stride=1, padding=2)
    errors = []
    for steps in (1, 150):
        distiller = make("factor", [smooth], [STUDENT], steps=steps, learning_rate=5e-3)
        distiller.prepare([(Features(taps=[smooth]), batch_of(3))])
        assert not any(p.requires_grad for p in distiller.paraphrasers.parameters())
        again = distiller.decoders[0](distiller.paraphrasers[0](smooth))
        errors.append(float(F.mse_loss(again, smooth)))
    assert errors[1] < 0.2 * errors[0]


def test_preparing_twice_from_one_seed_gives_the_same_paraphraser(make) -> None:
    states = []
    for _ in range(2):
        distiller = make("factor", [TEACHER], [STUDENT], steps=5)
        distiller.prepare((Features(taps=[TEACHER]), batch_of(3)) for _ in range(2))
        states.append(torch.cat([p.flatten() for p in distiller.paraphrasers.parameters()]))
    assert torch.equal(*states)


def test_factor_compares_factors_of_root_mean_square_one(make) -> None:
    distiller = make("factor", [TEACHER], [STUDENT], steps=2)
    distiller.prepare([(Features(taps=[TEACHER]), batch_of(3))])
    sides = []
    for network, feature in ((distiller.paraphrasers[0], TEACHER), (distiller.translators[0], STUDENT)):
        found = [network(feature[b : b + 1])[0].detach().double().numpy() for b in range(3)]
        sides.append(np.array([values / np.sqrt(np.mean(values**2)) for values in found]))
    assert run(distiller, TEACHER, STUDENT) == pytest.approx(np.mean(np.abs(sides[0] - sides[1])), rel=1e-4)


@pytest.mark.parametrize("negatives", ["others", "own"])
def test_contrastive_is_the_ratio_of_distances_in_the_embedding(negatives: str, make) -> None:
    distiller = make("contrastive", [TEACHER], [STUDENT], negatives=negatives, count=2, steps=2)
    batch = batch_of(3)
    theirs, ours = (torch.rand(3, 1, 16, 12, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    knowledge = distiller.knowledge(Features(output=theirs), batch)
    with pytest.raises(UserError, match="not fitted"):
        distiller(Features(output=ours), knowledge, batch)
    distiller.prepare([(Features(taps=[TEACHER], output=theirs), batch)])
    expected = []
    for b in range(3):
        phi = [distiller.embedding(image[b : b + 1]) for image in (ours, theirs)]
        others = [n for n in range(3) if n != b] if negatives == "others" else [b]
        far = sum((phi[0] - distiller.embedding(batch.input[n : n + 1])).abs().mean().item() for n in others)
        expected.append((phi[0] - phi[1]).abs().mean().item() / far)
    assert float(distiller(Features(output=ours), knowledge, batch)) == pytest.approx(np.mean(expected), rel=1e-4)


def test_contrastive_fits_its_embedding_to_the_teachers_first_tap(make) -> None:
    batch = batch_of(3)
    early = F.conv2d(batch.input, features(5, 1, 3, 3, seed=4, signed=True), padding=1).relu()
    errors = []
    for steps in (1, 150):
        distiller = make("contrastive", [early], [STUDENT], steps=steps, learning_rate=5e-3)
        distiller.prepare([(Features(taps=[early], output=batch.target), batch)])
        errors.append(float(F.mse_loss(distiller.head(distiller.embedding(batch.input).relu()), early)))
    assert errors[1] < 0.3 * errors[0]


def test_an_adapter_is_the_identity_where_channels_agree_and_sits_on_the_students_side() -> None:
    same, fewer = TapShapes((5, 8, 8), (5, 8, 8)), TapShapes((5, 8, 8), (3, 8, 8))
    feature = features(2, 5, 8, 8, seed=1)
    assert torch.equal(adapters([same], always=True)[0](feature), feature)
    assert adapters([fewer])[0](feature[:, :3]).shape == (2, 5, 8, 8)
    assert resize(feature, (4, 2)).shape[-2:] == (4, 2)
    assert torch.allclose(resize(feature, (4, 2))[0, 0, 0, 0], feature[0, 0, :2, :4].mean())


def test_taps_that_are_no_feature_maps_are_refused(make) -> None:
    with pytest.raises(UserError, match=r"\[C, H, W\]"):
        make("fitnet", [torch.zeros(2, 5)], [torch.zeros(2, 5)])
    with pytest.raises(UserError, match="at least one pair"):
        make("nst", [], [])


@pytest.mark.parametrize("power", [1, 2, 4])
def test_a_lean_mean_has_the_value_and_gradient_of_the_plain_one(power: int) -> None:
    values = features(3, 4, seed=6, signed=True).double().requires_grad_(True)
    assert torch.allclose(mean_power(values, power), values.abs().pow(power).mean())  # type: ignore[arg-type]
    assert torch.autograd.gradcheck(lambda v: mean_power(v, power), values)  # type: ignore[arg-type]
