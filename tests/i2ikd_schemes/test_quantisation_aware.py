"""Fake quantisation equals a loop over values, and an exported int8 file computes what was trained."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from i2ikd_mri_recon.network import DCCNN
from i2ikd_schemes.fake_quantisation import convolutions, quantised_activation, quantised_weight
from i2ikd_schemes.quantisation_aware import QuantisationAware
from torch import nn

import i2ikd
from i2ikd import Batch, ExportRequest, UserError
from i2ikd.engine.weight_selection import WeightSelection
from i2ikd.export_form import form_of, stand_in


def naive_weight(weight: np.ndarray) -> np.ndarray:
    found = np.zeros_like(weight)
    for channel, kernel in enumerate(weight):
        scale = max(abs(kernel.min()), abs(kernel.max())) / 127
        found[channel] = np.round(kernel / scale) * scale if scale else 0
    return found


def naive_activation(values: np.ndarray, low: float, high: float) -> np.ndarray:
    zero = round(-low / ((high - low) / 255))
    scale = max(high / (255 - zero), -low / zero if zero else 0)
    return (np.clip(np.round(values / scale) + zero, 0, 255) - zero) * scale


def test_values_are_those_of_int8_and_gradients_pass() -> None:
    torch.manual_seed(0)
    weight = torch.randn(3, 2, 3, 3, requires_grad=True)
    with torch.no_grad():
        weight[1] = 0
    found = quantised_weight(weight)
    np.testing.assert_allclose(found.detach().numpy(), naive_weight(weight.detach().numpy()), rtol=1e-5, atol=1e-7)
    assert len(found[0].unique()) <= 255
    image = (torch.randn(2, 2, 5, 7) * 2).requires_grad_()
    low, high = torch.tensor(-1.3), torch.tensor(2.9)
    rounded = quantised_activation(image, low, high)
    expected = naive_activation(image.detach().numpy().astype(np.float64), -1.3, 2.9)
    np.testing.assert_allclose(rounded.detach().numpy(), expected, atol=1e-5)
    (found.sum() + rounded.sum()).backward()
    assert torch.equal(weight.grad, torch.ones_like(weight))
    inside = (image.detach() > -1.29) & (image.detach() < 2.89)
    assert (image.grad[inside] == 1).all() and (image.grad[(image < -1.35) | (image > 2.95)] == 0).all()


def prepared(student: DCCNN, batch: Batch, context: Any, inputs: dict[str, nn.Module], **options: Any) -> Any:
    objective = QuantisationAware(**options)
    objective.setup(context(student, batch, inputs=inputs, first_batches=lambda count: [batch] * min(count, 1)))
    objective.prepare()
    return objective


def test_the_loss_is_that_of_a_network_with_rounded_weights_and_inputs(
    teacher: DCCNN, student: DCCNN, batch: Batch, context: Any, outputs_of: Any
) -> None:
    objective = prepared(student, batch, context, {"teacher": teacher}, target=0.5, momentum=0.0)
    ranges = objective.ranges.clone()
    loss = objective(batch, outputs_of(objective, teacher, batch))
    loss.total.backward()
    assert all(parameter.grad is not None for parameter in student.parameters())
    rounded = copy.deepcopy(student)
    for (low, high), module in zip(ranges.tolist(), convolutions(rounded), strict=True):
        module.weight.data = torch.from_numpy(naive_weight(module.weight.detach().numpy()))

        def rounded_input(module: nn.Module, arguments: Any, low: float = low, high: float = high) -> Any:
            values = naive_activation(arguments[0].numpy().astype(np.float64), low, high)
            return (torch.from_numpy(values).float(),)

        module.register_forward_pre_hook(rounded_input)
    with torch.no_grad():
        image = rounded(batch.input, **batch.conditions)
        wanted = teacher(batch.input, **batch.conditions)
    expected = 0.5 * (image - batch.target).abs().mean() + (image - wanted).abs().mean()
    assert loss.total.item() == pytest.approx(
        expected.item(), rel=2e-3
    )  # a value between two levels may fall to either
    with torch.no_grad():
        evaluated = objective.eval_network()(batch.input, **batch.conditions)
    assert loss.parts["target"].item() == pytest.approx((evaluated - batch.target).abs().mean().item(), rel=1e-5)
    assert not torch.equal(student(batch.input, **batch.conditions), evaluated), "the network itself is unchanged"


def test_weights_are_shared_selected_and_averaged(student: DCCNN, batch: Batch, context: Any, identical: Any) -> None:
    objective = prepared(student, batch, context, {}, target=1.0, imitation=0.0)
    assert objective.needs == frozenset() and not list(objective.requests())
    assert set(objective.state_dict()) == {"ranges"}, "no network is saved with the objective"
    selection = WeightSelection(objective, i2ikd.config.Training(ema=0.5))
    optimiser = torch.optim.SGD(student.parameters(), lr=0.1)
    first: dict[str, torch.Tensor] = {}
    for _ in range(2):
        first = {name: tensor.clone() for name, tensor in student.state_dict().items()}
        optimiser.zero_grad()
        objective(batch, {}).total.backward()
        optimiser.step()
        selection.on_step_end()
    selection.on_validation_end(1.0)
    assert identical(dict(objective.eval_network().state_dict()), dict(student.state_dict()))
    averaged = {name: 0.5 * (first[name] + tensor) for name, tensor in student.state_dict().items()}
    selection.finish(student)
    for name, tensor in student.state_dict().items():
        torch.testing.assert_close(tensor, averaged[name])


def test_a_network_without_convolutions_is_refused(batch: Batch, context: Any) -> None:
    with pytest.raises(UserError, match="quantisation-aware: expected a network with convolutions, got Linear"):
        QuantisationAware(target=1, imitation=0).setup(context(nn.Linear(2, 2), batch))
    with pytest.raises(UserError, match="expected a target or an imitation weight above 0"):
        QuantisationAware(imitation=0)


def test_an_int8_file_computes_what_was_trained(student: DCCNN, batch: Batch, context: Any, tmp_path: Path) -> None:
    """OpenVINO quantises weights and inputs of convolutions, with the ranges of the same slices."""
    objective = prepared(student, batch, context, {}, target=1.0, imitation=0.0)
    student.eval()
    slices = [batch.select(torch.tensor([index])) for index in range(len(batch))]
    request = ExportRequest(
        student, partial(form_of, student, batch), stand_in(batch, 2, (16, 24)), "int8", calibration=slices
    )
    exporter = i2ikd.create("exporter", "openvino", int8_trained=True)
    exporter.write(request, tmp_path / "a.xml")
    image = exporter.load(request, tmp_path / "a.xml")(batch)
    with torch.no_grad():
        trained = objective.eval_network()(batch.input, **batch.conditions)
        network = student(batch.input, **batch.conditions)
    to_trained, to_network = (float((image - other).square().mean().sqrt()) for other in (trained, network))
    assert to_trained < 0.05 * to_network, (to_trained, to_network)
