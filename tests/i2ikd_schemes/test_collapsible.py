"""Collapsible convolutions compute what plain ones do, train all their branches, and are folded to plain ones."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from i2ikd_mri.kernels.thin_convolution import ThinConvolution
from i2ikd_mri_recon.network import DCCNN
from i2ikd_schemes.collapsible import CollapsedWeight, Collapsible
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

import i2ikd
from i2ikd import Batch, UserError
from i2ikd.callback import NullCallback
from i2ikd.network import apply

NONE: Any = None
"""The transform uses neither batches nor task."""


def collapsible(network: nn.Module, **options: Any) -> nn.Module:
    return Collapsible(**options).apply(network, [], NONE)


def branches(convolution: nn.Module) -> CollapsedWeight:
    (found,) = (module for module in convolution.modules() if isinstance(module, CollapsedWeight))
    return found


def scrambled(network: nn.Module) -> nn.Module:
    """The network with every parameter changed, as after training."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def test_the_network_computes_what_it_computed_before(student: DCCNN, batch: Batch) -> None:
    before = student(batch.input, **batch.conditions)
    changed = collapsible(student)
    assert torch.allclose(changed(batch.input, **batch.conditions), before, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3, (3, 5), 2])
def test_the_weight_is_the_sum_of_its_branches(kernel: Any) -> None:
    """Each branch is run as a convolution of its own, in float64."""
    torch.manual_seed(0)
    padding = tuple(k // 2 for k in (kernel if isinstance(kernel, tuple) else (kernel, kernel)))
    plain = nn.Conv2d(3, 4, kernel, padding=padding).double()
    convolution = scrambled(collapsible(plain, expansion=5))
    image = torch.randn(2, 3, 8, 7, dtype=torch.float64)
    parts, weight = branches(convolution), convolution.parametrizations["weight"].original
    assert parts.first.shape[0] == 5 * 4
    expected = F.conv2d(image, weight, plain.bias, padding=padding)
    expected = expected + F.conv2d(F.conv2d(image, parts.first, padding=padding), parts.second[:, :, None, None])
    if kernel in (3, (3, 5)):
        assert parts.centre is not None
        expected = expected + F.conv2d(image, parts.centre[:, :, None, None])
    else:
        assert parts.centre is None
    assert torch.allclose(convolution(image), expected, atol=1e-12)


def test_every_branch_is_trained(student: DCCNN, batch: Batch) -> None:
    changed = collapsible(student)
    (changed(batch.input, **batch.conditions) - batch.target).square().mean().backward()
    for name, parameter in changed.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_gradients_are_those_of_the_sum(batch: Batch) -> None:
    plain = nn.Conv2d(1, 2, 3, padding=1)
    changed = collapsible(copy.deepcopy(plain), expansion=2)
    for network in (plain, changed):
        network(batch.input).square().mean().backward()
    parts, gradient = branches(changed), plain.weight.grad
    assert gradient is not None and parts.centre is not None
    expected = {
        "first": torch.einsum("oh,oikl->hikl", parts.second, gradient),
        "second": torch.einsum("oikl,hikl->oh", gradient, parts.first),
        "centre": gradient[:, :, 1, 1],
    }
    for name, value in expected.items():
        found = getattr(parts, name).grad
        assert torch.allclose(found, value, rtol=1e-3, atol=1e-6), name


def test_folding_changes_no_bit_and_leaves_a_plain_network(student: DCCNN, batch: Batch) -> None:
    plain = copy.deepcopy(student)
    transform = Collapsible()
    trained = scrambled(transform.apply(student, [], NONE))
    before = trained(batch.input, **batch.conditions)
    folded = transform.fold(trained)
    assert torch.equal(folded(batch.input, **batch.conditions), before)
    assert [type(module) for module in folded.modules()] == [type(module) for module in plain.modules()]
    shapes = {name: tensor.shape for name, tensor in folded.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in plain.state_dict().items()}
    plain.load_state_dict(folded.state_dict())
    assert torch.equal(plain(batch.input, **batch.conditions), before)
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in folded.parameters())


def test_a_weight_can_be_set(batch: Batch) -> None:
    changed = collapsible(nn.Conv2d(1, 2, 3))
    wanted = torch.randn(2, 1, 3, 3)
    with torch.no_grad():
        changed.weight = wanted
    assert isinstance(changed.weight, Tensor) and torch.allclose(changed.weight, wanted, atol=1e-6)


def test_the_thin_convolutions_of_mri_networks_stay_what_they_are(batch: Batch) -> None:
    torch.manual_seed(0)
    for inputs, outputs in ((1, 8), (8, 1)):
        thin = scrambled(collapsible(ThinConvolution(inputs, outputs, 3, padding=1)))
        assert isinstance(thin, ThinConvolution) and isinstance(thin.weight, Tensor)
        image = torch.randn(2, inputs, 6, 5, requires_grad=True)
        again = image.detach().requires_grad_()
        output, expected = thin(image), F.conv2d(again, thin.weight.detach(), thin.bias, padding=1)
        assert torch.allclose(output, expected, atol=1e-5)
        output.sum().backward()
        expected.sum().backward()
        assert image.grad is not None and again.grad is not None
        assert torch.allclose(image.grad, again.grad, atol=1e-5)
        assert branches(thin).first.grad is not None


def test_the_weight_is_added_up_in_float32_under_autocast() -> None:
    changed = scrambled(collapsible(nn.Conv2d(2, 3, 3)))
    outside = changed.weight
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(changed.weight, outside) and changed.weight.dtype == torch.float32


class TestWhatStaysPlain:
    def test_convolutions_with_groups_transposed_ones_and_computed_weights(self) -> None:
        network = nn.Sequential(
            nn.Conv2d(4, 4, 3, groups=2),
            nn.Conv2d(4, 4, 3, groups=4),
            nn.ConvTranspose2d(4, 4, 3),
            nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),
            nn.Conv2d(4, 4, 1),
        )
        collapsible(network)
        changed = [any(isinstance(part, CollapsedWeight) for part in module.modules()) for module in network]
        assert changed == [False, False, False, False, True]

    def test_what_is_excluded(self) -> None:
        network = collapsible(DCCNN(2, 3, 4), exclude=["cascades.1", "cascades.0.layers.0.convolution"])
        changed = [path for path, module in network.named_modules() if parametrize.is_parametrized(module)]
        assert changed == ["cascades.0.layers.1.convolution", "cascades.0.layers.2.convolution"]
        with pytest.raises(UserError, match="matches no module of the trained network"):
            collapsible(DCCNN(1, 2, 2), exclude=["cascades.7"])

    def test_all_of_it_is_refused(self) -> None:
        with pytest.raises(UserError, match="collapsible: Linear has no Conv2d without groups"):
            collapsible(nn.Linear(1, 1))

    def test_weights_that_two_convolutions_share_are_refused(self) -> None:
        network = nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3))
        network[1].weight = network[0].weight
        with pytest.raises(UserError, match="got one of '0' and '1'; set exclude"):
            collapsible(network)


class TestInAnExperiment:
    def test_the_saved_weights_are_those_of_a_plain_network(self, laboratory: Any) -> None:
        graph = laboratory.graph('student.transforms=["collapsible"]', "training.ema=0.5")
        plain = laboratory.weights(laboratory.train(laboratory.graph(out="plain"), "student"))
        run = laboratory.train(graph, "student")
        weights = laboratory.weights(run)
        assert {n: t.shape for n, t in weights.items()} == {n: t.shape for n, t in plain.items()}
        assert run.specification.transforms == [{"name": "collapsible"}]
        assert not torch.equal(*(w["cascades.0.layers.1.convolution.weight"] for w in (weights, plain)))

    def test_the_start_is_that_of_the_plain_network(self, laboratory: Any) -> None:
        arms = [
            {"name": "arm", "recipe": "teacher-start"},
            {"name": "plain", "recipe": "teacher-start", "student": {"transforms": []}},
        ]
        still = ("training.lr=1e-12", "training.optimizer=sgd", "training.epochs=1")
        graph = laboratory.graph('student.transforms=["collapsible"]', *still, arms=arms)
        weights, plain = (laboratory.weights(laboratory.train(graph, name)) for name in ("arm", "plain"))
        for name, tensor in plain.items():
            assert torch.allclose(weights[name], tensor, atol=1e-6), name

    def test_a_moving_average_is_that_of_the_branches_which_is_validated_and_folded(self, laboratory: Any) -> None:
        states: list[dict[str, Tensor]] = []
        networks: list[nn.Module] = []

        class Collect(NullCallback):
            def on_step_end(self) -> None:
                states.append({n: t.detach().clone() for n, t in networks[-1].state_dict().items()})

        class Probe:
            @i2ikd.hookimpl
            def run_started(self, context: Any) -> None:
                networks.append(context.network)

        settings = ('student.transforms=["collapsible"]', "training.ema=0.7", "training.select=last")
        graph = laboratory.graph(*settings, "training.epochs=3", "training.validate_every=1", plugins=(Probe(),))
        run = laboratory.train(graph, "student", callback=Collect())
        average = states[0]
        for state in states[1:]:
            average = {name: 0.7 * average[name] + 0.3 * state[name] for name in state}
        network = collapsible(DCCNN(2, 3, 4))
        network.load_state_dict(average)
        plain = Collapsible().fold(network)
        weights = laboratory.weights(run)
        for name, tensor in plain.state_dict().items():
            assert torch.allclose(weights[name], tensor, atol=1e-6), name
        loss = [(apply(plain, batch) - batch.target).abs().mean().item() for batch in graph.context.validation()]
        assert run.folder.read("history")[-1]["validation"] == pytest.approx(sum(loss) / len(loss), rel=1e-4)


@pytest.mark.parametrize("channels", [8, 32, 64])
def test_the_first_step_of_adam_changes_a_weight_by_about_twice_the_learning_rate(channels: int) -> None:
    torch.manual_seed(5)
    convolution = nn.Conv2d(channels, channels, 3)
    changed: dict[str, Tensor] = {}
    for name in ("plain", "collapsible"):
        network = copy.deepcopy(convolution)
        if name == "collapsible":
            collapsible(network)
        before = network.weight.detach().clone()
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-5)
        (network.weight * torch.randn(before.shape, generator=torch.Generator().manual_seed(6))).sum().backward()
        optimiser.step()
        changed[name] = (network.weight.detach() - before) / 1e-5
    assert changed["plain"].abs().mean().item() == pytest.approx(1, rel=0.02)
    assert 1.8 < changed["collapsible"].abs().mean().item() < 2.3
    assert (changed["collapsible"] * changed["plain"] > 0).float().mean() > 0.95
