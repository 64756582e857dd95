"""Costs of a network against closed forms."""

from __future__ import annotations

import json
import math
import time

import pytest
import torch
from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.evaluation.fourier_cost import fourier_operations
from i2ikd.evaluation.latency import latency_of_many
from i2ikd.evaluation.profile import count_macs, count_parameters, profile
from i2ikd.sample import Batch


def batch(height: int = 12, width: int = 10, count: int = 2, **conditions: Tensor) -> Batch:
    image = torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(0))
    return Batch(image, image.clone(), conditions)


def cascade(depth: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU()]
    for _ in range(depth - 2):
        layers += [nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(32, 1, 3, padding=1))


def cascades(depth: int) -> nn.Sequential:
    """Five cascades of DC-CNN's widths, without data consistency."""
    return nn.Sequential(*(cascade(depth) for _ in range(5)))


class Transforms(nn.Module):
    """A 1-D real round trip along axis -2, then a complex 2-D one, on 3 channels."""

    def forward(self, image: Tensor) -> Tensor:
        wide = image.expand(-1, 3, -1, -1)
        lines = torch.fft.rfft(wide, dim=-2, norm="ortho")
        wide = torch.fft.irfft(lines, n=wide.shape[-2], dim=-2, norm="ortho")
        return torch.fft.ifft2(torch.fft.fft2(wide)).real[:, :1]


class Conditioned(nn.Module):
    """Needs its conditions, and notes what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.seen: list[tuple[int, bool, bool, bool]] = []

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        channels_last = self.conv.weight.is_contiguous(memory_format=torch.channels_last)
        self.seen.append((len(image), self.training, torch.is_inference_mode_enabled(), channels_last))
        return self.conv(image)[:, :1] * mask


class Sleeper(nn.Module):
    """Takes ``milliseconds``; ``calls`` is shared by all copies."""

    def __init__(self, name: str, milliseconds: float, calls: Calls) -> None:
        super().__init__()
        self.name, self.milliseconds, self.calls = name, milliseconds, calls

    def forward(self, image: Tensor) -> Tensor:
        self.calls.names.append(self.name)
        time.sleep(self.milliseconds / 1e3)
        return image


class Calls:
    """Names in order of the calls; a copy of it is itself."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __deepcopy__(self, memo: dict) -> Calls:
        return self


@pytest.mark.parametrize(("depth", "parameters", "per_pixel"), [(5, 141_765, 141_120), (3, 49_285, 48_960)])
def test_the_papers_networks_have_the_papers_costs(depth: int, parameters: int, per_pixel: int) -> None:
    network = cascades(depth)
    assert count_parameters(network) == (parameters, parameters)
    assert count_macs(network, batch(12, 10)) == (per_pixel * 120, 0)


def test_fourier_transforms_are_counted_along_the_transformed_axes() -> None:
    real_lines = 3 * 10 * (5 * 12 * math.log2(12)) / 2
    planes = 3 * 5 * 120 * math.log2(120)
    expected = 2 * round(real_lines) + 2 * round(planes)
    assert count_macs(Transforms(), batch(12, 10)) == (expected // 2, expected // 2)


def test_fourier_transforms_add_to_convolutions() -> None:
    network = nn.Sequential(cascade(3), Transforms())
    macs, fourier = count_macs(network, batch(12, 10))
    assert fourier == count_macs(Transforms(), batch(12, 10))[1] > 0
    assert macs - fourier == 9_792 * 120


@pytest.mark.parametrize("size", [(16, 6), (9, 10)])
def test_real_transforms_cost_half_of_complex_ones_both_ways(size: tuple[int, int]) -> None:
    def cost(run: nn.Module) -> int:
        return count_macs(run, batch(*size))[1]

    class Complex(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.fft.ifft2(torch.fft.fft2(image + 0j)).real

    class Real(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.fft.irfft2(torch.fft.rfft2(image), s=image.shape[-2:])

    assert cost(Real()) == pytest.approx(cost(Complex()) / 2, abs=1)
    assert cost(Complex()) == pytest.approx(5 * math.prod(size) * math.log2(math.prod(size)), abs=1)


def test_a_transform_of_one_point_costs_nothing() -> None:
    assert fourier_operations((4, 1, 7), [1]) == 0
    assert fourier_operations((2, 8), [1]) == 2 * 5 * 8 * 3
    assert fourier_operations((2, 8), [-1], real=True) == 5 * 8 * 3


def test_work_of_the_first_call_alone_is_no_cost_of_a_slice() -> None:
    class Checked(nn.Module):
        """Transforms its first batch once more, to check it."""

        def __init__(self) -> None:
            super().__init__()
            self.checked = False

        def forward(self, image: Tensor) -> Tensor:
            if not self.checked:
                torch.fft.fft2(image)
                self.checked = True
            return torch.fft.irfft2(torch.fft.rfft2(image), s=image.shape[-2:])

    network = Checked()
    macs, fourier = count_macs(network, batch(16, 6))
    assert macs == fourier == round(5 * 96 * math.log2(96) / 2) * 2 // 2
    assert not network.checked, "it is counted on a copy"
    profiled = profile(network, batch(16, 6), repeats=1, warm_up=0)
    assert (profiled.macs, profiled.fourier_macs) == (macs, fourier)


def test_frozen_parameters_count_but_not_as_trainable_and_shared_ones_count_once() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3))
    network[0].requires_grad_(False)
    network.append(network[1])
    assert count_parameters(network) == (40 + 148, 148)


def test_a_network_is_profiled_as_deployed_on_one_slice_and_left_as_it_was() -> None:
    network = Conditioned().train()
    weights = network.conv.weight.detach().clone()
    kept: list = []
    network.seen = Shared(kept)
    found = profile(network, batch(count=3, mask=torch.ones(3, 1, 12, 10)), repeats=4, warm_up=2)
    assert {(count, training, last) for count, training, _, last in kept} == {(1, False, True)}
    assert [inference for _, _, inference, _ in kept][-6:] == [True] * 6
    assert network.training
    assert network.conv.weight.is_contiguous()
    assert torch.equal(network.conv.weight, weights)
    assert (found.parameters, found.trainable, found.macs, found.fourier_macs) == (36, 36, 36 * 120, 0)
    assert found.latency_ms > 0
    assert found.device.startswith("cpu")
    assert found.threads == torch.get_num_threads()
    assert json.loads(json.dumps(found.as_json()))["macs"] == 4320


class Shared(list):
    """A list whose copies write to one list."""

    def __init__(self, kept: list) -> None:
        super().__init__()
        self.kept = kept

    def __deepcopy__(self, memo: dict) -> Shared:
        return self

    def append(self, value: object) -> None:
        self.kept.append(value)


def test_peak_memory_is_weights_slice_and_the_two_largest_neighbours() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.Conv2d(8, 6, 3, padding=1, bias=False),
        nn.Conv2d(6, 1, 3, padding=1, bias=False),
    )  # fmt: skip
    found = profile(network, batch(40, 30, count=5), repeats=1, warm_up=0)
    weights = 4 * (9 * 8 + 9 * 48 + 9 * 6)
    slice_bytes = 4 * 40 * 30
    assert found.peak_memory_mib * 2**20 == pytest.approx(weights + slice_bytes * (1 + 8 + 6))


def test_networks_take_turns_and_the_slow_one_is_slower() -> None:
    calls = Calls()
    networks = {name: Sleeper(name, wait, calls) for name, wait in {"a": 1.0, "b": 6.0, "c": 1.0}.items()}
    found = latency_of_many(networks, batch(), repeats=5, warm_up=1)
    rounds = [calls.names[start : start + 3] for start in range(0, 18, 3)]
    assert len(calls.names) == 18
    assert all(sorted(turn) == ["a", "b", "c"] for turn in rounds)
    assert {turn[0] for turn in rounds} == {"a", "b", "c"}
    assert list(found) == ["a", "b", "c"]
    assert found["b"].median_ms > 6.0
    assert found["b"].median_ms > found["a"].median_ms > 1.0
    assert all(latency.repeats == 5 and latency.spread_ms >= 0 for latency in found.values())


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(UserError, match="expected repeats of at least 1, got 0"):
        latency_of_many({"a": nn.Identity()}, batch(), repeats=0)
    with pytest.raises(UserError, match="expected at least 1 sample, got 0"):
        profile(nn.Identity(), batch(count=0))
    assert latency_of_many({}, batch()) == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_timed_and_its_memory_counted() -> None:
    found = profile(cascades(3), batch(64, 48), repeats=3, device="cuda")
    assert found.device.startswith("cuda")
    assert found.latency_ms > 0
    assert found.peak_memory_mib * 2**20 >= 4 * 49_285 + 4 * 64 * 48 * (1 + 32 + 32)
