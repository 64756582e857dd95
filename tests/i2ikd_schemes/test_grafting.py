"""Block grafting equals a loop over blocks that is written out, for networks of any kind of block."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from i2ikd_mri_recon.network import DCCNN
from i2ikd_schemes.blocks import find_blocks
from i2ikd_schemes.grafting import BlockGrafting
from i2ikd_schemes.substitution import frozen, replaced
from torch import Tensor, nn

from i2ikd import Batch, UserError


class Gained(nn.Module):
    """A block that takes an argument by name."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, image: Tensor, *, gain: Tensor) -> Tensor:
        return image + gain * self.convolution(image).tanh()


class HeadAndTail(nn.Module):
    """Blocks between a head and a tail; what the blocks exchange is no image."""

    def __init__(self, blocks: int, channels: int = 3) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, channels, 1)
        self.blocks = nn.ModuleList(Gained(channels) for _ in range(blocks))
        self.tail = nn.Conv2d(channels, 1, 1)

    def forward(self, input: Tensor) -> Tensor:
        image = self.head(input)
        for index, block in enumerate(self.blocks):
            image = block(image, gain=input.mean() + index).sigmoid()
        output: Tensor = self.tail(image)
        return output


class TestParallel:
    def test_is_the_mean_distance_of_each_block_on_the_teacher_s_image(
        self,
        outputs_of: Any,
        teacher: DCCNN,
        student: DCCNN,
        batch: Batch,
        context: Any,
        run_chain: Any,
        take_gradients: Any,
        close: Any,
    ) -> None:
        objective = BlockGrafting()
        objective.setup(context(student, batch, inputs={"teacher": teacher}))
        loss = objective(batch, outputs_of(objective, teacher, batch))
        loss.total.backward()
        found = take_gradients(student)
        assert not take_gradients(teacher)

        with torch.no_grad():
            images = run_chain([teacher] * 3, batch)
        measurement = student.consistency.measure(batch.conditions["kspace"], batch.conditions["mask"], torch.float32)
        distances = [
            (student.cascades[k](images[k], measurement) - images[k + 1]).abs().double().mean() for k in range(3)
        ]
        naive = sum(distances) / 3
        assert isinstance(naive, Tensor)
        naive.backward()
        assert loss.total.item() == pytest.approx(naive.item(), rel=1e-5)
        assert loss.parts["blocks"].item() == loss.total.item()
        assert close(found, take_gradients(student))

    def test_is_0_where_the_student_is_the_teacher(
        self, outputs_of: Any, teacher: DCCNN, batch: Batch, context: Any
    ) -> None:
        objective = BlockGrafting()
        objective.setup(context(teacher, batch, inputs={"teacher": teacher}))
        assert objective(batch, outputs_of(objective, teacher, batch)).total.item() < 1e-7

    def test_serves_blocks_with_a_head_a_tail_and_arguments_by_name(
        self, outputs_of: Any, batch: Batch, context: Any
    ) -> None:
        torch.manual_seed(0)
        large, small = HeadAndTail(2), HeadAndTail(2)
        batch = Batch(batch.input, batch.target)
        objective = BlockGrafting(blocks=[("blocks.*", "blocks.*")])
        objective.setup(context(small, batch, inputs={"teacher": large}))
        loss = objective(batch, outputs_of(objective, large, batch)).total.item()
        with torch.no_grad():
            image, distances = large.head(batch.input), []
            for index in range(2):
                gain = batch.input.mean() + index
                output = large.blocks[index](image, gain=gain)
                distances.append((small.blocks[index](image, gain=gain) - output).abs().mean().item())
                image = output.sigmoid()
        assert loss == pytest.approx(sum(distances) / 2, rel=1e-5)

    def test_caches_each_image_of_a_chain_once(
        self, teacher: DCCNN, student: DCCNN, batch: Batch, context: Any
    ) -> None:
        objective = BlockGrafting()
        objective.setup(context(student, batch, inputs={"teacher": teacher}))
        (request,) = objective.requests()
        assert request.cacheable
        assert request.paths == ("cascades.0:input", "cascades.0", "cascades.1", "cascades.2")
        apart = BlockGrafting(blocks=[("blocks.*", "blocks.*")])
        apart.setup(context(HeadAndTail(2), Batch(batch.input, batch.target), inputs={"teacher": HeadAndTail(2)}))
        (request,) = apart.requests()
        assert request.paths == ("blocks.0:input", "blocks.0", "blocks.1:input", "blocks.1")

    def test_needs_no_target(self, outputs_of: Any, teacher: DCCNN, student: DCCNN, batch: Batch, context: Any) -> None:
        objective = BlockGrafting()
        objective.setup(context(student, batch, inputs={"teacher": teacher}))
        whole = objective(batch, outputs_of(objective, teacher, batch)).total
        batch.target, batch.labelled = torch.empty(2, 0), torch.tensor([False, False])
        assert torch.equal(objective(batch, outputs_of(objective, teacher, batch)).total, whole)


class TestStochastic:
    def stochastic(
        self, start: float, student: nn.Module, teacher: nn.Module, batch: Batch, context: Any
    ) -> BlockGrafting:
        objective = BlockGrafting("stochastic", start=start)
        objective.setup(context(student, batch, inputs={"teacher": teacher}))
        objective.on_epoch_start(0, 5)
        return objective

    @pytest.mark.parametrize("seed", range(4))
    def test_is_the_target_s_loss_of_the_mixed_chain(
        self,
        seed: int,
        teacher: DCCNN,
        student: DCCNN,
        batch: Batch,
        context: Any,
        run_chain: Any,
        take_gradients: Any,
        close: Any,
    ) -> None:
        objective = self.stochastic(0.5, student, teacher, batch, context)
        torch.manual_seed(seed)
        loss = objective(batch, {})
        loss.total.backward()
        found = take_gradients(student)
        assert not take_gradients(teacher)

        torch.manual_seed(seed)
        own = (torch.rand(3) < 0.5).tolist()
        assert any(own)
        image = run_chain([student if is_own else teacher for is_own in own], batch)[-1]
        naive = (image - batch.target).abs().mean()
        naive.backward()
        assert loss.total.item() == pytest.approx(naive.item(), rel=1e-5)
        assert {name.split(".")[1] for name in found} == {str(k) for k in range(3) if own[k]}
        assert close(found, take_gradients(student))

    def test_with_all_blocks_of_the_student_is_plain_training(
        self, teacher: DCCNN, student: DCCNN, batch: Batch, context: Any
    ) -> None:
        objective = self.stochastic(1.0, student, teacher, batch, context)
        plain = (student(batch.input, **batch.conditions) - batch.target).abs().mean()
        assert torch.equal(objective(batch, {}).total, plain)

    def test_has_a_block_of_the_student_in_every_step(
        self, teacher: DCCNN, student: DCCNN, batch: Batch, context: Any, take_gradients: Any
    ) -> None:
        objective = self.stochastic(0.0, student, teacher, batch, context)
        for seed in range(5):
            torch.manual_seed(seed)
            objective(batch, {}).total.backward()
            assert len({name.split(".")[1] for name in take_gradients(student)}) == 1

    def test_the_probability_rises_to_1_in_the_last_epoch(self, batch: Batch, context: Any, monkeypatch: Any) -> None:
        large, small = HeadAndTail(10), HeadAndTail(10)
        batch = Batch(batch.input, batch.target)
        objective = BlockGrafting("stochastic", [("blocks.*", "blocks.*")])
        objective.setup(context(small, batch, inputs={"teacher": large}))
        monkeypatch.setattr(torch, "rand", lambda count: torch.arange(count) / count + 0.05)
        trained = []
        for epoch in range(8):
            objective.on_epoch_start(epoch, 8)
            objective(batch, {}).total.backward()
            trained.append(sum(block.convolution.weight.grad is not None for block in small.blocks))
            small.zero_grad(set_to_none=True)
        assert trained == [3, 4, 5, 6, 7, 8, 9, 10]
        objective.on_epoch_start(0, 1)
        objective(batch, {}).total.backward()
        assert sum(block.convolution.weight.grad is not None for block in small.blocks) == 3

    def test_leaves_both_networks_as_they_were(
        self, teacher: DCCNN, student: DCCNN, batch: Batch, context: Any
    ) -> None:
        teacher.train()
        objective = self.stochastic(0.3, student, teacher, batch, context)
        objective(batch, {})
        for network in (teacher, student):
            assert all("forward" not in module.__dict__ and module.training for module in network.modules())
            assert all(not module._forward_hooks and not module._forward_pre_hooks for module in network.modules())
        (ours,), (theirs,) = (find_blocks(network, ["cascades.0"], "x") for network in (student, teacher))
        with pytest.raises(RuntimeError, match="inside"), replaced({ours: frozen(theirs)}):
            raise RuntimeError("inside")
        assert "forward" not in student.cascades[0].__dict__

    def test_a_frozen_block_runs_in_eval_mode(self) -> None:
        block = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.9)).train()
        image = torch.randn(2, 2, 3, 3)
        (found,) = find_blocks(nn.ModuleDict({"block": block}), ["block"], "x")
        assert torch.allclose(frozen(found)(image), image / (1 + 1e-5) ** 0.5)
        assert block[0].num_batches_tracked == 0 and block[1].training


class TestRefusals:
    def test_blocks_of_other_widths(self, batch: Batch, context: Any) -> None:
        objective = BlockGrafting(blocks=[("blocks.*", "blocks.*")])
        batch = Batch(batch.input, batch.target)
        with pytest.raises(
            UserError, match=r"'blocks.0' and 'blocks.0' .* \[4, 12, 10\] -> \[4, 12, 10\] and \[3, 12, 10\]"
        ):
            objective.setup(context(HeadAndTail(2), batch, inputs={"teacher": HeadAndTail(2, 4)}))

    def test_unequal_numbers_of_blocks(self, batch: Batch, context: Any) -> None:
        with pytest.raises(UserError, match="equally many cascades, got 3 and 2"):
            BlockGrafting().setup(context(DCCNN(2, 2, 2), batch, inputs={"teacher": DCCNN(3, 2, 2)}))

    def test_networks_without_registered_blocks(self, batch: Batch, context: Any) -> None:
        models = {"teacher": "plain-cnn", "student": "plain-cnn"}
        with pytest.raises(UserError, match=r"pairs of modules \(blocks\) of 'plain-cnn'.*; set blocks = \[\["):
            BlockGrafting().setup(context(HeadAndTail(1), batch, inputs={"teacher": HeadAndTail(1)}, models=models))

    def test_a_block_that_runs_twice(self, batch: Batch, context: Any) -> None:
        class Twice(HeadAndTail):
            def forward(self, input: Tensor) -> Tensor:
                image = self.head(input)
                for _ in range(2):
                    image = self.blocks[0](image, gain=input.mean())
                output: Tensor = self.tail(image)
                return output

        batch = Batch(batch.input, batch.target)
        with pytest.raises(UserError, match=r"expected the block 'blocks\.0' to run once in a pass, got 2 times"):
            BlockGrafting(blocks=[("blocks.*", "blocks.*")]).setup(
                context(Twice(1), batch, inputs={"teacher": Twice(1)})
            )
