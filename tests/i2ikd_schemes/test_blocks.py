"""Blocks of layers without a module of their own, and blocks that cannot take each other's place."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import pytest
import torch
from i2ikd_mri_recon.network import DCCNN
from i2ikd_schemes.grafting import BlockGrafting
from i2ikd_schemes.student_friendly import StudentFriendly
from torch import Tensor, nn

from i2ikd import Batch, UserError


class Stack(nn.Module):
    """Layers whose features are no images, of any depth, added to the input."""

    def __init__(self, depth: int, channels: int = 3, inplace: bool = False) -> None:
        super().__init__()
        widths = [1, *[channels] * (depth - 1), 1]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace)) for a, b in pairwise(widths)
        )

    def forward(self, input: Tensor) -> Tensor:
        features = input
        for layer in self.layers:
            features = layer(features)
        return input + features


def run(layers: Sequence[nn.Module], features: Tensor) -> Tensor:
    for layer in layers:
        features = layer(features)
    return features


class TestGroupsOfLayers:
    """A block ``first..last`` of consecutive layers, of which the two networks have unequal numbers."""

    BLOCKS: ClassVar = [("layers.0..layers.2", "layers.0"), ("layers.3..layers.4", "layers.1..layers.2")]

    def test_parallel_equals_a_loop(
        self, batch: Batch, context: Any, outputs_of: Any, take_gradients: Any, close: Any
    ) -> None:
        torch.manual_seed(0)
        large, small, batch = Stack(5), Stack(3), Batch(batch.input, batch.target)
        objective = BlockGrafting(blocks=self.BLOCKS)
        objective.setup(context(small, batch, inputs={"teacher": large}))
        loss = objective(batch, outputs_of(objective, large, batch)).total
        loss.backward()
        found = take_gradients(small)
        (request,) = objective.requests()
        assert request.paths == ("layers.0:input", "layers.2", "layers.4")
        with torch.no_grad():
            middle = run(large.layers[:3], batch.input)
            last = run(large.layers[3:], middle)
        first = (small.layers[0](batch.input) - middle).abs().mean()
        second = (run(small.layers[1:], middle) - last).abs().mean()
        naive = (first + second) / 2
        naive.backward()
        assert loss.item() == pytest.approx(naive.item(), rel=1e-5)
        assert close(found, take_gradients(small))

    @pytest.mark.parametrize("seed", range(4))
    def test_stochastic_equals_a_loop(
        self, seed: int, batch: Batch, context: Any, take_gradients: Any, close: Any
    ) -> None:
        torch.manual_seed(0)
        large, small, batch = Stack(5), Stack(3), Batch(batch.input, batch.target)
        objective = BlockGrafting("stochastic", self.BLOCKS, start=0.5)
        objective.setup(context(small, batch, inputs={"teacher": large}))
        objective.on_epoch_start(0, 5)
        torch.manual_seed(seed)
        loss = objective(batch, {}).total
        loss.backward()
        found = take_gradients(small)
        assert not take_gradients(large)
        torch.manual_seed(seed)
        own = (torch.rand(2) < 0.5).tolist()
        if any(own):
            features = run(small.layers[:1] if own[0] else large.layers[:3], batch.input)
            image = batch.input + run(small.layers[1:] if own[1] else large.layers[3:], features)
            naive = (image - batch.target).abs().mean()
            naive.backward()
            assert loss.item() == pytest.approx(naive.item(), rel=1e-5)
            assert close(found, take_gradients(small))
        assert all("forward" not in layer.__dict__ for layer in small.layers)

    def test_the_student_friendly_teacher_has_them_too(self, batch: Batch, context: Any) -> None:
        torch.manual_seed(0)
        large, small, batch = Stack(5), Stack(3), Batch(batch.input, batch.target)
        objective = StudentFriendly(blocks=self.BLOCKS)
        objective.setup(context(large, batch, side="teacher", build=lambda side: small))
        branches = [
            small(batch.input),
            batch.input + run(small.layers[1:], run(large.layers[:3], batch.input)),
        ]
        naive = sum((image - batch.target).abs().mean().item() for image in branches) / 2
        assert objective(batch, {}).parts["branch"].item() == pytest.approx(naive, rel=1e-5)

    @pytest.mark.parametrize(
        ("block", "message"),
        [
            ("layers.2..layers.1", "to be a range of children of one module, the first one before the last"),
            ("layers.0..layers.1.0", "to be a range of children of one module"),
            ("layers.0..layers.9", r"'layers\.9' matches no module of the student"),
            ("layers.*..layers.1", "two ends that match equally many modules, got 3 and 1"),
        ],
    )
    def test_a_range_that_is_none_is_refused(self, block: str, message: str, batch: Batch, context: Any) -> None:
        batch = Batch(batch.input, batch.target)
        with pytest.raises(UserError, match=message):
            BlockGrafting(blocks=[("layers.0", block)]).setup(context(Stack(3), batch, inputs={"teacher": Stack(3)}))


class TestRefusals:
    def test_blocks_within_each_other(self, batch: Batch, context: Any) -> None:
        batch = Batch(batch.input, batch.target)
        blocks = [("layers.0..layers.1", "layers.0..layers.1"), ("layers.1.0", "layers.1.0")]
        with pytest.raises(UserError, match=r"beside each other, got 'layers\.0\.\.layers\.1' and 'layers\.1\.0'"):
            BlockGrafting(blocks=blocks).setup(context(Stack(3), batch, inputs={"teacher": Stack(3)}))

    def test_a_range_of_modules_that_are_no_chain(self, batch: Batch, context: Any) -> None:
        class Broken(Stack):
            def forward(self, input: Tensor) -> Tensor:
                return run(self.layers[1:], self.layers[0](input).sigmoid())

        batch = Batch(batch.input, batch.target)
        blocks = [("layers.0..layers.1", "layers.0..layers.1")]
        with pytest.raises(UserError, match="to take the output of the one before, and nothing between them"):
            BlockGrafting(blocks=blocks).setup(context(Broken(3), batch, inputs={"teacher": Stack(3)}))

    def test_an_image_that_is_overwritten_in_place(self, batch: Batch, context: Any) -> None:
        batch = Batch(batch.input, batch.target)
        networks = Stack(3), Stack(3, inplace=True)
        for teacher, student in (networks, networks[::-1]):
            with pytest.raises(
                UserError, match=r"around the block 'layers\.0\.0' .* overwrites in place; end the block"
            ):
                BlockGrafting(blocks=[("layers.0.0", "layers.0.0")]).setup(
                    context(student, batch, inputs={"teacher": teacher})
                )
        BlockGrafting(blocks=[("layers.0", "layers.0")]).setup(
            context(networks[1], batch, inputs={"teacher": networks[1]})
        )

    def test_a_block_that_needs_what_the_student_does_not_pass(self, batch: Batch, context: Any) -> None:
        """A DC-CNN's cascade takes a measurement; the image is all that the student passes."""
        teacher, student = DCCNN(1, 2, 2), Stack(3)
        blocks = [("cascades.0", "layers.0..layers.2")]
        BlockGrafting(blocks=blocks).setup(context(student, batch, inputs={"teacher": teacher}))
        with pytest.raises(UserError, match=r"'cascades\.0' to run .*missing 1 required .*; set mode = 'parallel'"):
            BlockGrafting("stochastic", blocks).setup(context(student, batch, inputs={"teacher": teacher}))


def test_a_block_that_changes_its_input_in_place_leaves_the_teacher_s_images(
    batch: Batch, context: Any, outputs_of: Any
) -> None:
    class Eager(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 1, 3, padding=1))

        def forward(self, input: Tensor) -> Tensor:
            output: Tensor = self.block(input - 0.5)
            return output

    class Calm(Eager):
        def __init__(self) -> None:
            super().__init__()
            self.block[0] = nn.ReLU()

    batch = Batch(batch.input, batch.target)
    objective, teacher = BlockGrafting(blocks=[("block", "block.1")]), Calm()
    objective.setup(context(Eager(), batch, inputs={"teacher": teacher}))
    outputs = outputs_of(objective, teacher, batch)
    before = {name: image.clone() for name, image in outputs["images"].items()}
    objective(batch, outputs)
    assert all(torch.equal(before[name], image) for name, image in outputs["images"].items())
