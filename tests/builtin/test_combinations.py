"""The mean of several networks, as the teacher of an arm."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from i2ikd_mri_recon.network import DCCNN
from torch import Tensor, nn

from i2ikd import Batch, Taps, UserError
from i2ikd.builtin.combinations import EnsembleMean
from i2ikd.engine.run import load_network
from i2ikd.experiment.networks import load_input


class Half(nn.Module):
    """A network that returns bfloat16."""

    def forward(self, input: Tensor) -> Tensor:
        return input.to(torch.bfloat16)


@pytest.fixture
def batch() -> Batch:
    """Two undersampled images of 12 x 10 with their k-space."""
    target = torch.rand(2, 1, 12, 10, generator=torch.Generator().manual_seed(3))
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


def test_is_the_mean_of_the_outputs(teacher: DCCNN, student: DCCNN, batch: Batch) -> None:
    mean = EnsembleMean([teacher, student, nn.Identity()])
    outputs = [network(batch.input, **batch.conditions) for network in (teacher, student)]
    expected = (outputs[0].double() + outputs[1].double() + batch.input.double()) / 3
    assert torch.allclose(mean(batch.input, **batch.conditions).double(), expected, atol=1e-6)


def test_has_the_taps_of_its_members(teacher: DCCNN, student: DCCNN, batch: Batch) -> None:
    mean = EnsembleMean([teacher, student])
    with Taps(mean, ["members.1.cascades.2"]) as taps:
        mean(batch.input, **batch.conditions)
        (image,) = taps.take(["members.1.cascades.2"])
    assert torch.equal(image, student(batch.input, **batch.conditions))


def test_is_taken_in_float32_at_least() -> None:
    image = torch.full((1, 1, 2, 2), 1.0)
    assert EnsembleMean([Half(), Half()])(image).dtype == torch.float32
    assert EnsembleMean([nn.Identity()])(image.double()).dtype == torch.float64


def test_refuses_no_network_and_unequal_images() -> None:
    with pytest.raises(UserError, match="expected at least one network"):
        EnsembleMean([])
    with pytest.raises(UserError, match=r"images of one shape, got \(1, 1, 4, 4\), \(1, 2, 4, 4\)"):
        EnsembleMean([nn.Identity(), nn.Conv2d(1, 2, 1)])(torch.zeros(1, 1, 4, 4))


def test_teaches_an_arm(laboratory: Any, batch: Batch) -> None:
    arms = [{"name": "arm", "recipe": "imitation"}]
    graph = laboratory.graph("teacher.ensemble=2", "training.epochs=1", arms=arms)
    run = laboratory.train(graph, "arm")
    members = graph.teacher_runs(0)
    assert [member.folder.finished for member in members] == [True, True]
    assert run.specification.inputs == {"teacher": [member.specification.digest for member in members]}
    assert run.specification.combine == {"teacher": {"name": "mean"}}
    registry = graph.context.registry
    combined = load_input(registry, members, run.specification.combine["teacher"])
    first, second = (load_network(registry, member.folder)(batch.input, **batch.conditions) for member in members)
    assert not torch.allclose(first, second)
    assert torch.allclose(combined(batch.input, **batch.conditions), (first + second) / 2, atol=1e-6)


def test_features_of_it_need_pairs_of_a_member(laboratory: Any) -> None:
    pairs = [["members.0.cascades.*.layers.1", "cascades.*.layers.1"]]
    arms = [{"name": "kd", "recipe": "kd-mri"}, {"name": "named", "recipe": "kd-mri", "pairs": pairs}]
    graph = laboratory.graph("teacher.ensemble=2", "training.epochs=1", arms=arms)
    with pytest.raises(UserError, match="the teacher is a EnsembleMean; set pairs of module paths"):
        laboratory.train(graph, "kd")
    assert laboratory.train(graph, "named").folder.finished
