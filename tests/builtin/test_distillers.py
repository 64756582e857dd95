"""Target, imitation and attention losses against naive loops over their formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from i2ikd import Batch, Features, TapShapes, UserError
from i2ikd.builtin.distillers.attention import Attention, channel_energy
from i2ikd.builtin.distillers.output import Imitation, Target
from i2ikd.experiment.checks import check
from i2ikd.testing import check_distiller, check_distiller_precision

SIZE, OTHER = (16, 16), (8, 16)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch(count: int) -> Batch:
    return Batch(draw(count, 1, *SIZE, seed=1), draw(count, 1, *SIZE, seed=2))


def shapes(teacher: Features, student: Features) -> list[TapShapes]:
    return [TapShapes(tuple(t.shape[1:]), tuple(s.shape[1:])) for t, s in zip(teacher.taps, student.taps, strict=True)]


def loss(distiller: Any, teacher: Features, student: Features, samples: Batch) -> Tensor:
    distiller.build(shapes(teacher, student))
    value: Tensor = distiller(student, distiller.knowledge(teacher, samples), samples)
    return value


class TestOutput:
    FORMULAS = {  # noqa: RUF012
        "l1": lambda d: abs(d),
        "mse": lambda d: d * d,
        "charbonnier": lambda d: math.sqrt(d * d + 1e-6),
    }

    def expected(self, name: str, left: Tensor, right: Tensor) -> float:
        differences = (left - right).flatten().tolist()
        return math.fsum(self.FORMULAS[name](d) for d in differences) / len(differences)

    @pytest.mark.parametrize("name", FORMULAS)
    def test_imitation_is_the_distance_to_the_teachers_output(self, name: str) -> None:
        samples, teacher, student = batch(3), draw(3, 1, *SIZE, seed=3), draw(3, 1, *SIZE, seed=4)
        distiller = Imitation(loss=name)  # type: ignore[arg-type]
        value = loss(distiller, Features(output=teacher), Features(output=student), samples)
        assert float(value) == pytest.approx(self.expected(name, student, teacher), rel=1e-5)

    @pytest.mark.parametrize("name", FORMULAS)
    def test_target_is_the_distance_to_the_target(self, name: str) -> None:
        samples, student = batch(2), draw(2, 1, *SIZE, seed=4)
        distiller = Target(loss=name)  # type: ignore[arg-type]
        assert distiller.knowledge(Features(), samples) == {}
        value = distiller(Features(output=student), {}, samples)
        assert float(value) == pytest.approx(self.expected(name, student, samples.target), rel=1e-5)

    def test_target_uses_the_training_loss_of_the_task_by_default(self) -> None:
        class Task:
            def loss(self, output: Tensor, target: Tensor) -> Tensor:
                return (output - 2 * target).abs().max()

        samples, student = batch(2), draw(2, 1, *SIZE, seed=4)
        default, named = Target(), Target(loss="mse")
        for distiller in (default, named):
            distiller.attach(Task())  # type: ignore[arg-type]
        features = Features(output=student)
        assert float(default(features, {}, samples)) == float((student - 2 * samples.target).abs().max())
        assert float(named(features, {}, samples)) == pytest.approx(self.expected("mse", student, samples.target))

    def test_charbonnier_has_zero_gradient_for_equal_images(self) -> None:
        image = draw(1, 1, *SIZE, seed=5).requires_grad_(True)
        value = Imitation("charbonnier")(Features(output=image), {"image": image.detach()}, batch(1))
        value.backward()
        assert float(value.detach()) == pytest.approx(1e-3) and not bool(image.grad.any())  # type: ignore[union-attr]

    @pytest.mark.parametrize("name", FORMULAS)
    def test_imitation_passes_the_conformance_checks(self, name: str) -> None:
        check_distiller(lambda: Imitation(loss=name), enlarge_tolerance=1e-3, precision_sizes=())  # type: ignore[arg-type]

    @pytest.mark.numeric
    @pytest.mark.parametrize("name", FORMULAS)
    def test_imitation_equals_float64(self, name: str) -> None:
        """Charbonnier's loss is 1e-3 for equal images."""
        check_distiller_precision(lambda: Imitation(loss=name), vanishes_at_teacher=name != "charbonnier")  # type: ignore[arg-type]

    @pytest.mark.numeric
    @pytest.mark.parametrize("name", FORMULAS)
    def test_target_equals_float64(self, name: str) -> None:
        check_distiller_precision(lambda: Target(loss=name), vanishes_at_teacher=False)  # type: ignore[arg-type]


def map_of(feature: Tensor, combine: str) -> list[list[list[float]]]:
    """Return the map [B][H][W]: sum or mean of the squares over channels."""
    count, channels, height, width = feature.shape
    values = feature.tolist()
    divisor = channels if combine == "mean" else 1
    return [
        [[sum(values[b][c][y][x] ** 2 for c in range(channels)) / divisor for x in range(width)] for y in range(height)]
        for b in range(count)
    ]


def by_pixels(maps: list[list[list[float]]]) -> list[list[list[float]]]:
    """Divide each map by its norm."""
    norms = [math.sqrt(sum(v * v for row in m for v in row)) for m in maps]
    return [[[v / max(norm, 1e-6) for v in row] for row in m] for m, norm in zip(maps, norms, strict=True)]


def by_batch(maps: list[list[list[float]]]) -> list[list[list[float]]]:
    """Divide each pixel by its norm over the batch."""
    count, height, width = len(maps), len(maps[0]), len(maps[0][0])
    norm = [[math.sqrt(sum(maps[b][y][x] ** 2 for b in range(count))) for x in range(width)] for y in range(height)]
    return [
        [[maps[b][y][x] / max(norm[y][x], 1e-6) for x in range(width)] for y in range(height)] for b in range(count)
    ]


def expected(mode: str, teacher: Tensor, student: Tensor) -> float:
    combine, normalise = ("sum", by_batch) if mode == "code" else ("mean", by_pixels)
    teacher_maps, student_maps = (normalise(map_of(feature, combine)) for feature in (teacher, student))
    differences = [
        [s - t for srow, trow in zip(sm, tm, strict=True) for s, t in zip(srow, trow, strict=True)]
        for sm, tm in zip(student_maps, teacher_maps, strict=True)
    ]
    if mode == "code":
        flat = [abs(d) for sample in differences for d in sample]
        return sum(flat) / len(flat)
    squares = [sum(d * d for d in sample) for sample in differences]
    distances = squares if mode == "squared" else [math.sqrt(s) for s in squares]
    return sum(distances) / len(distances)


class TestAttention:
    @pytest.mark.parametrize("mode", ["squared", "paper", "code"])
    def test_the_loss_is_the_mean_of_its_formula_over_the_pairs(self, mode: str) -> None:
        """Two pairs of different size; teacher and student differ in channels."""
        teacher = Features(taps=[draw(3, 5, *SIZE, seed=6), draw(3, 7, *OTHER, seed=7)])
        student = Features(taps=[draw(3, 2, *SIZE, seed=8), draw(3, 3, *OTHER, seed=9)])
        pairs = [expected(mode, t, s) for t, s in zip(teacher.taps, student.taps, strict=True)]
        value = loss(Attention(mode=mode), teacher, student, batch(3))  # type: ignore[arg-type]
        assert float(value) == pytest.approx(sum(pairs) / 2, rel=1e-4)
        swapped = loss(Attention(mode=mode), student, teacher, batch(3))  # type: ignore[arg-type]
        assert float(swapped) == pytest.approx(float(value), rel=1e-4), "a distance of maps is symmetric"

    def test_a_larger_student_is_averaged_to_the_teachers_size(self) -> None:
        teacher, student = draw(2, 4, 8, 8, seed=6), draw(2, 3, 16, 16, seed=8)
        small = student.square().mean(1).reshape(2, 8, 2, 8, 2).mean((2, 4)).sqrt()[:, None]
        value = loss(Attention(), Features(taps=[teacher]), Features(taps=[student]), batch(2))
        assert float(value) == pytest.approx(expected("squared", teacher, small), rel=1e-4)

    @pytest.mark.parametrize("mode", ["squared", "paper"])
    def test_the_loss_does_not_depend_on_the_scale_of_features(self, mode: str) -> None:
        teacher, student = draw(2, 4, *SIZE, seed=6), draw(2, 3, *SIZE, seed=8)
        first = loss(Attention(mode=mode), Features(taps=[teacher]), Features(taps=[student]), batch(2))  # type: ignore[arg-type]
        second = loss(Attention(mode=mode), Features(taps=[5 * teacher]), Features(taps=[student / 3]), batch(2))  # type: ignore[arg-type]
        assert float(first) == pytest.approx(float(second), rel=1e-5)

    def test_mode_code_depends_on_the_other_slices_of_the_batch(self) -> None:
        teacher, student = draw(3, 4, *SIZE, seed=6), draw(3, 4, *SIZE, seed=8)
        together = [
            loss(Attention("code"), Features(taps=[teacher[i]]), Features(taps=[student[i]]), batch(2))
            for i in ([0, 1], [0, 2])
        ]
        assert float(together[0]) != pytest.approx(float(together[1]), rel=1e-3)

    def test_mode_code_is_zero_for_one_slice_and_refuses_it(self) -> None:
        teacher, student = draw(1, 4, *SIZE, seed=6), draw(1, 3, *SIZE, seed=8)
        assert expected("code", teacher, student) == pytest.approx(0, abs=1e-9), "each pixel divided by its norm is 1"
        with pytest.raises(UserError, match="mode='code': expected a batch of at least 2 slices, got 1"):
            loss(Attention("code"), Features(taps=[teacher]), Features(taps=[student]), batch(1))
        assert (Attention("code").least_batch, Attention("code").relates_samples) == (2, True)
        assert (Attention().least_batch, Attention().relates_samples) == (1, False)

    def test_mode_code_is_refused_with_a_batch_size_of_one(self, laboratory: Any) -> None:
        arms = [{"name": "arm", "recipe": "kd-mri", "distiller": {"name": "attention", "mode": "code"}}]
        graph = laboratory.graph("training.batch=1", arms=arms)
        with pytest.raises(
            UserError, match=r"relates samples and needs batches of at least 2, not 1; raise training\.batch"
        ):
            check(graph, graph.context.experiment.arms)

    @pytest.mark.parametrize("mode", ["squared", "paper", "code"])
    def test_only_the_student_receives_a_gradient(self, mode: str) -> None:
        teacher, student = (
            draw(2, 4, *SIZE, seed=6).requires_grad_(True),
            draw(2, 3, *SIZE, seed=8).requires_grad_(True),
        )
        with torch.no_grad():
            knowledge = Attention(mode=mode).knowledge(Features(taps=[teacher]), batch(2))  # type: ignore[arg-type]
        Attention(mode=mode)(Features(taps=[student]), knowledge, batch(2)).backward()  # type: ignore[arg-type]
        assert teacher.grad is None
        assert float(student.grad.abs().sum()) > 0  # type: ignore[union-attr]

    @pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
    def test_the_gradient_of_the_channel_energy_matches_finite_differences(
        self, memory_format: torch.memory_format
    ) -> None:
        feature = draw(2, 3, *SIZE, seed=8).double().to(memory_format=memory_format).requires_grad_(True)
        assert torch.autograd.gradcheck(channel_energy, feature)
        torch.testing.assert_close(channel_energy(feature), torch.einsum("bchw,bchw->bhw", feature, feature))

    @pytest.mark.parametrize("mode", ["squared", "code"])
    def test_attention_passes_the_conformance_checks(self, mode: str) -> None:
        check_distiller(lambda: Attention(mode=mode), enlarge=None if mode == "code" else "tile", precision_sizes=())  # type: ignore[arg-type]

    @pytest.mark.numeric
    @pytest.mark.parametrize("mode", ["squared", "paper", "code"])
    def test_attention_equals_float64_for_features_of_any_scale(self, mode: str) -> None:
        check_distiller_precision(lambda: Attention(mode=mode), scale_free=True)  # type: ignore[arg-type]
