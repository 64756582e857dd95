"""The context of an objective: pairs of modules, and the loss on the labelled samples."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from i2ikd import Batch, UserError, hookimpl
from i2ikd.component import Plugin
from i2ikd.objective import ObjectiveContext
from i2ikd.registry import Registry


class Blocks:
    """Registers which modules of ``large`` and ``small`` are blocks, and which are taps."""

    @hookimpl
    def register_pairs(self, register: Any) -> None:
        for kind in ("blocks", "features"):
            register(kind, lambda *_: [["0", "1"]], teacher="large", student="small", tap_kind=kind)


class SquaredError:
    def loss(self, image: Tensor, target: Tensor) -> Tensor:
        return ((image - target) ** 2).mean()


def context(**changes: Any) -> ObjectiveContext:
    networks = [nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()) for _ in range(2)]
    settings: dict[str, Any] = {
        "network": networks[0],
        "side": "student",
        "inputs": {"teacher": networks[1]},
        "models": {"teacher": "large", "student": "small"},
        "pairs": [("1", "0")],
        "task": SquaredError(),
        "registry": Registry([Plugin("blocks", module=Blocks())]),
        "example": Batch(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)),
        "batch_size": 1,
        "seed": 0,
        "stage": "stage",
    }
    return ObjectiveContext(**cast(Any, {**settings, **changes}))


class TestPairs:
    def test_of_the_experiment_are_taps_and_neither_blocks_nor_layers(self) -> None:
        assert context().choose_pairs(None, "features", "here") == [("1", "0")]
        assert context().choose_pairs(None, "blocks", "here") == [("0", "1")]
        with pytest.raises(UserError, match=r"pairs of modules \(layers\) of 'large' and 'small', .*; set layers = "):
            context().choose_pairs(None, "layers", "here")

    def test_that_are_stated_come_first(self) -> None:
        for kind in ("blocks", "features"):
            assert context().choose_pairs([("0", "0")], kind, "here") == [("0", "0")]

    def test_of_a_built_network_are_those_of_its_side(self) -> None:
        large = context(side="teacher", inputs={})
        built = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
        assert large.choose_built_pairs(built, "student", None, "blocks", "here") == [("0", "1")]
        with pytest.raises(UserError, match="of 'large' and '', none are registered"):
            context(side="teacher", models={"teacher": "large"}).choose_built_pairs(
                built, "student", None, "blocks", "here"
            )


class TestTargetLoss:
    def test_is_the_task_s_of_the_labelled_samples_in_float32(self) -> None:
        image = torch.arange(12.0).view(3, 1, 2, 2).half()
        target = torch.ones(3, 1, 2, 2)
        everything = context().target_loss(image, Batch(image, target))
        assert everything.dtype == torch.float32
        assert everything.item() == pytest.approx(sum((v - 1) ** 2 for v in range(12)) / 12)
        some = context().target_loss(image, Batch(image, target, labelled=torch.tensor([False, True, False])))
        assert some.item() == pytest.approx(sum((v - 1) ** 2 for v in range(4, 8)) / 4)

    def test_without_a_label_is_0_with_a_gradient_of_0(self) -> None:
        image = torch.ones(2, 1, 2, 2, requires_grad=True)
        batch = Batch(image, torch.empty(2, 0), labelled=torch.tensor([False, False]))
        loss = context().target_loss(image, batch)
        loss.backward()
        assert loss.item() == 0 and image.grad is not None and not image.grad.any()
