"""Requests of outputs, and the context of an objective."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from i2ikd import Batch, UserError
from i2ikd.builtin.distillers.output import Imitation, Target
from i2ikd.builtin.models.plain import PlainCNN
from i2ikd.objective import ObjectiveContext, TeacherRequest
from i2ikd.registry import Registry


def extract(features: Any, batch: Any) -> dict[str, torch.Tensor]:
    return {}


def request(**changes: Any) -> TeacherRequest:
    given = {"name": "a", "paths": ("x", "y"), "cacheable": True, "identity": [1], "code": Imitation}
    return TeacherRequest(extract=extract, **(given | changes))


class TestRequests:
    @pytest.mark.parametrize("changes", [{"paths": ("y", "x")}, {"identity": [2]}, {"code": Target}])
    def test_what_the_outputs_depend_on_is_in_the_key(self, changes: dict[str, Any]) -> None:
        assert request(**changes).key != request().key

    @pytest.mark.parametrize("changes", [{"name": "b"}, {"network": "assistant"}])
    def test_names_are_not_so_that_equal_outputs_are_cached_once(self, changes: dict[str, Any]) -> None:
        assert request(**changes).key == request().key

    def test_one_to_be_cached_without_an_identity_is_refused(self) -> None:
        with pytest.raises(
            UserError, match="the request 'a': expected an identity, as its outputs are cached, got None"
        ):
            request(identity=None)
        assert not request(identity=None, cacheable=False).cacheable


def context(**inputs: nn.Module) -> ObjectiveContext:
    batch = Batch(torch.rand(2, 1, 6, 5), torch.rand(2, 1, 6, 5))
    task: Any = None
    return ObjectiveContext(
        PlainCNN(depth=3, channels=2), "student", inputs, {}, None, task, Registry(), batch, 2, 0, "only"
    )


class TestContext:
    def test_an_input_that_is_missing_is_named(self) -> None:
        with pytest.raises(
            UserError, match=r"stage 'only': expected an input network 'assistant', got teacher; set inputs"
        ):
            context(teacher=PlainCNN()).input("assistant")

    def test_an_observed_input_is_frozen_and_left_as_it_was(self) -> None:
        network = PlainCNN(depth=3, channels=2)
        made = context(assistant=network)
        with made.observe_input("assistant", ["layers.1"]) as observed:
            output = observed(made.example)
            assert not network.training and not output.requires_grad
            (feature,) = observed.features(["layers.1"], output).taps
            assert feature.shape == (2, 2, 6, 5)
        assert network.training and not network.layers[1]._forward_hooks

    def test_stated_pairs_come_before_registered_ones(self) -> None:
        made = context(teacher=PlainCNN(depth=4, channels=2))
        assert made.choose_pairs([("layers.2", "layers.1")], "features", "x") == [("layers.2", "layers.1")]
        with pytest.raises(UserError, match=r"x: expected pairs of modules .features. .*none are registered"):
            made.choose_pairs(None, "features", "x")
