"""The form of a network for deployment has real inputs, and no input that the output does not depend on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from i2ikd import Batch, ExportForm, UserError
from i2ikd.export_form import form_of, free_axes, stand_in, used_conditions


class Optional(nn.Module):
    def forward(self, input: Tensor, *, mask: Tensor, bias: Tensor | None = None, **rest: Tensor) -> Tensor:
        return input * mask if bias is None else input * mask + bias


class Complex(nn.Module):
    def forward(self, input: Tensor, kspace: Tensor) -> Tensor:
        return input + kspace.real


def batch(**conditions: Tensor) -> Batch:
    return Batch(torch.rand(2, 1, 8, 6), torch.zeros(2, 1, 8, 6), conditions)


def test_conditions_without_effect_are_no_inputs() -> None:
    bias, mask = torch.rand(2, 1, 8, 6), torch.rand(2, 1, 8, 1)
    noise = torch.rand(2, 1, 8, 6, dtype=torch.complex64)
    full = batch(noise=noise, mask=mask, bias=bias)
    assert used_conditions(Optional(), full) == ["mask", "bias"]
    form = form_of(Optional(), full)
    assert list(form.inputs(full)) == ["input", "mask", "bias"]
    assert torch.equal(form(full), full.input * mask + bias)
    assert used_conditions(Optional(), batch(mask=mask, bias=torch.zeros(1))) == ["mask"]


def test_a_complex_input_is_refused_with_the_remedy() -> None:
    with pytest.raises(UserError, match="got a complex 'kspace'; define a method export_form"):
        form_of(Complex(), batch(kspace=torch.rand(2, 1, 8, 6, dtype=torch.complex64)))


def test_a_network_defines_its_own_form() -> None:
    class Split(Complex):
        def export_form(self, batch: Batch) -> ExportForm:
            return ExportForm(self, lambda batch: {"input": batch.input, "real": batch.conditions["kspace"].real})

    full = batch(kspace=torch.rand(2, 1, 8, 6, dtype=torch.complex64))
    assert list(form_of(Split(), full).inputs(full)) == ["input", "real"]

    class Wrong(Complex):
        def export_form(self, batch: Batch) -> int:
            return 1

    with pytest.raises(UserError, match=r"Wrong.export_form: expected an i2ikd.ExportForm, got int"):
        form_of(Wrong(), full)


def test_a_stand_in_has_the_shapes_and_none_of_the_values() -> None:
    kspace = torch.rand(2, 1, 8, 6, dtype=torch.complex64)
    full = batch(kspace=kspace, mask=torch.rand(2, 1, 8, 1), maps=torch.rand(2, 4, 8, 6), level=torch.rand(2, 3))
    made = stand_in(full, 3, (9, 5))
    shapes = {name: tuple(tensor.shape) for name, tensor in made.conditions.items()}
    assert shapes == {"kspace": (3, 1, 9, 5), "mask": (3, 1, 9, 1), "maps": (3, 4, 9, 5), "level": (3, 3)}
    assert made.input.shape == (3, 1, 9, 5) and not made.has_targets
    assert made.conditions["kspace"].dtype == torch.complex64
    same = stand_in(full, 2)
    assert torch.isin(same.input, full.input).double().mean() < 0.01
    assert torch.equal(same.input, stand_in(full, 2).input)


def test_free_axes_are_those_of_images() -> None:
    inputs = {"input": torch.zeros(2, 1, 8, 6), "columns": torch.zeros(2, 1, 1, 6), "level": torch.zeros(2, 8)}
    assert free_axes(inputs) == {
        "input": {0: "batch", 2: "height", 3: "width"},
        "columns": {0: "batch", 3: "width"},
        "level": {0: "batch"},
    }
    assert free_axes(inputs, fixed=True) == {name: {0: "batch"} for name in inputs}
