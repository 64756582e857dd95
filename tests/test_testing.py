"""The conformance checks pass correct components, and name the broken rule of others."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import i2ikd
from i2ikd import Batch, Distiller, Features, Metric, Sample, SampleDataset, SampleKey, TapShapes, Task, UserError
from i2ikd.testing import check_distiller, check_metric, check_model, check_plugin, check_task


class Plain(Distiller):
    """Mean squared error of the first min(C) channels of every tap: right in every respect."""

    cacheable = True

    def knowledge(self, teacher: Features, batch: Batch) -> dict[str, Tensor]:
        return {f"map{i}": i2ikd.at_least_float32(tap.detach()) for i, tap in enumerate(teacher.taps)}

    def one(self, student: Tensor, teacher: Tensor) -> Tensor:
        if student.shape[-2:] != teacher.shape[-2:]:
            raise UserError("sizes differ")
        channels = min(student.shape[1], teacher.shape[1])
        return self.measure(i2ikd.at_least_float32(student)[:, :channels], teacher[:, :channels])

    def measure(self, student: Tensor, teacher: Tensor) -> Tensor:
        return F.mse_loss(student, teacher)

    def forward(self, student: Features, knowledge: dict[str, Tensor], batch: Batch) -> Tensor:
        losses = [self.one(tap, knowledge[f"map{i}"]) for i, tap in enumerate(student.taps)]
        return torch.stack(losses).mean()


class NeverLeast(Plain):
    def measure(self, student: Tensor, teacher: Tensor) -> Tensor:
        return F.mse_loss(student, teacher + 1)


class Sums(Plain):
    def measure(self, student: Tensor, teacher: Tensor) -> Tensor:
        return F.mse_loss(student, teacher, reduction="sum")


class DividesByZero(Plain):
    def measure(self, student: Tensor, teacher: Tensor) -> Tensor:
        energies = [side.flatten(1).norm(dim=1)[:, None, None, None] for side in (student, teacher)]
        return F.mse_loss(student / energies[0], teacher / energies[1])


class OverTheBatch(Plain):
    def measure(self, student: Tensor, teacher: Tensor) -> Tensor:
        return F.mse_loss(student - student.mean(dim=0), teacher - teacher.mean(dim=0))


class Leaks(Plain):
    def knowledge(self, teacher: Features, batch: Batch) -> dict[str, Tensor]:
        return {f"map{i}": tap.float() for i, tap in enumerate(teacher.taps)}


class KnowsTheBatch(Plain):
    def knowledge(self, teacher: Features, batch: Batch) -> dict[str, Tensor]:
        return {f"map{i}": tap.detach().float() - tap.detach().float().mean() for i, tap in enumerate(teacher.taps)}

    def measure(self, student: Tensor, teacher: Tensor) -> Tensor:
        return F.mse_loss(student - student.mean(), teacher)


class Deaf(Plain):
    def forward(self, student: Features, knowledge: dict[str, Tensor], batch: Batch) -> Tensor:
        return self.one(student.taps[0], knowledge["map0"])


class Idle(Plain):
    def build(self, pairs: Sequence[TapShapes]) -> None:
        self.unused = nn.Linear(2, 2)


class Forgets(Plain):
    def build(self, pairs: Sequence[TapShapes]) -> None:
        self.scale = 1.0

    def prepare(self, teacher: Any) -> None:
        self.scale = 2.0

    def measure(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.scale * F.mse_loss(student, teacher)


class LowPrecision(Plain):
    def measure(self, student: Tensor, teacher: Tensor) -> Tensor:
        return F.mse_loss(student.flatten(2) @ student.flatten(2).mT, teacher.flatten(2) @ teacher.flatten(2).mT) / 1e4


class Crashes(Plain):
    def one(self, student: Tensor, teacher: Tensor) -> Tensor:
        return F.mse_loss(student.float() * 1, teacher[:, : student.shape[1]])


class Hungry(Plain):
    def measure(self, student: Tensor, teacher: Tensor) -> Tensor:
        return torch.stack([(student - teacher) * k for k in range(1, 5)]).square().mean()


class Undeclared(Plain):
    least_batch = 3
    relates_samples = True


def test_a_right_distiller_passes() -> None:
    check_distiller(Plain)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (NeverLeast, "must be least at the teacher"),
        (Sums, "must not depend on the image size"),
        (DividesByZero, "not finite when the student's features are zero everywhere"),
        (OverTheBatch, "declare relates_samples"),
        (Leaks, "a gradient reaches the teacher"),
        (KnowsTheBatch, "depends on the batch mates"),
        (Deaf, "no gradient reaches the student's tap 1"),
        (Idle, "its parameter 'unused.weight' gets no gradient"),
        (Forgets, "must live in parameters or buffers"),
        (LowPrecision, "under bfloat16 autocast"),
        (Crashes, "ends in RuntimeError"),
        (Hungry, "feature maps a pair at its peak"),
        (Undeclared, "declares least_batch = 3 but takes a batch of 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_the_fault_of_a_wrong_distiller_is_named(wrong: type[Distiller], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_distiller(wrong)


class Noise(SampleDataset):
    def __init__(self, split: str, varies: bool = False) -> None:
        self.split = split
        self.varies = varies

    @property
    def keys(self) -> Sequence[SampleKey]:
        return [SampleKey(f"{self.split}-{volume}", "session", index) for volume in range(2) for index in range(2)]

    def sample(self, index: int, seed: int | None) -> Sample:
        target = torch.rand(1, 10, 8, generator=torch.Generator().manual_seed(index))
        if self.varies and seed is not None and seed % 2:
            target = target.flip(-1)
        return Sample(target + 0.1, target, {"level": torch.tensor(0.1)}, self.keys[index])


class Denoise(Task):
    augmentations = frozenset({"flip"})

    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> SampleDataset:
        if split not in ("train", "val", "test") or not set(augmentations) <= self.augmentations:
            raise UserError("splits are train, val, test; the only view is flip")
        return self.make(split, bool(augmentations))

    make: Callable[[str, bool], SampleDataset] = staticmethod(Noise)

    def identity(self) -> dict[str, Any]:
        return {"task": "denoise", "level": 0.1}


def variant(base: type, **attributes: Any) -> Any:
    return type(f"Wrong{base.__name__}", (base,), attributes)


def task_on(**attributes: Any) -> Task:
    wrong: Task = variant(Denoise, make=staticmethod(variant(Noise, **attributes)))()
    return wrong


def drawn(self: Noise, index: int, seed: int | None) -> Sample:
    return Sample(torch.rand(1, 4, 4), torch.zeros(1, 4, 4), {}, self.keys[index])


def doubled(self: Noise, index: int, seed: int | None) -> Sample:
    sample = Noise.sample(self, index, seed)
    return Sample(sample.input.double(), sample.target, {}, sample.key)


def secretly_varying(self: Noise, index: int, seed: int | None) -> Sample:
    sample = Noise.sample(self, index, None)
    return Sample(sample.input + (seed or 0), sample.target, {}, sample.key)


def growing(self: Noise, index: int, seed: int | None) -> Sample:
    image = torch.rand(1, 10, 8 + index, generator=torch.Generator().manual_seed(index))
    if self.varies and seed is not None and seed % 2:
        image = image.flip(-1)
    return Sample(image + 0.1, image, {"level": torch.tensor(0.1)}, self.keys[index])


def test_a_right_task_passes() -> None:
    check_task(Denoise())
    check_task(task_on(sample=growing, shapes=[f"10 x {8 + index}" for index in range(4)]))


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (task_on(sample=drawn), "differs from call to call"),
        (task_on(sample=doubled), "the input is torch.float64, not float32"),
        (task_on(sample=secretly_varying), "set varies = True"),
        (task_on(keys=[SampleKey("s", "a", 0), SampleKey("s", "b", 0), SampleKey("s", "a", 1)]), "are not neighbours"),
        (task_on(keys=[SampleKey("s", "a", 0), SampleKey("s", "a", 0)]), "occurs twice"),
        (task_on(keys=[SampleKey("s", "a", 0), SampleKey("s", "a", 1)]), "the subject 's' is also in 'train'"),
        (task_on(keys=[]), "has no samples"),
        (task_on(sample=growing, shapes=["10 x 8"] * 4), "samples whose shapes are '10 x 8' differ in shape"),
        (task_on(shapes=["10 x 8"] * 3), "4 samples but 3 shapes"),
        (variant(Denoise, identity=lambda self: {"root": "/data/brain"})(), "contains a path"),
        (variant(Denoise, identity=lambda self: {"root": object()})(), "cannot be written as JSON"),
        (variant(Denoise, loss=lambda self, a, b: -F.l1_loss(a, b))(), "not least where the output is the target"),
        (variant(Denoise, baseline=lambda self, b: {"half": b.input[..., ::2]})(), "baseline 'half' is"),
        (variant(Denoise, to_display=lambda self, image: image[None].numpy())(), r"no array \[H, W\] or \[C, H, W\]"),
        (variant(Denoise, augmentations={"flip", "shift"}, make=lambda self, s, v: Noise(s))(), "must set varies"),
        (
            variant(Denoise, dataset=lambda self, split, augmentations=(): Noise(split, bool(augmentations)))(),
            "does not exist is accepted",
        ),
    ],
)
def test_the_fault_of_a_wrong_task_is_named(task: Task, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_task(task)


class MeanSquare(Metric):
    higher_is_better = False

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        assert prediction.ndim == 2
        return float(np.mean((prediction - target) ** 2))


class OwnPeak(Metric):
    """PSNR with the peak of the prediction: a known mistake."""

    scope = "volume"

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        assert prediction.ndim == 3
        error = np.mean(np.abs(prediction - target)) ** 2 + 1e-12
        return float(10 * math.log10(prediction.max() ** 2 / error))


def clip(self: Metric, prediction: np.ndarray, target: np.ndarray) -> float:
    prediction *= 0.5
    return float(np.mean(prediction))


def test_a_right_metric_passes() -> None:
    check_metric(MeanSquare())


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        (variant(MeanSquare, higher_is_better=True)(), "a perfect prediction is not the best"),
        (OwnPeak(), "take the peak from the target"),
        (variant(MeanSquare, __call__=clip)(), "changes the arrays"),
        (variant(MeanSquare, __call__=lambda self, p, t: 0.0)(), "does not make it worse"),
        (variant(MeanSquare, __call__=lambda self, p, t: float("nan"))(), "is NaN"),
        (variant(MeanSquare, __call__=lambda self, p, t: p - t)(), "returns a ndarray, not a float"),
        (variant(MeanSquare, scope="pixel")(), "scope is"),
    ],
)
def test_the_fault_of_a_wrong_metric_is_named(metric: Metric, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_metric(metric)


class Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, input: Tensor, level: Tensor) -> Tensor:
        return self.layer(input) - level.view(-1, 1, 1, 1)


class Dropping(Convolution):
    def forward(self, input: Tensor, level: Tensor) -> Tensor:
        return F.dropout(super().forward(input, level), training=True)


class Averaging(Convolution):
    def forward(self, input: Tensor, level: Tensor) -> Tensor:
        return super().forward(input - input.mean(), level)


class Unregistered(Convolution):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.rand(1)

    def forward(self, input: Tensor, level: Tensor) -> Tensor:
        return super().forward(input, level) + self.hidden


class Spare(Convolution):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(1, 1)


class InPlace(Convolution):
    def forward(self, input: Tensor, level: Tensor) -> Tensor:
        return super().forward(input.mul_(0.5), level)


def noise_batch() -> Batch:
    data = Noise("train")
    return Batch.collate([data[i] for i in range(3)])


def test_a_right_model_passes() -> None:
    check_model(Convolution, noise_batch())


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (Dropping, "two outputs for one input in eval mode"),
        (Averaging, "depends on the other samples of the batch"),
        (Unregistered, "keep everything in parameters or buffers"),
        (Spare, "no gradient reaches its parameter 'spare.weight'"),
        (InPlace, "changes its input in place"),
    ],
)
def test_the_fault_of_a_wrong_model_is_named(wrong: type[nn.Module], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_model(wrong, noise_batch())


def module(**attributes: Any) -> types.ModuleType:
    made = types.ModuleType("some_plugin")
    vars(made).update(attributes)
    return made


def registering(*entries: Mapping[str, Any]) -> Callable[..., None]:
    @i2ikd.hookimpl
    def register_models(register: Any) -> None:
        for entry in entries:
            register(**{"name": "net", "target": Convolution, "summary": "a network", **entry})

    return register_models


@i2ikd.hookimpl
def register_modles(register: Any) -> None: ...


def unmarked(register: Any) -> None: ...


def unknown_type(depth: Nowhere) -> nn.Module:  # noqa: F821
    raise NotImplementedError


def needs_an_option(depth: int) -> nn.Module:
    raise NotImplementedError


@pytest.mark.parametrize("target", [Convolution, "i2ikd.sample:Batch", needs_an_option])
def test_a_right_plugin_passes(target: Any) -> None:
    check_plugin(module(register_models=registering({"target": target})))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (module(), "it registers nothing"),
        (module(register_models=unmarked), "is not marked with @i2ikd.hookimpl"),
        (module(register_modles=register_modles), "did you mean 'register_models'"),
        (module(register_models=registering({}, {})), "registered twice"),
        (module(register_models=registering({"target": "i2ikd.sample:Bach"})), "cannot import 'i2ikd.sample:Bach'"),
        (module(register_models=registering({"target": "i2ikd:__version__"})), "to be a class or function, got a str"),
        (module(register_models=registering({"summary": ""})), "has no summary"),
        (module(register_models=registering({"target": unknown_type})), "cannot resolve the type hints"),
    ],
)
def test_the_fault_of_a_wrong_plugin_is_named(wrong: types.ModuleType, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_plugin(wrong)
