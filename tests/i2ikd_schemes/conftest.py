"""Two DC-CNNs with a batch, the context of an objective around them, and runs that are interrupted."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
import torch
from i2ikd_mri_recon.network import DCCNN
from torch import Tensor, nn

from i2ikd import Batch, Features, Objective, ObjectiveContext, Teacher, default_registry
from i2ikd.callback import Callback, NullCallback
from i2ikd.engine.loop import Interrupted

Images = list[Tensor]


class AbsoluteError:
    """The part of a task that objectives use."""

    def loss(self, image: Tensor, target: Tensor) -> Tensor:
        return (image - target).abs().mean()


def make_context(network: nn.Module, batch: Batch, **changes: Any) -> ObjectiveContext:
    settings: dict[str, Any] = {
        "network": network,
        "side": "student",
        "inputs": {},
        "models": {"teacher": "dc-cnn", "student": "dc-cnn"},
        "pairs": None,
        "task": AbsoluteError(),
        "registry": default_registry(),
        "example": batch,
        "batch_size": len(batch),
        "seed": 0,
        "stage": "stage",
    }
    return ObjectiveContext(**cast(Any, {**settings, **changes}))


@pytest.fixture
def context() -> Callable[..., ObjectiveContext]:
    return make_context


@pytest.fixture
def batch() -> Batch:
    """Two undersampled images of 12 x 10 with their k-space."""
    generator = torch.Generator().manual_seed(3)
    target = torch.rand(2, 1, 12, 10, generator=generator)
    mask = (torch.arange(12) % 3 == 0).float()[None, None, :, None].expand(2, 1, 12, 1).contiguous()
    kspace = torch.fft.fft2(target.to(torch.complex64), norm="ortho") * mask
    return Batch(torch.fft.ifft2(kspace, norm="ortho").real, target, {"kspace": kspace, "mask": mask})


@pytest.fixture
def teacher() -> DCCNN:
    torch.manual_seed(1)
    return DCCNN(3, 4, 5)


@pytest.fixture
def student() -> DCCNN:
    torch.manual_seed(2)
    return DCCNN(3, 3, 4)


def chain(networks: list[DCCNN], batch: Batch) -> Images:
    """Input and the image after each cascade, cascade k being that of ``networks[k]``: no hook, no core code."""
    measurement = networks[0].consistency.measure(
        batch.conditions["kspace"], batch.conditions["mask"], batch.input.dtype
    )
    images = [batch.input]
    for index, network in enumerate(networks):
        images.append(network.cascades[index](images[-1], measurement))
    return images


@pytest.fixture
def run_chain() -> Callable[[list[DCCNN], Batch], Images]:
    return chain


def gradients(network: nn.Module) -> dict[str, Tensor]:
    """The gradients of a network's parameters, which are then cleared."""
    found = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    network.zero_grad(set_to_none=True)
    return found


@pytest.fixture
def take_gradients() -> Callable[[nn.Module], dict[str, Tensor]]:
    return gradients


@pytest.fixture
def close() -> Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], bool]:
    """Whether two sets of gradients agree to float32 rounding, relative to the largest value of each."""

    def compare(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
        assert left.keys() == right.keys()
        return all((left[n] - right[n]).abs().max() <= 1e-4 * right[n].abs().max() + 1e-7 for n in left)

    return compare


class Stop(NullCallback):
    """Sends SIGINT to this process after a step."""

    def on_step_end(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def interrupted_after_every_step() -> Callable[[Callable[[Callback], object]], int]:
    """Start the same work anew until it is not interrupted; return the number of interruptions."""

    def repeat(work: Callable[[Callback], object]) -> int:
        for interruptions in range(200):
            try:
                work(Stop())
            except Interrupted:
                continue
            return interruptions
        raise AssertionError("the work never ends")

    return repeat


@pytest.fixture
def outputs_of() -> Callable[[Objective, nn.Module, Batch], dict[str, dict[str, Tensor]]]:
    """What the engine computes for an objective's requests."""

    def compute(objective: Objective, teacher: nn.Module, batch: Batch) -> dict[str, dict[str, Tensor]]:
        found = {}
        for request in objective.requests():
            with Teacher(teacher, request.paths) as running:
                image = running(batch)
                found[request.name] = request.extract(Features(running.taps.take(request.paths), image), batch)
        return found

    return compute
