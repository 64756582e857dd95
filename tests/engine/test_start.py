"""Weights of one network set in another, by name or by a layer map, and the parameters that a stage trains."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from i2ikd import UserError
from i2ikd.builtin.models.plain import PlainCNN
from i2ikd.engine.start import (
    assign,
    frozen_parameters,
    mapped_tensors,
    plain_tensors,
    shared_tensors,
    trained_parameters,
)


def network(depth: int, channels: int = 4, seed: int = 0) -> PlainCNN:
    torch.manual_seed(seed)
    return PlainCNN(1, depth=depth, channels=channels)


class Sum(nn.Module):
    """A tensor as the sum of two."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return first + second

    def right_inverse(self, total: Tensor) -> tuple[Tensor, Tensor]:
        return total - 1, torch.ones_like(total)


def parametrised(depth: int) -> PlainCNN:
    made = network(depth, seed=5)
    for block in made.layers:
        parametrize.register_parametrization(block.convolution, "weight", Sum())
    return made


class TestLayerMap:
    def test_tensors_get_the_names_of_the_other_layer(self) -> None:
        teacher, student = network(5, seed=1), network(4, seed=2)
        pairs = [("layers.0", "layers.0"), ("layers.4", "layers.3"), ("layers.3", "layers.2")]
        found = mapped_tensors(teacher, student, pairs, "x")
        assert set(found) == {f"layers.{i}.convolution.{name}" for i in (0, 2, 3) for name in ("weight", "bias")}
        for theirs, ours in ((0, 0), (4, 3), (3, 2)):
            for name in ("weight", "bias"):
                expected = teacher.state_dict()[f"layers.{theirs}.convolution.{name}"]
                assert torch.equal(found[f"layers.{ours}.convolution.{name}"], expected)

    def test_stars_on_both_sides_match_in_natural_order(self) -> None:
        teacher, student = network(12, seed=1), network(12, seed=2)
        assign(student, mapped_tensors(teacher, student, [("layers.*.convolution", "layers.*.convolution")], "x"))
        image = torch.rand(1, 1, 6, 5)
        assert torch.equal(student(image), teacher(image)), "layers.10 does not come before layers.2"

    @pytest.mark.parametrize(
        ("pairs", "message"),
        [
            ([("layers.9", "layers.0")], "'layers.9' matches no module of the teacher"),
            ([("layers.0", "layer.0")], "'layer.0' matches no module of the student"),
            ([("layers.*", "layers.0")], "matches 5 taps of the teacher"),
            ([("layers.0", "layers.1")], r"one shape, got [4, 1, 3, 3] and [4, 4, 3, 3]"),
            ([("layers.0.convolution", "layers.0")], "to have the same tensors, got bias, weight and convolution.bias"),
            ([("layers.0.activation", "layers.0.activation")], "to have the same tensors, got none and none"),
        ],
    )
    def test_what_does_not_fit_is_named(self, pairs: Any, message: str) -> None:
        with pytest.raises(UserError) as caught:
            mapped_tensors(network(5), network(4), pairs, "the stage 'a'")
        assert message in str(caught.value)

    def test_the_rest_keeps_its_weights(self) -> None:
        teacher, student = network(5, seed=1), network(4, seed=2)
        before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
        assign(student, mapped_tensors(teacher, student, [("layers.4", "layers.3")], "x"))
        for name, tensor in student.state_dict().items():
            assert torch.equal(tensor, before[name]) is (not name.startswith("layers.3."))


class TestEqualNames:
    def test_tensors_of_equal_name_and_shape_are_taken(self) -> None:
        teacher, student = network(5, seed=1), network(4, seed=2)
        found = shared_tensors(teacher, student, "x")
        equal = {f"layers.{i}.convolution.{name}" for i in (0, 1, 2) for name in ("weight", "bias")}
        assert set(found) == equal, "the last layers have other widths"

    def test_none_is_refused(self) -> None:
        with pytest.raises(UserError, match="x: the two networks share no layer of equal name and shape"):
            shared_tensors(nn.Conv2d(1, 2, 3), network(2), "x")


class TestParametrisedNetworks:
    def test_their_tensors_have_the_names_of_a_plain_build(self) -> None:
        assert set(plain_tensors(parametrised(3))) == set(network(3).state_dict())

    def test_weights_set_in_one_are_what_it_computes(self) -> None:
        source, made = network(3, seed=1), parametrised(3)
        assign(made, shared_tensors(source, made, "x"))
        for name, tensor in source.state_dict().items():
            owner, attribute = plain_tensors(made)[name]
            torch.testing.assert_close(getattr(owner, attribute), tensor, rtol=0, atol=2**-22)

    @pytest.mark.parametrize("ours", [torch.contiguous_format, torch.channels_last])
    def test_memory_formats_stay_as_they_are(self, ours: torch.memory_format) -> None:
        made, source = parametrised(3), network(3, seed=1)
        for parameter in made.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.to(memory_format=ours)
        for parameter in source.parameters():
            if parameter.ndim == 4:
                other = torch.channels_last if ours == torch.contiguous_format else torch.contiguous_format
                parameter.data = parameter.data.to(memory_format=other)
        before = {name: parameter.stride() for name, parameter in made.named_parameters()}
        assign(made, shared_tensors(source, made, "x"))
        assert {name: parameter.stride() for name, parameter in made.named_parameters()} == before

    def test_weights_taken_from_one_are_what_it_computes(self) -> None:
        source, made = parametrised(3), network(3)
        assign(made, mapped_tensors(source, made, [("layers.*.convolution", "layers.*.convolution")], "x"))
        image = torch.rand(1, 1, 5, 7)
        torch.testing.assert_close(made(image), source(image))

    def test_buffers_that_are_not_saved_are_no_weights(self) -> None:
        module = nn.BatchNorm2d(3)
        module.register_buffer("scratch", torch.zeros(2), persistent=False)
        assert set(plain_tensors(module)) == {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


class TestFrozen:
    def test_a_pattern_names_every_parameter_below_it_once(self) -> None:
        made = network(4)
        frozen = frozen_parameters(made, ["layers.*", "layers.1", "layers.2.convolution"])
        assert [id(p) for p in frozen] == [id(p) for p in made.parameters()]
        some = frozen_parameters(made, ["layers.1"])
        assert {id(p) for p in some} == {id(p) for p in made.layers[1].parameters()}

    def test_one_that_matches_nothing_is_refused(self) -> None:
        with pytest.raises(UserError, match=r"'layers\.7' matches no module of the trained network"):
            frozen_parameters(network(3), ["layers.7"])

    def test_the_rest_is_trained_with_the_objectives_own(self) -> None:
        made, own = network(3), nn.Parameter(torch.zeros(1))
        found = trained_parameters(made, [own], made.layers[0].parameters(), "x")
        assert {id(p) for p in found} == {
            id(p) for p in (*made.layers[1].parameters(), *made.layers[2].parameters(), own)
        }

    def test_nothing_to_train_is_refused(self) -> None:
        made = network(3)
        with pytest.raises(UserError, match="x: expected parameters to train, got none; freeze fewer modules"):
            trained_parameters(made, [], made.parameters(), "x")
