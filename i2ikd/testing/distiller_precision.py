"""Float32 errors of a distiller at real image sizes: loss and gradients against the same computation in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from i2ikd.distiller import Distiller
from i2ikd.testing.distiller_case import Case, Loss, Situation, mapped
from i2ikd.torch_threads import torch_threads

SIZES = ((256, 256), (640, 368))
"""Height and width of features: a slice of a brain, and one of a knee."""

THREADS = (1, 2)
"""A sum is split by threads, so its error depends on their number."""

TOLERANCE = 1e-3
"""Largest relative error of a loss and of its gradient."""

PARAMETER_TOLERANCE = 1e-2
"""Largest relative error of the gradients of own parameters: torch's convolution alone has 2e-3 on a constant image."""

LEFT_AT_TEACHER = 1e-6
"""Largest loss where the student equals the teacher, as a share of the loss of an independent student."""

SCALE = 1e-2
"""Factor of the features in the scene of small features."""


def _background(tensor: Tensor) -> Tensor:
    """Zero everything but the central half of each side: air around an object."""
    height, width = tensor.shape[-2:]
    result = torch.zeros_like(tensor)
    object_ = (..., slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
    result[object_] = tensor[object_]
    return result


SCENES: dict[str, Callable[[Tensor], Tensor]] = {
    "independent features": lambda tensor: tensor,
    "zero background": _background,
    f"features times {SCALE:g}": lambda tensor: tensor * SCALE,
}
"""What is done to the random features of teacher and student."""


@dataclass(frozen=True)
class PrecisionError:
    """Relative error of one float32 computation against float64.

    Attributes:
        scene: key of ``SCENES``.
        size: height and width of the features.
        threads: number of threads of the float32 computation.
        value: |L32 - L64| / |L64|.
        gradient: sum |g32 - g64| / sum |g64| of the student's features. Sums of magnitudes, because a derivative that
            jumps (of an absolute value, at 0) may jump at other single positions in float32.
        parameters: the same of the distiller's own parameters; 0 where it has none.
    """

    scene: str
    size: tuple[int, int]
    threads: int
    value: float
    gradient: float
    parameters: float

    def __str__(self) -> str:
        height, width = self.size
        return f"{self.scene}, {height} x {width}, {self.threads} thread{'s' if self.threads > 1 else ''}"


def precision_errors(
    factory: Callable[[], Distiller],
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    threads: Sequence[int] = THREADS,
    channels: tuple[int, int] = (4, 4),
    pairs: int = 1,
) -> Iterator[PrecisionError]:
    """Yield the float32 errors of a distiller for every size, scene and number of threads.

    Args:
        factory: makes a fresh distiller, always with the same options.
        sizes: height and width of the features and images.
        threads: numbers of threads of the float32 computation.
        channels: of the teacher's and of the student's taps (1 and 1 for ``tap_kind = "images"``).
        pairs: number of pairs of taps.

    Raises:
        AssertionError: the loss of float64 features is not float64.
    """
    for size in sizes:
        case = _case(factory, size, channels, pairs)
        reference = in_float64(case)
        for scene, change in SCENES.items():
            exact = _run(reference, change)
            for count in threads:
                with torch_threads(count):
                    found = _run(case, change)
                yield PrecisionError(scene, size, count, *_relative(found, exact))


def check_distiller_precision(
    factory: Callable[[], Distiller],
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    channels: tuple[int, int] = (4, 4),
    pairs: int = 1,
    vanishes_at_teacher: bool = True,
    scale_free: bool = False,
    parameter_tolerance: float = PARAMETER_TOLERANCE,
) -> None:
    """Check that a distiller is right in float32 at real image sizes.

    Loss and gradients agree with float64 to 1e-3, with one thread and with two, for independent random features,
    features of zero background, and features of scale 1e-2; at the least batch that the method takes. Half-precision
    features are to be converted by ``i2ikd.at_least_float32``, so that float64 ones stay float64.

    Args:
        factory: makes a fresh distiller, always with the same options.
        sizes: height and width of the features and images.
        channels: of the teacher's and of the student's taps (1 and 1 for ``tap_kind = "images"``).
        pairs: number of pairs of taps.
        vanishes_at_teacher: whether a student that equals the teacher has at most 1e-6 of the loss of an independent
            student. False for a loss with a constant in it (a likelihood), random adapters, masks or a margin.
        scale_free: whether the loss is the same, to 1e-3, for features of both networks multiplied by 1e-2.
        parameter_tolerance: largest relative error of the gradients of its own parameters.

    Raises:
        AssertionError: with the rule that is broken, the features, and both numbers.
    """
    for error in precision_errors(factory, sizes=sizes, channels=channels, pairs=pairs):
        for words, number, allowed in (
            ("loss", error.value, TOLERANCE),
            ("gradient", error.gradient, TOLERANCE),
            ("gradient of its own parameters", error.parameters, parameter_tolerance),
        ):
            assert number <= allowed, (
                f"{type(factory()).__name__}: expected a {words} in float32 within {allowed:g} of float64, got a "
                f"relative error of {number:.3g} ({error}); sum in blocks or in float64, and avoid differences of "
                "large sums"
            )
    for size in sizes:
        case = _case(factory, size, (channels[0], channels[0]), pairs)
        if vanishes_at_teacher:
            _vanishes_at_the_teacher(case)
        if scale_free:
            _does_not_depend_on_the_scale(case)


def _vanishes_at_the_teacher(case: Case) -> None:
    independent = float(case.run(case.teacher, case.student).value)
    for count in THREADS:
        with torch_threads(count):
            left = float(case.run(case.teacher, case.teacher).value)
        assert left <= LEFT_AT_TEACHER * abs(independent), (
            f"{type(case.distiller).__name__}: expected at most {LEFT_AT_TEACHER:g} of an independent student's loss "
            f"({independent:.3g}) where the student equals the teacher, got {left:.3g} at {case.situation.sizes[0]}, "
            f"{count} thread{'s' if count > 1 else ''}; write the loss as a sum of terms that vanish there"
        )


def _does_not_depend_on_the_scale(case: Case) -> None:
    plain = float(case.run(case.teacher, case.student).value)
    teacher, student = (mapped(side, lambda tensor: tensor * SCALE) for side in (case.teacher, case.student))
    scaled = float(case.run(teacher, student).value)
    assert abs(scaled - plain) <= TOLERANCE * abs(plain), (
        f"{type(case.distiller).__name__}: expected one loss for features of every scale, got {plain:.6g} and, for "
        f"features times {SCALE:g}, {scaled:.6g}; make floors and epsilons relative to the features"
    )


def in_float64(case: Case) -> Case:
    """Return a copy of a case with features, batch, parameters and buffers in float64."""
    exact = copy.copy(case)
    exact.distiller = copy.deepcopy(case.distiller).double()
    exact.teacher, exact.student = mapped(case.teacher, Tensor.double), mapped(case.student, Tensor.double)
    exact.batch = replace(case.batch, input=case.batch.input.double(), target=case.batch.target.double())
    return exact


def _case(factory: Callable[[], Distiller], size: tuple[int, int], channels: tuple[int, int], pairs: int) -> Case:
    return Case(factory, Situation(channels, (size, size), factory().least_batch, pairs))


def _run(case: Case, change: Callable[[Tensor], Tensor]) -> Loss:
    teacher, student = mapped(case.teacher, change), mapped(case.student, change)
    loss = case.run(teacher, student)
    expected = case.teacher.image().dtype
    assert loss.value.dtype == expected, (
        f"{type(case.distiller).__name__}: expected a loss in {expected} for features in {expected}, got "
        f"{loss.value.dtype}; convert features by i2ikd.at_least_float32, not by float()"
    )
    return loss


def _relative(found: Loss, exact: Loss) -> tuple[float, float, float]:
    return (
        _ratio([found.value], [exact.value]),
        _ratio([*found.taps, found.output], [*exact.taps, exact.output]),
        _ratio(found.parameters, exact.parameters),
    )


def _ratio(found: Sequence[Tensor | None], exact: Sequence[Tensor | None]) -> float:
    pairs = [(own.double(), right) for own, right in zip(found, exact) if own is not None and right is not None]
    wrong = sum(float((own - right).abs().sum()) for own, right in pairs)
    return wrong / scale if (scale := sum(float(right.abs().sum()) for _, right in pairs)) else wrong
